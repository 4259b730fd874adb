"""What may happen to an order beside its checkout, on the whole stack: paid by hand, approved, shipped, returned."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from harness.databases import Databases
from harness.gateway import Gateway, key, payment_path, types
from harness.waiting import wait_until

pytestmark = pytest.mark.e2e


def _charges(payment: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    charges = sorted((a for a in payment["attempts"] if a["kind"] == "CHARGE"), key=lambda a: a["startedAt"])
    return [(charge["status"], charge["reason"]) for charge in charges]


def _goods(item: str, quantity: int, **more: Any) -> dict[str, Any]:
    return {"items": [{"item": item, "quantity": quantity}], "restock": True, **more}


class TestPayLater:
    def test_a_second_card_may_succeed(self, gateway: Gateway) -> None:
        """Given a declined card, when the customer tries another, then the order is confirmed and charged once."""
        order = gateway.unpaid(gateway.product(on_hand=5))
        confirm = f"{payment_path(order)}/confirm"

        status, answer, headers = gateway.call("POST", confirm, {"paymentMethod": "tok_card_declined"}, key())
        assert (status, headers["Location"]) == (202, f"/api/v1{payment_path(order)}"), answer
        declined = [("FAILED", "card_declined")]
        wait_until(lambda: _charges(gateway.payment(order)) == declined, "the first card is declined")
        assert gateway.payment(order)["status"] == "PENDING"
        assert gateway.code(confirm, {"paymentMethod": "tok_success"}) == (202, None)

        gateway.ended(order["id"], "CONFIRMED")
        assert _charges(gateway.payment(order)) == [*declined, ("SUCCEEDED", None)]
        assert gateway.code(confirm, {"paymentMethod": "tok_success"}) == (409, "payment_not_payable")

    def test_the_third_declined_card_is_the_last(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        order = gateway.unpaid(item)
        for number in (1, 2, 3):
            gateway.post(f"{payment_path(order)}/confirm", {"paymentMethod": "tok_card_declined"})
            wait_until(
                lambda number=number: len([c for c in _charges(gateway.payment(order)) if c[0] == "FAILED"]) == number,
                f"card {number} is declined",
            )

        assert gateway.ended(order["id"], "CANCELLED")["reason"] == "payment_failed"
        assert gateway.stock(item) == (5, 0)

    def test_a_repeated_request_charges_once(self, gateway: Gateway) -> None:
        order, same = gateway.unpaid(gateway.product(on_hand=5)), key()
        confirm, body = f"{payment_path(order)}/confirm", {"paymentMethod": "tok_success"}

        answers = [gateway.call("POST", confirm, body, same) for _ in range(3)]

        assert [status for status, _, _ in answers] == [202, 202, 202]
        assert [headers.get("Idempotent-Replayed") for _, _, headers in answers] == [None, "true", "true"]
        gateway.ended(order["id"], "CONFIRMED")
        assert _charges(gateway.payment(order)) == [("SUCCEEDED", None)]


class TestApproval:
    def test_nothing_is_held_before_the_seller_approves(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5, requiresApproval=True)
        order_id = gateway.order(item, 2)
        # A later order goes all the way: the first waits because it has to, not because nobody came to it.
        gateway.ended(gateway.order(gateway.product(on_hand=5)), "CONFIRMED")

        waiting = gateway.get(f"/orders/{order_id}")
        assert (waiting["status"], waiting["awaitsApproval"]) == ("PENDING", True)
        assert set(waiting["allowedActions"]) == {"approve", "decline", "cancel"}
        assert gateway.stock(item) == (5, 0)

        assert [gateway.code(f"/orders/{order_id}/approve") for _ in range(2)] == [(202, None), (202, None)]
        order = gateway.ended(order_id, "CONFIRMED")
        assert types(order).count("ORDER_APPROVED") == 1
        assert gateway.stock(item) == (5, 2)
        assert gateway.code(f"/orders/{order_id}/decline") == (409, "order_not_approvable")

    def test_a_declined_order_is_cancelled_by_its_seller(self, gateway: Gateway) -> None:
        order_id = gateway.order(gateway.product(on_hand=5, requiresApproval=True))

        assert gateway.code(f"/orders/{order_id}/decline") == (202, None)

        order = gateway.ended(order_id, "CANCELLED")
        assert order["reason"] == "seller"
        assert "INVENTORY_RESERVED" not in types(order)
        assert gateway.code(f"/orders/{order_id}/approve") == (409, "order_not_approvable")


class TestFulfilment:
    def test_takes_the_stock_for_good_and_cannot_be_cancelled(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        order_id = gateway.ended(gateway.order(item, 2), "CONFIRMED")["id"]

        status, answer = gateway.post(f"/orders/{order_id}/fulfil", {"tracking": "DHL 7"})
        assert (status, answer["tracking"]) == (202, "DHL 7")
        assert gateway.code(f"/orders/{order_id}/cancel") == (409, "order_not_cancellable")

        order = gateway.ended(order_id, "FULFILLED")
        assert types(order)[-2:] == ["ORDER_FULFILLED", "INVENTORY_COMMITTED"]
        assert (order["fulfilRequestedAt"] is not None, order["allowedActions"]) == (True, ["return"])
        assert gateway.stock(item) == (3, 0)
        assert gateway.get(f"/reservations/{order_id}")["status"] == "COMMITTED"

    def test_needs_a_confirmed_order(self, gateway: Gateway) -> None:
        order = gateway.unpaid(gateway.product(on_hand=5))

        assert gateway.code(f"/orders/{order['id']}/fulfil") == (409, "order_not_fulfillable")

        gateway.post(f"/orders/{order['id']}/cancel")
        gateway.ended(order["id"], "CANCELLED")


class TestReturns:
    def test_goods_and_money_come_back_but_never_too_much(self, gateway: Gateway, databases: Databases) -> None:
        """Given three shipped units, when one and then two come back, then all of it is refunded, and no more."""
        item = gateway.product(on_hand=5)
        order = gateway.fulfilled(item, 3)
        place = f"/orders/{order['id']}/returns"

        status, answer = gateway.post(place, _goods(item, 4))
        assert (status, answer["code"], answer["items"]) == (422, "return_too_large", {item: 3})
        assert gateway.post(place, _goods(item, 1))[0] == 202
        gateway.order_when(order["id"], lambda o: o["refunded"] == "10.00", "10.00 is back")
        wait_until(lambda: gateway.stock(item) == (3, 0), "one unit is back on the shelf")
        assert gateway.code(place, _goods(item, 3)) == (422, "return_too_large")
        assert gateway.post(place, _goods(item, 2, restock=False))[0] == 202

        gateway.order_when(order["id"], lambda o: o["refunded"] == "30.00", "all of it is back")
        ended = gateway.order_when(
            order["id"], lambda o: [r["status"] for r in o["returns"]] == ["REFUNDED"] * 2, "both are refunded"
        )
        assert (ended["status"], gateway.payment(ended)["status"]) == ("FULFILLED", "REFUNDED")
        assert gateway.stock(item) == (3, 0)
        assert (
            databases.value("psp", "select sum(r.amount) from refunds r join charges c on c.key = r.charge_key") >= 30
        )

    def test_the_same_request_returns_once(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        order, same = gateway.fulfilled(item, 2), key()
        place = f"/orders/{order['id']}/returns"

        first, again = (gateway.call("POST", place, _goods(item, 1), same) for _ in range(2))
        other = gateway.call("POST", place, _goods(item, 2), same)

        assert (first[0], again[0], first[1]["id"]) == (202, 202, again[1]["id"])
        assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")
        gateway.order_when(order["id"], lambda o: o["refunded"] == "10.00", "10.00 is back")
        assert len(gateway.get(f"/orders/{order['id']}")["returns"]) == 1


class TestRefunds:
    def test_a_part_keeps_the_order_and_the_rest_cancels_it(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        order = gateway.ended(gateway.order(item, 2), "CONFIRMED")
        refund = f"{payment_path(order)}/refund"

        assert gateway.code(refund, {"amount": "20.01"}) == (422, "refund_too_large")
        assert gateway.code(refund, {"amount": "5.00", "reason": "late"}) == (202, None)
        heard = gateway.order_when(order["id"], lambda o: o["refunded"] == "5.00", "5.00 is back")
        assert heard["status"] == "CONFIRMED"
        assert gateway.code(refund) == (202, None)

        ended = gateway.ended(order["id"], "CANCELLED")
        assert (ended["reason"], ended["refunded"]) == ("refunded", "20.00")
        assert gateway.payment(ended)["status"] == "REFUNDED"
        assert gateway.stock(item) == (5, 0)


class TestWebhooks:
    def test_an_asynchronous_charge_is_ended_by_its_webhook(self, gateway: Gateway, databases: Databases) -> None:
        good = gateway.order(gateway.product(on_hand=5), paymentMethod="tok_async_success")
        bad = gateway.order(gateway.product(on_hand=5), paymentMethod="tok_async_failure")

        confirmed = gateway.ended(good, "CONFIRMED")
        assert gateway.ended(bad, "CANCELLED")["reason"] == "payment_failed"
        assert types(confirmed).count("PAYMENT_SUCCESS") == 1
        undelivered = "select count(*) from webhooks where delivered_at is null"
        wait_until(lambda: databases.value("psp", undelivered) == 0, "every webhook was answered with 2xx")

    @pytest.mark.parametrize(
        "signature",
        [None, "nonsense", f"t=1000000000,v1={'0' * 64}", f"t={int(time.time())},v1={'0' * 64}"],
        ids=["absent", "no signature", "old", "of another key"],
    )
    def test_what_the_provider_did_not_sign_is_refused(
        self, gateway: Gateway, databases: Databases, signature: str | None
    ) -> None:
        """Given an order that waits to be paid, when somebody else says that it is, then it still waits."""
        order = gateway.unpaid(gateway.product(on_hand=5))
        gateway.post(f"{payment_path(order)}/confirm", {"paymentMethod": "tok_slow"})
        [attempt] = gateway.payment(order)["attempts"]
        data = {"key": attempt["id"], "reference": "psp_forged", "status": "succeeded", "reason": None}
        forged = {"id": "evt_1", "type": "charge.succeeded", "data": data, "createdAt": "2026-01-01T12:00:00Z"}

        headers = {} if signature is None else {"PSP-Signature": signature}
        status, problem, _ = gateway.send("POST", "/psp/webhooks", json.dumps(forged).encode(), headers)

        assert (status, problem["code"]) == (400, "invalid_signature")
        ended = gateway.ended(order["id"], "CONFIRMED")
        assert gateway.payment(ended)["pspReference"] != "psp_forged"


class TestHolds:
    def test_a_hold_by_hand_is_released_or_committed(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        released, committed = (gateway.post("/inventory/reserve", _lines(item, 2))[1] for _ in range(2))
        assert gateway.stock(item) == (5, 4)
        assert gateway.code("/inventory/reserve", _lines(item, 2)) == (409, "out_of_stock")

        assert gateway.code("/inventory/release", {"reservationId": released["id"]}) == (200, None)
        assert gateway.code("/inventory/commit", {"reservationId": committed["id"]}) == (200, None)

        assert gateway.stock(item) == (3, 0)
        for hold in (released, committed):
            assert gateway.code("/inventory/release", {"reservationId": hold["id"]}) == (409, "reservation_not_held")
        assert gateway.get(f"/reservations/{committed['id']}")["status"] == "COMMITTED"

    def test_a_hold_expires(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        hold = gateway.post("/inventory/reserve", {**_lines(item, 2), "ttlSeconds": 1})[1]

        wait_until(lambda: gateway.get(f"/reservations/{hold['id']}")["status"] == "EXPIRED", "the hold has expired")

        assert gateway.stock(item) == (5, 0)

    def test_what_an_order_holds_is_not_touched(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        order_id = gateway.ended(gateway.order(item), "CONFIRMED")["id"]

        for verb in ("release", "commit"):
            answer = gateway.code(f"/inventory/{verb}", {"reservationId": order_id})
            assert answer == (409, "foreign_reservation")

        assert gateway.stock(item) == (5, 1)

    def test_holds_are_listed_page_by_page(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        made = [gateway.post("/inventory/reserve", _lines(item, 1))[1]["id"] for _ in range(3)]

        first = gateway.get("/reservations?limit=2&status=RESERVED")
        second = gateway.get(f"/reservations?limit=2&status=RESERVED&cursor={first['nextCursor']}")

        assert [r["id"] for r in first["reservations"]] == made[:0:-1]
        assert second["reservations"][0]["id"] == made[0]

    def test_stock_is_corrected_but_never_below_what_is_held(self, gateway: Gateway) -> None:
        item = gateway.product(on_hand=5)
        gateway.post("/inventory/reserve", _lines(item, 4))

        assert gateway.code("/inventory/adjust", _adjustment(item, -2)) == (409, "conflict")
        assert gateway.code("/inventory/adjust", _adjustment(item, -1)) == (200, None)
        assert gateway.code("/inventory/adjust", _adjustment(f"no-{uuid4()}", 1)) == (404, "product_not_found")

        assert gateway.stock(item) == (4, 4)


def _lines(item: str, quantity: int) -> dict[str, Any]:
    return {"items": [{"item": item, "quantity": quantity}]}


def _adjustment(item: str, delta: int) -> dict[str, Any]:
    return {"item": item, "delta": delta, "reason": "counted"}
