"""The order's page in a browser: it grows while the saga runs, for everybody who may see it, whatever is restarted."""

from __future__ import annotations

from typing import Any

import pytest
from harness.gateway import Gateway, key
from harness.waiting import wait_until
from playwright.sync_api import Page, expect
from ui_pages import keep_picture

from ops.people import customer
from ops.stack import Stack
from shared.identity import Role

SETTINGS = {"MANUAL_PAYMENT_TTL_S": "120"}


WHO = customer("user-1")


def placed(gateway: Gateway, item: str, **more: Any) -> str:
    """An order of the customer who can log in."""
    return gateway.order(item, 2, userId=WHO.subject, **more)


def cancelled_by_operator(gateway: Gateway, order_id: str) -> None:
    status_, answer = gateway.post(f"/orders/{order_id}/cancel", {"by": "operator"})
    assert status_ == 202, answer


def paid(gateway: Gateway, order_id: str) -> None:
    path = f"/payments/{gateway.get(f'/orders/{order_id}')['payment']['paymentId']}/confirm"
    headers = {"Authorization": f"Bearer {gateway.people.token(WHO)}", **key()}
    status_, answer, _ = gateway.call("POST", path, {"paymentMethod": "tok_success"}, headers)
    assert status_ == 202, answer


def status(page: Page) -> Any:
    return page.locator(".order-status")


def arrow(page: Page, event: str) -> Any:
    return page.locator("svg.saga .label", has_text=event).first


class TestWatching:
    @pytest.mark.picture
    def test_two_people_see_the_saga_grow(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item, paymentMode="manual")
        customer, seller = log_in(Role.USER), log_in(Role.SELLER)
        for page in (customer, seller):
            page.goto(f"/orders/{order_id}")
            expect(status(page)).to_have_text("reserved")
            expect(arrow(page, "PAYMENT_PENDING")).to_be_visible()
        keep_picture(customer, "dashboard-order-waiting")

        paid(gateway, order_id)

        for page in (customer, seller):
            expect(status(page)).to_have_text("confirmed")
            expect(arrow(page, "ORDER_CONFIRMED")).to_be_visible()
        keep_picture(customer, "dashboard-order")

    @pytest.mark.picture
    def test_a_declined_payment_is_seen_to_be_undone(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item, paymentMethod="tok_insufficient_funds")
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("cancelled")
        expect(page.locator("svg.saga .step.failure .label")).to_have_text("PAYMENT_FAILED")
        expect(page.locator("svg.saga .step.compensation .label", has_text="INVENTORY_REFUNDED")).to_be_visible()
        expect(page.get_by_text("Stock and money are back, or were never taken.")).to_be_visible()
        keep_picture(page, "dashboard-order-undone")

    def test_goes_on_after_the_payment_service_was_killed(
        self, gateway: Gateway, stack: Stack, item: str, log_in: Any
    ) -> None:
        page = log_in(Role.USER)
        stack.kill("payment_service")
        order_id = placed(gateway, item)
        page.goto(f"/orders/{order_id}")
        expect(arrow(page, "INVENTORY_RESERVED")).to_be_visible()
        # Nobody touches the page: it is told.
        expect(status(page)).to_have_text("confirmed", timeout=60_000)

    def test_is_right_after_a_reload_and_after_going_back(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
        page.reload()
        expect(arrow(page, "PAYMENT_SUCCESS")).to_be_visible()
        page.goto("/orders")
        cancelled_by_operator(gateway, order_id)
        page.go_back()
        expect(status(page)).to_have_text("cancelled")

    def test_catches_up_after_a_lost_connection(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item, paymentMode="manual")
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("reserved")
        page.context.set_offline(True)
        cancelled_by_operator(gateway, order_id)
        page.context.set_offline(False)
        expect(status(page)).to_have_text("cancelled", timeout=60_000)


class TestActing:
    def test_a_question_outlives_the_page_that_is_drawn_anew_under_it(
        self, gateway: Gateway, item: str, log_in: Any
    ) -> None:
        """Given an open question when the live part is drawn anew, then yes is yes if the same is still offered."""
        order_id = placed(gateway, item)
        page = log_in(Role.SELLER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
        page.get_by_label("Tracking").fill("TRACK-2")
        page.get_by_role("button", name="Ship").click()
        page.evaluate("""() => {
            const form = document.querySelector("#saga form.ship"), drawn = form.cloneNode(true);
            drawn.elements.tracking.value = form.elements.tracking.value;
            form.replaceWith(drawn);
        }""")
        page.get_by_role("button", name="Yes").click()
        expect(status(page)).to_have_text("fulfilled")
        expect(page.get_by_text("TRACK-2")).to_be_visible()

    def test_what_is_offered_no_more_is_not_asked_for(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        gateway.ended(order_id, "CONFIRMED")
        page = log_in(Role.USER)
        page.add_init_script("addEventListener('htmx:sseMessage', () => { window.isDrawnAnew = true; })")
        page.goto(f"/orders/{order_id}")
        # The stream's first piece comes without any news, and is the last one here.
        wait_until(lambda: page.evaluate("window.isDrawnAnew === true"), "it is drawn anew")
        page.get_by_role("button", name="Cancel order").click()
        page.evaluate("""() => document.querySelector("#saga form").remove()""")
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The page has changed meanwhile")).to_be_visible()
        expect(status(page)).to_have_text("confirmed")

    def test_the_customer_cancels_after_saying_yes(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
        page.get_by_role("button", name="Cancel order").click()
        page.get_by_role("button", name="No, go back").click()
        expect(status(page)).to_have_text("confirmed")
        page.get_by_role("button", name="Cancel order").click()
        page.get_by_role("button", name="Yes").click()
        expect(status(page)).to_have_text("cancelled")
        expect(page.get_by_role("button", name="Cancel order")).to_have_count(0)

    def test_the_seller_ships_and_takes_back(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        page = log_in(Role.SELLER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
        page.get_by_label("Tracking").fill("TRACK-1")
        page.get_by_role("button", name="Ship").click()
        page.get_by_role("button", name="Yes").click()
        expect(status(page)).to_have_text("fulfilled")
        expect(page.get_by_text("TRACK-1")).to_be_visible()
        page.reload()
        page.get_by_label(item).fill("1")
        page.get_by_role("button", name="Take back and refund").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_role("heading", name="Returns")).to_be_visible()

    def test_nobody_is_offered_what_is_not_theirs_to_do(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        page = log_in(Role.USER)
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
        expect(page.get_by_role("button", name="Ship")).to_have_count(0)


class TestStrangers:
    def test_see_nothing_of_another_customers_order(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = gateway.order(item, userId="somebody-else")
        page = log_in(Role.USER)
        answer = page.goto(f"/orders/{order_id}")
        assert answer is not None
        assert answer.status == 404
        assert page.request.get(f"/orders/{order_id}/live").status == 404

    def test_a_form_from_elsewhere_does_nothing(self, gateway: Gateway, item: str, log_in: Any) -> None:
        order_id = placed(gateway, item)
        page = log_in(Role.USER)
        assert page.request.post(f"/orders/{order_id}/cancel", form={"idempotency_key": "x"}).status == 400
        page.goto(f"/orders/{order_id}")
        expect(status(page)).to_have_text("confirmed")
