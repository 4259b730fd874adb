"""A customer's way in a browser, from the shelf to a paid order: now with a card, or later after a decline."""

from __future__ import annotations

import re
from typing import Any

import pytest
from harness.gateway import Gateway
from harness.waiting import wait_until
from playwright.sync_api import Page, Request, expect
from ui_pages import keep_picture, serious_findings

from ops.people import customer
from shared.identity import Role

# A charge has to end before the reservation does, which takes the provider's limit off the time to pay.
SETTINGS = {"MANUAL_PAYMENT_TTL_S": "120"}

GOOD_CARD, DECLINED_CARD = "4242 4242 4242 4242", "4000 0000 0000 0002"
MISTYPED = "4242 4242 4242 4241"
SHELF = (("A cast iron teapot", "49.00", 3), ("Six tea spoons", "24.00", 40), ("Sencha, 100 g", "11.80", 0))
ORDER_PAGE = re.compile(r"/orders/[0-9a-f-]{36}$")


@pytest.fixture
def item(gateway: Gateway) -> str:
    """A product that the order service has heard of."""
    return for_sale(gateway, "A blue mug")


def for_sale(gateway: Gateway, name: str, **more: Any) -> str:
    made = gateway.product(50, name=name, **more)

    def is_known() -> bool:
        status, _ = gateway.post("/carts", {"items": [{"item": made, "quantity": 1}]})
        return status == 201

    wait_until(is_known, "the order service knows its price")
    return made


def put_into_cart(page: Page, item: str) -> None:
    page.goto(f"/shop?text={item}")
    page.get_by_role("button", name="Add to cart").click()
    expect(page.get_by_text(f"In your cart: 1 of {item}")).to_be_visible()


def fill_in_address(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("Ada Lovelace")
    page.get_by_label("Street and number").fill("12 St James's Square")
    page.get_by_label("Postal code").fill("SW1Y 4JH")
    page.get_by_label("City").fill("London")
    page.get_by_label("Country").fill("gb")


def order_button(page: Page) -> Any:
    return page.get_by_role("button", name=re.compile("^Order for"))


def pay_button(page: Page) -> Any:
    return page.get_by_role("button", name=re.compile("^Pay 10"))


def sent_to_us(page: Page, dashboard_url: str) -> list[str]:
    """Filled with everything that the page sends to the gateway from now on."""
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.url.startswith(dashboard_url):
            sent.append(f"{request.url} {request.post_data or ''} {request.headers}")

    page.on("request", note)
    return sent


class TestPayingNow:
    @pytest.mark.picture
    def test_from_the_shelf_to_a_confirmed_order(
        self, gateway: Gateway, log_in: Any, dashboard_url: str, item: str
    ) -> None:
        for name, price, on_hand in SHELF:
            gateway.product(on_hand, name=name, price=price)
        page = log_in(Role.USER)
        keep_picture(page, "dashboard-shop")
        put_into_cart(page, item)
        page.get_by_role("link", name=re.compile("^Cart:")).click()
        quantity = page.get_by_label("Quantity of A blue mug", exact=True)
        quantity.fill("3")
        quantity.press("Enter")
        expect(page.get_by_text("30.00").first).to_be_visible()
        page.get_by_role("link", name="Check out").click()
        sent = sent_to_us(page, dashboard_url)

        fill_in_address(page)
        page.get_by_label("Card number").fill(MISTYPED)
        page.get_by_label("Valid until").fill("12/30")
        page.get_by_label("Check digits").fill("123")
        order_button(page).click()
        expect(page.get_by_text("its check digit does not fit")).to_be_visible()
        expect(page.get_by_label("Card number")).to_be_focused()
        page.get_by_role("button", name=GOOD_CARD).click()
        keep_picture(page, "dashboard-checkout")
        order_button(page).click()

        expect(page).to_have_url(ORDER_PAGE)
        expect(page.locator(".order-status")).to_have_text("confirmed")
        said = " ".join(sent)
        assert "cardToken=tok_" in said
        for number in (GOOD_CARD, MISTYPED):
            assert number.replace(" ", "") not in re.sub(r"[ +]|%20", "", said)
        page.goto("/cart")
        expect(page.get_by_text("Your cart is empty")).to_be_visible()

    def test_goods_of_two_sellers_are_explained(self, log_in: Any, gateway: Gateway, item: str) -> None:
        other = for_sale(gateway, "A rug", sellerId="seller-2")
        page = log_in(Role.USER)
        for wanted in (item, other):
            put_into_cart(page, wanted)
        page.goto("/cart")
        expect(page.get_by_text("goods of several sellers")).to_be_visible()
        expect(page.get_by_role("link", name="Check out")).to_have_count(0)
        page.get_by_role("button", name="Remove those of seller-2").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_role("link", name="Check out")).to_be_visible()


class TestPayingLater:
    def test_declined_and_then_paid(self, log_in: Any, item: str) -> None:
        page = log_in(Role.USER)
        put_into_cart(page, item)
        page.goto("/checkout")
        fill_in_address(page)
        page.get_by_role("radio", name="Later: the goods").check()
        expect(page.get_by_label("Card number")).to_be_hidden()
        order_button(page).click()
        expect(page).to_have_url(ORDER_PAGE)
        page.get_by_role("link", name=re.compile("^Pay")).click()

        expect(page.locator(".countdown")).to_have_text(re.compile("^in "))
        page.get_by_role("button", name=DECLINED_CARD).click()
        pay_button(page).click()
        # Nobody touches the page: it is told.
        expect(page.get_by_text("Declined: card declined.")).to_be_visible()
        expect(page.get_by_text("2 more times")).to_be_visible()
        page.get_by_role("button", name=GOOD_CARD).click()
        pay_button(page).click()
        expect(page.get_by_text("Paid. Thank you!")).to_be_visible()

        page.get_by_role("link", name="Watch the order").click()
        expect(page.locator(".order-status")).to_have_text("confirmed")

    def test_goes_on_where_the_reservation_ends_meanwhile(self, log_in: Any, gateway: Gateway, item: str) -> None:
        order_id = gateway.order(item, userId="user-1", paymentMode="manual")
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}/pay")
        expect(page.get_by_label("Card number")).to_be_visible()
        status, answer = gateway.post(f"/orders/{order_id}/cancel", {"by": "operator"})
        assert status == 202, answer
        expect(page.get_by_text("cannot be paid any more")).to_be_visible()
        expect(page.get_by_label("Card number")).to_have_count(0)


class TestWithoutScripts:
    def test_shop_cart_and_paying_later_work(self, log_in: Any, item: str) -> None:
        page = log_in(Role.USER, java_script_enabled=False)
        put_into_cart(page, item)
        page.goto("/cart")
        page.get_by_role("link", name="Check out").click()
        fill_in_address(page)
        page.get_by_role("radio", name="Later: the goods").check()
        order_button(page).click()
        expect(page).to_have_url(ORDER_PAGE)

    def test_a_card_is_refused_and_its_number_stays_here(self, log_in: Any, dashboard_url: str, item: str) -> None:
        page = log_in(Role.USER, java_script_enabled=False)
        put_into_cart(page, item)
        page.goto("/checkout")
        fill_in_address(page)
        sent = sent_to_us(page, dashboard_url)
        page.get_by_label("Card number").fill(GOOD_CARD)
        order_button(page).click()
        expect(page.get_by_text("The card was not turned into a token")).to_be_visible()
        assert GOOD_CARD.replace(" ", "") not in re.sub(r"[ +]|%20", "", " ".join(sent))


class TestOrders:
    def test_are_found_by_item_and_by_day(self, log_in: Any, gateway: Gateway, item: str) -> None:
        order_id = gateway.order(item, userId="user-1")
        other = gateway.order(for_sale(gateway, "Another"), userId="user-1")
        page = log_in(Role.USER)
        page.goto("/orders")
        page.get_by_label("Item").fill(item)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.get_by_role("link", name=order_id[-8:])).to_be_visible()
        expect(page.get_by_role("link", name=other[-8:])).to_have_count(0)
        page.get_by_label("To (UTC)").fill("2020-01-01")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("No orders found")).to_be_visible()

    def test_somebody_elses_cannot_be_paid(self, log_in: Any, gateway: Gateway, item: str) -> None:
        order_id = gateway.order(item, userId=customer("somebody-else").subject, paymentMode="manual")
        answer = log_in(Role.USER).goto(f"/orders/{order_id}/pay")
        assert answer is not None
        assert answer.status == 404


class TestQuality:
    """Of the pages that have to be filled first; test_quality.py has the others."""

    def test_nothing_serious_in_light_or_dark_and_it_fits_on_a_phone(
        self, log_in: Any, gateway: Gateway, item: str
    ) -> None:
        unpaid = gateway.order(item, userId="user-1", paymentMode="manual")
        page = log_in(Role.USER, viewport={"width": 360, "height": 740})
        put_into_cart(page, item)
        for path in ("/shop", "/cart", "/checkout", "/orders", f"/orders/{unpaid}/pay"):
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.goto(path)
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                assert serious_findings(page) == [], (path, scheme)
                assert page.evaluate("document.documentElement.scrollWidth") <= 360, path

    def test_a_cart_is_ordered_with_the_keyboard_alone(self, log_in: Any, item: str) -> None:
        page = log_in(Role.USER)
        page.goto(f"/shop?text={item}")
        page.get_by_label("Quantity of", exact=False).first.press("Enter")
        expect(page.get_by_text(f"In your cart: 1 of {item}")).to_be_visible()
        page.goto("/checkout")
        page.get_by_label("Name", exact=True).focus()
        for text in ("Ada", "1 Main Street", "", "B1", "Bath", "GB"):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        expect(page.get_by_role("radio", name="Now, with a card")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("radio", name="Later: the goods")).to_be_checked()
        page.keyboard.press("Enter")
        expect(page).to_have_url(ORDER_PAGE)
