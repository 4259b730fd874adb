"""Owns: services that die or fall silent while orders are under way. Must not know: how flows are run.

These take hold of processes that all flows need, so they are played after the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ops.scenarios.script import Flow, Script, charges, count, money, types, words

# Between two reservations, so that one expires while word of the other's expiry can still be held up.
_APART_S = 8.0


def killed_payment(script: Script) -> None:
    """SIGKILL with the order in hand: frozen, it has been sent the event and has done nothing with it."""
    item = script.product()
    with script.stage.frozen("payment_service"):
        order_id = script.place(item)
        script.reserved(order_id)
        script.stage.kill("payment_service")
    order = script.ended(order_id)
    script.expect("order", "CONFIRMED", words(order))
    script.expect("charged once", "SUCCEEDED", charges(script.payment(order)))


def silent_inventory(script: Script) -> None:
    """Frozen past every deadline: what was not answered is cancelled, what cannot be undone yet is flagged."""
    item = script.product()
    paid = script.ended(script.place(item))
    script.stage.payments_are_in.wait(script.patience_s)
    with script.stage.frozen("inventory_service"):
        lost, given_up = script.place(item, 2), script.place(item, 3)
        script.expect_answer("fulfil another", "202", f"/orders/{paid['id']}/fulfil")
        by_operator = {"by": "operator"}
        script.expect_answer("cancel as operator", "202", f"/orders/{given_up}/cancel", by_operator)
        timed_out = script.order_when(lost, lambda o: o["status"] == "CANCELLED", "the deadline has passed")
        script.expect("order, inventory silent", "CANCELLED (timeout)", words(timed_out))
        script.expect("asked again at half", 1, count(timed_out, "HALF_DEADLINE_PASSED"))
        script.expect("its undoing", "unsettled, compensation_unfinished", _open(script, lost))
        script.expect("the cancelled one", "unsettled, compensation_unfinished", _open(script, given_up))
        script.expect("the shipped one", "fulfilment_unfinished", _flag(script, paid["id"]))
    for what, order_id, expected in (
        ("order, inventory back", lost, "CANCELLED (timeout)"),
        ("the cancelled one", given_up, "CANCELLED (operator)"),
    ):
        order = script.ended(order_id)
        script.expect(what, f"{expected}, no flag", f"{words(order)}, {order['flag'] or 'no flag'}")
    shipped = script.fulfilled(paid["id"])
    script.expect("the shipped one", "FULFILLED, no flag", f"{words(shipped)}, {shipped['flag'] or 'no flag'}")
    script.expect_stock(item, 9, 0)


def flagged_instead(script: Script) -> None:
    """Where the setting says so, an order past its deadline is shown to an operator, and may still go on."""
    item = script.product()
    with script.stage.frozen("inventory_service"):
        order_id = script.place(item)
        script.expect("past its deadline", "pending_overdue", _flag(script, order_id))
        script.expect("order, inventory silent", "PENDING", words(script.order(order_id)))
    order = script.ended(order_id)
    script.expect("order, inventory back", "CONFIRMED, no flag", f"{words(order)}, {order['flag'] or 'no flag'}")
    script.expect_stock(item, 10, 1)


def late_news(script: Script) -> None:
    """Two customers pay in time, but word of it is held up until their reservations have expired.

    The first order's expiry is heard before: it is cancelled and refunded. The second's is heard after: its stock is
    held again, as a second generation.
    """
    item = script.product()
    try:
        first = script.unpaid(item)
        script.wait(_APART_S, "the second comes later")
        second = script.unpaid(item)
        _pay_unheard(script, first, second)
    finally:
        script.stage.payments_are_in.set()
    order = script.ended(first["id"])
    script.expect("first order", "CANCELLED (reservation_expired)", words(order))
    script.expect("its payment", "REFUNDED, 10.00 of 10.00 refunded", money(script.payment(order)))
    script.expect("its success was heard late", True, "PAYMENT_SUCCESS" in types(order))
    order = script.order_when(second["id"], _is_held_again, "the second order's stock is held again")
    script.expect("second order", "CONFIRMED", words(order))
    script.expect("its stock", "HELD, generation 2", "{state}, generation {generation}".format(**order["reservation"]))
    script.expect_answer("ship it", "202", f"/orders/{order['id']}/fulfil")
    script.expect("second order", "FULFILLED", words(script.fulfilled(order["id"])))
    script.expect_stock(item, 9, 0)


def _pay_unheard(script: Script, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    with ExitStack() as payments_unheard:
        payments_unheard.enter_context(script.stage.frozen("payment_relay"))
        for order in (first, second):
            script.expect("paid in time", "202", script.pay(order, "tok_success").words)
            script.payment_when(order, lambda p: p["status"] == "SUCCEEDED", "the money is taken")
        script.stage.payments_are_in.set()
        script.order_when(first["id"], lambda o: o["status"] == "CANCELLED", "the first reservation has expired")
        with script.stage.frozen("inventory_relay"):
            script.until(lambda: _reservation(script, second) == "EXPIRED", "the second reservation has expired")
            payments_unheard.close()
            script.order_when(second["id"], lambda o: o["status"] == "CONFIRMED", "the second payment is heard of")


def _reservation(script: Script, order: Mapping[str, Any]) -> str:
    return str(script.get(f"/reservations/{order['id']}")["status"])


def _is_held_again(order: Mapping[str, Any]) -> bool:
    reservation = order["reservation"] or {}
    return reservation.get("state") == "HELD" and reservation.get("generation") == 2


def _flag(script: Script, order_id: str) -> str:
    return str(script.order_when(order_id, lambda o: o["flag"] is not None, "the order is flagged")["flag"])


def _open(script: Script, order_id: str) -> str:
    flag = _flag(script, order_id)
    return f"{'unsettled' if script.order(order_id)['settledAt'] is None else 'settled'}, {flag}"


FLOWS = (Flow(name="payment service killed with the order in hand", play=killed_payment),)
TOGETHER = (
    Flow(name="paid in time, heard of after the reservation expired", play=late_news),
    Flow(name="a silent inventory service", play=silent_inventory),
)
WITH_FLAGS = (Flow(name="a silent inventory service, ON_DEADLINE=flag", play=flagged_instead),)
