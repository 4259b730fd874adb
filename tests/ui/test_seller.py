"""A seller's way in a browser, from the login to shipped parcels: products, stock, orders, what is held for whom."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from harness.gateway import Gateway
from playwright.sync_api import Page, expect
from ui_pages import keep_picture

from shared.identity import Role

SETTINGS = {"MANUAL_PAYMENT_TTL_S": "600"}


@pytest.fixture
def seller(log_in: Any) -> Page:
    page: Page = log_in(Role.SELLER)
    return page


def yes(page: Page) -> None:
    page.get_by_role("button", name="Yes", exact=True).click()


def way(page: Page, name: str) -> Any:
    return page.get_by_label("Pages").get_by_role("link", name=name, exact=True)


def stock(page: Page, what: str) -> Any:
    """The number beside "On hand", "Held" or "Available"."""
    return page.locator(f"dt:text-is('{what}') + dd")


def row(page: Page, order_id: str) -> Any:
    return page.locator("tbody tr", has=page.get_by_role("link", name=order_id[-8:]))


def choose(page: Page, order_id: str) -> None:
    page.get_by_role("checkbox", name=f"Order {order_id[-8:]}").check()


def fill_in_product(page: Page, item: str, **fields: str) -> None:
    said = {"Name": "A tea cup", "Price": "12.50", "On hand": "20", **fields}
    page.get_by_label("Item").fill(item)
    for label, text in said.items():
        page.get_by_label(label, exact=True).fill(text)


class TestProducts:
    def test_the_login_leads_to_the_work_and_from_there_everywhere(self, seller: Page) -> None:
        expect(seller.get_by_role("heading", level=1)).to_have_text("Orders to work on")
        for name, title in (("Products", "Products"), ("Reservations", "Reservations"), ("Orders", "Orders")):
            way(seller, name).click()
            expect(seller.get_by_role("heading", level=1)).to_have_text(title)
            expect(way(seller, name)).to_have_attribute("aria-current", "page")

    @pytest.mark.picture
    def test_one_is_made_changed_and_counted_anew(self, gateway: Gateway, seller: Page) -> None:
        item = f"cup-{uuid4().hex[:6]}"
        way(seller, "Products").click()
        seller.get_by_role("link", name="New product").click()
        fill_in_product(seller, item)
        seller.get_by_role("button", name="Create").click()
        expect(seller.get_by_text("A tea cup is on sale in a moment")).to_be_visible()
        expect(stock(seller, "On hand")).to_have_text("20")

        seller.get_by_label("Price in EUR").fill("13.90")
        seller.get_by_label("Each order needs my approval first").check()
        seller.get_by_role("button", name="Save").click()
        expect(seller.get_by_text("Saved: new orders get it in a moment")).to_be_visible()

        seller.get_by_label("Change").fill("-3")
        seller.get_by_label("Reason").fill("broken on the way")
        seller.get_by_role("button", name="Adjust").click()
        expect(stock(seller, "On hand")).to_have_text("17")
        expect(seller.locator("tbody tr").first).to_contain_text("broken on the way")
        expect(seller.locator("tbody tr").first).to_contain_text("-3")
        keep_picture(seller, "dashboard-product")

        seller.get_by_role("link", name="All movements").click()
        expect(seller.locator("tbody tr")).to_have_count(2)
        product = gateway.get(f"/products/{item}")
        assert (product["price"], product["requiresApproval"], product["onHand"]) == ("13.90", True, 17)

    def test_a_movement_leads_to_its_order_and_a_hold_by_hand_to_nothing(self, gateway: Gateway, seller: Page) -> None:
        item = gateway.product(5)
        _, hold = gateway.post("/inventory/reserve", {"items": [{"item": item, "quantity": 2}]})
        order_id = gateway.order(item)
        gateway.ended(order_id, "CONFIRMED")

        seller.goto(f"/seller/products/{item}/movements")
        by_order, by_hand, _ = seller.locator("tbody tr").all()
        expect(by_hand.locator("[data-copy]")).to_have_attribute("data-copy", hold["id"])
        expect(by_hand.get_by_role("link")).to_have_count(0)
        by_order.get_by_role("link").click()
        expect(seller).to_have_url(re.compile(f"/orders/{order_id}$"))

    def test_what_is_not_right_is_marked_and_the_rest_is_kept(self, gateway: Gateway, seller: Page) -> None:
        taken = gateway.product(1)
        seller.goto("/seller/products/new")
        fill_in_product(seller, taken, Price="cheap")
        seller.get_by_role("button", name="Create").click()
        expect(seller.get_by_label("Price", exact=True)).to_have_class(re.compile("is-invalid"))
        expect(seller.get_by_label("Name", exact=True)).to_have_value("A tea cup")
        seller.get_by_label("Price", exact=True).fill("3.00")
        seller.get_by_role("button", name="Create").click()
        expect(seller.get_by_label("Item")).to_have_class(re.compile("is-invalid"))

    def test_more_than_there_is_cannot_be_taken_away(self, gateway: Gateway, seller: Page) -> None:
        seller.goto(f"/seller/products/{gateway.product(2)}")
        seller.get_by_label("Change").fill("-3")
        seller.get_by_label("Reason").fill("a mistake")
        seller.get_by_role("button", name="Adjust").click()
        expect(seller.locator("[data-toast=danger]")).to_be_visible()
        expect(stock(seller, "On hand")).to_have_text("2")

    def test_two_who_change_one_product_do_not_undo_each_other(self, gateway: Gateway, log_in: Any) -> None:
        item = gateway.product(1)
        first, second = log_in(Role.SELLER), log_in(Role.SELLER)
        for page in (first, second):
            page.goto(f"/seller/products/{item}")
        first.get_by_label("Price in EUR").fill("11.00")
        first.get_by_role("button", name="Save").click()
        expect(first.get_by_text("Saved")).to_be_visible()
        second.get_by_label("Price in EUR").fill("9.00")
        second.get_by_role("button", name="Save").click()
        expect(second.get_by_text("Somebody has changed it meanwhile")).to_be_visible()
        assert gateway.get(f"/products/{item}")["price"] == "11.00"


class TestApproving:
    def test_some_are_approved_and_one_is_declined(self, gateway: Gateway, seller: Page) -> None:
        item = gateway.product(10, requiresApproval=True)
        wanted, also, unwanted = (gateway.order(item, userId="user-1") for _ in range(3))
        seller.goto("/seller/orders")
        expect(row(seller, wanted).locator(".countdown")).to_have_text(re.compile("^in "))
        for order_id in (wanted, also):
            choose(seller, order_id)
        seller.get_by_role("button", name="Approve").click()
        expect(seller.get_by_text("2 approved")).to_be_visible()

        choose(seller, unwanted)
        seller.get_by_role("button", name="Decline").click()
        seller.get_by_role("button", name="No, go back").click()
        assert gateway.get(f"/orders/{unwanted}")["status"] == "PENDING"
        seller.get_by_role("button", name="Decline").click()
        yes(seller)
        expect(seller.get_by_text("1 declined")).to_be_visible()

        for order_id in (wanted, also):
            gateway.ended(order_id, "CONFIRMED")
        assert gateway.ended(unwanted, "CANCELLED")["reason"] == "seller"

    def test_on_the_orders_own_page_too(self, gateway: Gateway, seller: Page) -> None:
        order_id = gateway.order(gateway.product(10, requiresApproval=True), userId="user-1")
        seller.goto(f"/orders/{order_id}")
        expect(seller.locator("svg.saga .awaited .label")).to_contain_text("approval")
        seller.get_by_role("button", name="Approve").click()
        expect(seller.locator(".order-status")).to_have_text("confirmed")

    def test_nothing_is_done_where_nothing_is_chosen(self, gateway: Gateway, seller: Page) -> None:
        gateway.order(gateway.product(10, requiresApproval=True), userId="user-1")
        seller.goto("/seller/orders")
        seller.get_by_role("button", name="Approve").click()
        expect(seller.get_by_text("Choose at least one order")).to_be_visible()


class TestShipping:
    @pytest.mark.picture
    def test_one_with_its_tracking_number_and_several_at_once(self, gateway: Gateway, item: str, seller: Page) -> None:
        one, *several = (gateway.order(item, userId="user-1") for _ in range(3))
        for order_id in (one, *several):
            gateway.ended(order_id, "CONFIRMED")
        seller.goto("/seller/orders")
        keep_picture(seller, "dashboard-seller")
        choose(seller, one)
        seller.get_by_label(f"Tracking of order {one[-8:]}").fill("DHL 4711")
        seller.get_by_role("button", name="Ship what is chosen").click()
        yes(seller)
        expect(seller.get_by_text("1 shipped")).to_be_visible()
        assert gateway.ended(one, "FULFILLED")["tracking"] == "DHL 4711"

        for order_id in several:
            choose(seller, order_id)
        seller.get_by_role("button", name="Ship what is chosen").click()
        yes(seller)
        expect(seller.get_by_text("2 shipped")).to_be_visible()
        for order_id in several:
            gateway.ended(order_id, "FULFILLED")
        seller.goto("/seller/orders")
        expect(row(seller, one)).to_have_count(0)

    def test_one_that_cannot_be_shipped_keeps_no_other_back(self, gateway: Gateway, item: str, seller: Page) -> None:
        gone, there = (gateway.order(item, userId="user-1") for _ in range(2))
        for order_id in (gone, there):
            gateway.ended(order_id, "CONFIRMED")
        seller.goto("/seller/orders")
        status, answer = gateway.post(f"/orders/{gone}/cancel", {"by": "operator"})
        assert status == 202, answer
        for order_id in (gone, there):
            choose(seller, order_id)
        seller.get_by_role("button", name="Ship what is chosen").click()
        yes(seller)
        expect(seller.locator("[data-toast=danger]")).to_contain_text(f"1 shipped; not so {gone[-8:]}")
        gateway.ended(there, "FULFILLED")


class TestReservations:
    def test_count_down_to_their_end(self, gateway: Gateway, item: str, seller: Page) -> None:
        order_id = str(gateway.unpaid(item, 2)["id"])
        seller.goto("/seller/reservations")
        held = row(seller, order_id)
        expect(held).to_contain_text(item)
        countdown = held.locator(".countdown")
        expect(countdown).to_have_text(re.compile(r"^in \d+ min \d+ s$"))
        shown = countdown.inner_text()
        expect(countdown).not_to_have_text(shown)

        seller.get_by_label("Status").select_option("RELEASED")
        seller.get_by_role("button", name="Show").click()
        expect(row(seller, order_id)).to_have_count(0)


class TestFindingOrders:
    def test_by_what_the_list_shows_of_an_id(self, gateway: Gateway, item: str, seller: Page) -> None:
        order_id, _other = (gateway.order(item, userId="user-1") for _ in range(2))
        seller.goto("/orders")
        seller.get_by_label("Search").fill(order_id[-8:])
        seller.get_by_role("button", name="Show").click()
        expect(seller.locator("tbody tr")).to_have_count(1)
        expect(row(seller, order_id)).to_be_visible()

    def test_the_whole_id_is_copied(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = gateway.order(item, userId="user-1")
        seller = log_in(Role.SELLER, permissions=["clipboard-read", "clipboard-write"])
        seller.goto(f"/orders?item={item}")
        seller.get_by_role("button", name=f"Copy the id of order {order_id[-8:]}").click()
        expect(seller.get_by_text("Copied")).to_be_visible()
        assert seller.evaluate("navigator.clipboard.readText()") == order_id
