"""The customer's pages without scripts: the catalogue, the cart, the checkout, paying, and the list of orders."""

from __future__ import annotations

import re
from typing import Any

import pytest
from harness.dashboard import Browser, logged_in
from harness.services import FakeServices

from gateway.services import CallTimedOut
from shared.errors import (
    CartNotFound,
    CartNotOpen,
    MixedSellers,
    OrderNotFound,
    PaymentExpired,
    PaymentNotFound,
    PriceMismatch,
    UnknownItem,
)
from shared.identity import Role

CART_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5f"
PAYMENT_ID = "3d0c8d1e-52a7-5f63-9a54-5b8f0f3c1c55"
PSP = "http://psp.example:8001"
HOSTILE = "<script>alert(1)</script>"
ADDRESS = {"name": "Ada", "line1": "1 Main St", "line2": "", "city": "Bath", "postalCode": "B1", "country": "gb"}
CARD_NUMBER = "4242424242424242"


def product(**more: Any) -> dict[str, Any]:
    usual = {"item": "mug", "name": "Mug", "sellerId": "s1", "price": "12.50", "currency": "EUR"}
    return {**usual, "available": 100, "requiresApproval": False, **more}


def line(**more: Any) -> dict[str, Any]:
    usual = {"item": "mug", "name": "Mug", "sellerId": "s1", "price": "12.50", "currency": "EUR"}
    return {**usual, "quantity": 2, "forSale": True, **more}


def cart(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"id": CART_ID, "userId": "user-1", "status": "OPEN", "orderId": None, "price": "25.00", "currency": "EUR"}
    return {**usual, "items": list(lines or [line()]), **more}


def order(**more: Any) -> dict[str, Any]:
    usual = {"id": ORDER_ID, "userId": "user-1", "sellerId": "s1", "status": "RESERVED", "price": "25.00"}
    return {**usual, "currency": "EUR", "paymentMode": "manual", "createdAt": "2026-01-01T12:00:00Z", **more}


def payment(**more: Any) -> dict[str, Any]:
    usual = {"id": PAYMENT_ID, "status": "PENDING", "mode": "manual", "charging": False, "attemptsLeft": 3}
    held = {"amount": "25.00", "currency": "EUR", "expiresAt": "2026-01-01T12:30:00Z", "attempts": []}
    return {**usual, **held, **more}


def charge(status: str, reason: str | None = None) -> dict[str, Any]:
    times = {"startedAt": "2026-01-01T12:01:00Z", "endedAt": "2026-01-01T12:01:01Z"}
    return {"kind": "CHARGE", "status": status, "reason": reason, **times}


@pytest.fixture
def services() -> FakeServices:
    fake = FakeServices()
    fake.answers |= {
        "inventory_service.list_products": {"products": [product()], "nextCursor": None},
        "order_service.create_cart": {"cart": cart(), "replayed": False},
        "order_service.get_cart": cart(),
        "order_service.put_cart_item": cart(),
        "order_service.remove_cart_item": cart(),
        "order_service.place_order": {"order": {"id": ORDER_ID}, "replayed": False},
        "order_service.get_order": order(),
        "order_service.list_orders": {"orders": [], "nextCursor": None},
        "payment_service.get_payment": payment(),
        "payment_service.confirm_payment": {"payment": payment(), "replayed": False},
    }
    return fake


@pytest.fixture
def browser(services: FakeServices) -> Browser:
    return logged_in(Role.USER, services, psp_url=PSP)


@pytest.fixture
def buyer(browser: Browser, services: FakeServices) -> Browser:
    """With something in the cart."""
    put(browser)
    services.calls.clear()
    return browser


def put(browser: Browser, **fields: str) -> Any:
    return browser.post("/shop/cart", seen_on="/shop", **{"item": "mug", "quantity": "2", **fields})


def called(services: FakeServices, method: str) -> list[dict[str, Any]]:
    return [said for _, name, said in services.calls if name == method]


class TestWalls:
    @pytest.mark.parametrize("path", ["/shop", "/cart", "/checkout", f"/orders/{ORDER_ID}/pay"])
    def test_are_for_customers(self, path: str, services: FakeServices) -> None:
        assert Browser(services).get(path).headers["Location"].startswith("/login?next=")
        for role in (Role.SELLER, Role.ADMIN):
            assert logged_in(role, services).get(path).status_code == 403

    @pytest.mark.parametrize("path", ["/shop/cart", "/cart/items", "/cart/remove", "/checkout"])
    def test_a_form_without_its_token_does_nothing(self, path: str, browser: Browser, services: FakeServices) -> None:
        assert browser.client.post(path, data={"item": "mug", "quantity": "1"}).status_code == 400
        assert services.calls == []


class TestShop:
    def test_shows_what_is_sold(self, browser: Browser, services: FakeServices) -> None:
        some = [product(), product(item="lamp", available=3), product(item="book", available=0)]
        services.answers["inventory_service.list_products"] = {"products": some, "nextCursor": "book"}
        page = browser.get("/shop?text=m&sellerId=s1")
        wanted = {"limit": 24, "cursor": None, "text": "m", "seller_id": "s1", "active": "true"}
        assert called(services, "list_products") == [wanted]
        for text in ("12.50\u00a0EUR", "In stock", "Only 3 left", "Sold out"):
            assert text in page.text
        assert page.text.count('action="/shop/cart"') == 2
        assert "/shop?text=m&amp;sellerId=s1&amp;cursor=book" in page.text

    def test_a_name_is_only_a_text(self, browser: Browser, services: FakeServices) -> None:
        hostile = product(name=HOSTILE, sellerId='"><b>')
        services.answers["inventory_service.list_products"] = {"products": [hostile], "nextCursor": None}
        text = browser.get("/shop").text
        assert HOSTILE not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "<b>" not in text

    def test_what_cannot_be_looked_for_is_said(self, browser: Browser, services: FakeServices) -> None:
        page = browser.get("/shop?cursor=<x>")
        assert page.status_code == 422
        assert "That cannot be looked for" in page.text
        assert called(services, "list_products") == []

    def test_is_open_while_the_order_service_is_away(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.get_cart"] = CallTimedOut("late")
        assert buyer.get("/shop").status_code == 200

    def test_nothing_found(self, browser: Browser, services: FakeServices) -> None:
        services.answers["inventory_service.list_products"] = {"products": [], "nextCursor": None}
        assert "Nothing found" in browser.get("/shop?text=zebra").text


class TestCart:
    def test_begins_with_the_first_product(self, browser: Browser, services: FakeServices) -> None:
        answer = put(browser, text="m", cursor="a", idempotency_key="k-1")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/shop?text=m&cursor=a")
        [made] = called(services, "create_cart")
        assert made["cart"] == {"items": [{"item": "mug", "quantity": 2}]}
        assert made["idempotency_key"] == "k-1"
        assert "In your cart: 2 of mug" in browser.get("/cart").text

    def test_goes_on_with_the_same_one(self, buyer: Browser, services: FakeServices) -> None:
        put(buyer, quantity="5")
        assert called(services, "create_cart") == []
        assert called(services, "put_cart_item") == [{"cart_id": CART_ID, "item": "mug", "quantity": 5}]
        assert "Change, 2 in cart" in buyer.get("/shop").text

    @pytest.mark.parametrize("error", [CartNotFound("gone"), CartNotOpen("ordered", {"orderId": ORDER_ID})])
    def test_one_that_is_no_longer_one_makes_room(
        self, error: Exception, buyer: Browser, services: FakeServices
    ) -> None:
        services.answers["order_service.put_cart_item"] = error
        assert put(buyer).status_code == 303
        assert len(called(services, "create_cart")) == 1

    def test_one_that_is_gone_is_empty(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.get_cart"] = CartNotFound("gone")
        assert "Your cart is empty" in buyer.get("/cart").text
        services.calls.clear()
        buyer.get("/cart")
        assert called(services, "get_cart") == []

    def test_one_that_became_an_order_is_empty(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.get_cart"] = cart(status="ORDERED", orderId=ORDER_ID)
        assert "Your cart is empty" in buyer.get("/cart").text

    def test_is_another_one_for_somebody_else(self, buyer: Browser, services: FakeServices) -> None:
        buyer.post("/logout", seen_on="/cart")
        buyer.log_in(Role.USER)
        assert "Your cart is empty" in buyer.get("/cart").text

    @pytest.mark.parametrize("quantity", ["0", "-1", "1001", "two", "1.5", "", "\u0663", "9" * 5000])
    def test_takes_no_other_quantity(self, quantity: str, browser: Browser, services: FakeServices) -> None:
        answer = put(browser, quantity=quantity)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/shop")
        assert called(services, "create_cart") == []
        assert "from 1 to 1000" in browser.get("/shop").text

    def test_a_refusal_is_said_where_it_was_asked_for(self, browser: Browser, services: FakeServices) -> None:
        services.answers["order_service.create_cart"] = UnknownItem("not for sale: mug")
        assert put(browser).headers["Location"] == "/shop"
        assert "Unknown item: not for sale: mug" in browser.get("/shop").text

    def test_shows_sums_and_the_way_on(self, buyer: Browser) -> None:
        text = buyer.get("/cart").text
        assert "25.00\u00a0EUR" in text
        assert 'href="/checkout"' in text

    def test_is_changed_and_emptied(self, buyer: Browser, services: FakeServices) -> None:
        buyer.post("/cart/items", seen_on="/cart", item="mug", quantity="7")
        buyer.post("/cart/remove", seen_on="/cart", item="mug")
        assert called(services, "put_cart_item") == [{"cart_id": CART_ID, "item": "mug", "quantity": 7}]
        assert called(services, "remove_cart_item") == [{"cart_id": CART_ID, "item": "mug"}]

    def test_explains_why_several_sellers_are_no_order(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.get_cart"] = cart(line(), line(item="rug", sellerId="s2"))
        text = buyer.get("/cart").text
        assert "goods of several sellers" in text
        assert 'href="/checkout"' not in text
        assert buyer.get("/checkout").headers["Location"] == "/cart"

        buyer.post("/cart/remove-seller", seen_on="/cart", seller="s2")
        assert called(services, "remove_cart_item") == [{"cart_id": CART_ID, "item": "rug"}]

    def test_explains_what_is_no_longer_sold(self, buyer: Browser, services: FakeServices) -> None:
        gone = {"name": None, "sellerId": None, "price": None, "currency": None, "forSale": False}
        services.answers["order_service.get_cart"] = cart(line(**gone), price=None, currency=None)
        text = buyer.get("/cart").text
        assert "No longer sold: mug" in text
        assert 'href="/checkout"' not in text


def check_out(browser: Browser, **fields: str) -> Any:
    seen = {"cartId": CART_ID, "price": "25.00", "currency": "EUR", "idempotency_key": "k-1"}
    return browser.post("/checkout", seen_on="/checkout", **{**ADDRESS, **seen, "way": "later", **fields})


class TestCheckout:
    def test_needs_a_cart(self, browser: Browser) -> None:
        assert browser.get("/checkout").headers["Location"] == "/cart"

    def test_pays_later(self, buyer: Browser, services: FakeServices) -> None:
        answer = check_out(buyer)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/orders/{ORDER_ID}")
        [placed] = called(services, "place_order")
        asked = placed["order"]
        address = {name: text for name, text in ADDRESS.items() if text} | {"country": "GB"}
        assert (asked["cartId"], asked["paymentMode"], asked["shippingAddress"]) == (CART_ID, "manual", address)
        assert (asked["price"], asked["currency"], placed["idempotency_key"]) == ("25.00", "EUR", "k-1")

    def test_leaves_an_empty_cart(self, buyer: Browser) -> None:
        check_out(buyer)
        assert "Your cart is empty" in buyer.get("/cart").text

    @pytest.mark.parametrize(("way", "field"), [("card", "cardToken"), ("token", "paymentMethod")])
    def test_pays_now(self, way: str, field: str, buyer: Browser, services: FakeServices) -> None:
        check_out(buyer, way=way, **{field: "tok_abc"})
        asked = called(services, "place_order")[0]["order"]
        assert (asked["paymentMode"], asked["paymentMethod"]) == ("auto", "tok_abc")

    def test_a_card_number_goes_no_further_and_is_not_repeated(self, buyer: Browser, services: FakeServices) -> None:
        for fields in ({"way": "token", "paymentMethod": CARD_NUMBER}, {"way": "card", "cardToken": CARD_NUMBER}):
            answer = check_out(buyer, **fields)
            assert answer.status_code == 422
            assert CARD_NUMBER not in answer.text
            assert "never a card number" in answer.text
        assert called(services, "place_order") == []

    def test_a_card_without_scripts_is_explained(self, buyer: Browser) -> None:
        answer = check_out(buyer, way="card", cardToken="")
        assert answer.status_code == 422
        assert "The card was not turned into a token" in answer.text

    def test_says_what_is_wrong_and_keeps_the_rest(self, buyer: Browser, services: FakeServices) -> None:
        answer = check_out(buyer, city="  ", country="Germany", name=HOSTILE)
        assert answer.status_code == 422
        for text in ("Please fill this in.", "Must be a country code", "&lt;script&gt;"):
            assert text in answer.text
        assert HOSTILE not in answer.text
        assert called(services, "place_order") == []

    @pytest.mark.parametrize("error", [PriceMismatch("it costs 30.00 now"), MixedSellers("two sellers")])
    def test_a_refusal_leads_back_to_the_cart(self, error: Exception, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = error
        assert check_out(buyer).headers["Location"] == "/cart"
        assert f"Not ordered: {error}" in buyer.get("/cart").text

    def test_a_cart_that_became_an_order_leads_there(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = CartNotOpen("ordered", {"orderId": ORDER_ID})
        assert check_out(buyer).headers["Location"] == f"/orders/{ORDER_ID}"

    def test_without_an_answer_the_same_is_asked_again(self, buyer: Browser, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = CallTimedOut("late")
        answer = check_out(buyer, way="card", cardToken="tok_abc", paymentMethod=CARD_NUMBER)
        assert answer.status_code == 503
        assert CARD_NUMBER not in answer.text
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
        assert fields["idempotency_key"] == "k-1"

        services.answers["order_service.place_order"] = {"order": {"id": ORDER_ID}, "replayed": True}
        again = buyer.client.post("/checkout", data=fields)
        assert again.headers["Location"] == f"/orders/{ORDER_ID}"
        first, second = called(services, "place_order")
        assert first["order"] == second["order"]

    def test_fields_of_a_card_have_no_names(self, buyer: Browser) -> None:
        page = buyer.get("/checkout")
        fields = re.findall(r"<input[^>]*data-card-field[^>]*>", page.text)
        assert len(fields) == 3
        assert not any("name=" in field for field in fields)
        assert f"connect-src 'self' {PSP};" in page.headers["Content-Security-Policy"]

    def test_without_a_provider_there_is_no_card(self, services: FakeServices) -> None:
        browser = logged_in(Role.USER, services)
        put(browser)
        page = browser.get("/checkout")
        assert "PSP_PUBLIC_URL" in page.text
        assert "data-card-field" not in page.text
        assert "connect-src 'self';" in page.headers["Content-Security-Policy"]
        assert check_out(browser).headers["Location"] == f"/orders/{ORDER_ID}"


PAY = f"/orders/{ORDER_ID}/pay"


class TestPaying:
    def test_shows_the_form_and_how_long_there_is(self, browser: Browser) -> None:
        page = browser.get(PAY)
        assert 'datetime="2026-01-01T12:30:00.000+00:00"' in page.text
        assert f'data-psp="{PSP}"' in page.text
        assert f'data-test-cards="{PSP}/cards"' in page.text
        assert f"connect-src 'self' {PSP};" in page.headers["Content-Security-Policy"]

    def test_shows_test_cards_in_development_only(self, services: FakeServices) -> None:
        page = logged_in(Role.USER, services, psp_url=PSP, shows_accounts=False).get(PAY)
        assert "data-card-field" in page.text
        assert "data-test-cards" not in page.text

    def test_without_a_provider_says_so_and_offers_nothing(self, services: FakeServices) -> None:
        text = logged_in(Role.USER, services).get(PAY).text
        assert "PSP_PUBLIC_URL" in text
        assert f'action="{PAY}"' not in text

    def test_hands_the_token_on(self, browser: Browser, services: FakeServices) -> None:
        answer = browser.post(PAY, seen_on=PAY, cardToken="tok_abc", idempotency_key="k-1")
        assert (answer.status_code, answer.headers["Location"]) == (303, PAY)
        [said] = called(services, "confirm_payment")
        assert (said["payment_id"], said["payment_method"], said["idempotency_key"]) == (PAYMENT_ID, "tok_abc", "k-1")

    @pytest.mark.parametrize("token", [CARD_NUMBER, f"tok_{CARD_NUMBER}", "", "tok abc", "t" * 65])
    def test_hands_nothing_else_on(self, token: str, browser: Browser, services: FakeServices) -> None:
        browser.post(PAY, seen_on=PAY, token=token)
        assert called(services, "confirm_payment") == []
        text = browser.get(PAY).text
        assert "That is no token" in text
        assert CARD_NUMBER not in text

    def test_says_how_the_last_attempt_ended(self, browser: Browser, services: FakeServices) -> None:
        declined = payment(attemptsLeft=2, attempts=[charge("FAILED", "insufficient_funds")])
        services.answers["payment_service.get_payment"] = declined
        text = browser.get(PAY).text
        assert "Declined: insufficient funds" in text
        assert "2 more times" in text
        assert "data-card-field" in text

    @pytest.mark.parametrize(
        ("known", "its_order", "shown"),
        [
            (PaymentNotFound("none"), order(status="PENDING"), "being reserved"),
            (PaymentNotFound("none"), order(status="PENDING", awaitsApproval=True), "has to approve"),
            (PaymentNotFound("none"), order(status="CANCELLED", reason="OUT_OF_STOCK"), "cannot be paid any more"),
            (payment(charging=True), order(), "provider is being asked"),
            (payment(mode="auto"), order(), "provider is being asked"),
            (payment(status="SUCCEEDED"), order(status="CONFIRMED"), "Paid. Thank you!"),
            (payment(status="REFUNDED"), order(status="CANCELLED"), "the money goes back"),
            (payment(status="FAILED", attemptsLeft=0), order(status="CANCELLED"), "cannot be paid any more"),
            (payment(), order(status="CANCELLED"), "cannot be paid any more"),
        ],
    )
    def test_offers_the_form_only_when_it_helps(
        self, known: Any, its_order: Any, shown: str, browser: Browser, services: FakeServices
    ) -> None:
        services.answers["payment_service.get_payment"] = known
        services.answers["order_service.get_order"] = its_order
        text = browser.get(PAY).text
        assert shown in text
        assert "data-card-field" not in text

    def test_looks_for_news_and_leaves_the_form_alone(self, browser: Browser, services: FakeServices) -> None:
        watch = re.findall(r'hx-get="([^"]+)"', browser.get(PAY).text)[0].replace("&amp;", "&")
        same = browser.get(watch)
        assert (same.status_code, same.headers.get("HX-Refresh")) == (204, None)
        services.answers["payment_service.get_payment"] = payment(charging=True)
        assert browser.get(watch).headers["HX-Refresh"] == "true"

    def test_looks_on_while_a_service_is_away(self, browser: Browser, services: FakeServices) -> None:
        services.answers["payment_service.get_payment"] = CallTimedOut("late")
        same = browser.get(f"{PAY}/state?seen=open.0.")
        assert (same.status_code, same.headers.get("HX-Refresh")) == (204, None)

    def test_too_late_is_said(self, browser: Browser, services: FakeServices) -> None:
        services.answers["payment_service.confirm_payment"] = PaymentExpired("late")
        assert browser.post(PAY, seen_on=PAY, token="tok_abc").headers["Location"] == PAY
        assert "Too late" in browser.get(PAY).text

    def test_no_answer_is_said(self, browser: Browser, services: FakeServices) -> None:
        services.answers["payment_service.confirm_payment"] = CallTimedOut("late")
        browser.post(PAY, seen_on=PAY, token="tok_abc")
        assert "did not answer" in browser.get(PAY).text

    def test_is_for_nobody_else(self, browser: Browser, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = OrderNotFound("none")
        assert browser.get(PAY).status_code == 404
        services.answers["order_service.get_order"] = order(userId="somebody-else")
        assert browser.get(PAY).status_code == 404
        assert browser.get("/orders/nonsense/pay").status_code == 404


class TestOrders:
    def test_are_filtered(self, browser: Browser, services: FakeServices) -> None:
        browser.get("/orders?status=PENDING&item=mug&text=abc&since=2026-01-01&until=2026-01-31")
        wanted = {"status": "PENDING", "item": "mug", "text": "abc", "limit": 25, "cursor": None}
        # Both days are meant as a whole.
        period = {"since": "2026-01-01T00:00:00+00:00", "until": "2026-02-01T00:00:00+00:00"}
        assert called(services, "list_orders") == [{**wanted, **period}]

    def test_may_be_of_a_moment(self, browser: Browser, services: FakeServices) -> None:
        browser.get("/orders?since=2026-01-01T10:30:00%2B01:00")
        assert called(services, "list_orders")[0]["since"] == "2026-01-01T09:30:00+00:00"

    @pytest.mark.parametrize("filters", ["item=x+y", "since=yesterday", "until=9999-12-31", "status=GONE", "cursor=<"])
    def test_what_is_no_filter_is_said(self, filters: str, browser: Browser, services: FakeServices) -> None:
        page = browser.get(f"/orders?{filters}")
        assert page.status_code == 422
        assert 'role="alert"' in page.text
        assert browser.get(f"/orders?{filters}&format=csv").status_code == 422
        assert called(services, "list_orders") == []

    def test_keep_their_filters_from_page_to_page(self, browser: Browser, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {"orders": [order()], "nextCursor": ORDER_ID}
        text = browser.get("/orders?status=RESERVED&since=2026-01-01").text
        assert f"/orders?status=RESERVED&amp;since=2026-01-01&amp;cursor={ORDER_ID}" in text
        assert "/orders?status=RESERVED&amp;since=2026-01-01&amp;format=csv" in text

    def test_offer_to_pay_what_waits_for_it(self, browser: Browser, services: FakeServices) -> None:
        for its_order, is_offered in ((order(), True), (order(paymentMode="auto"), False), (order(userId="x"), False)):
            services.answers["order_service.list_orders"] = {"orders": [its_order], "nextCursor": None}
            assert (f'href="{PAY}"' in browser.get("/orders").text) is is_offered
