"""Owns: cancelling on request, by each who may, at each moment. Must not know: how flows are run."""

from __future__ import annotations

from functools import partial

from ops.scenarios.script import Flow, Script, count, ended_charges, money, words

REQUESTERS = ("customer", "seller", "operator")


def before_anything(script: Script, by: str) -> None:
    """PENDING: it waits for its seller, nothing is held."""
    item = script.product(requiresApproval=True)
    order_id = script.place(item)
    _cancel(script, order_id, by)
    script.expect_stock(item, 10, 0)


def unpaid(script: Script, by: str) -> None:
    item = script.product()
    order = script.unpaid(item)
    ended = _cancel(script, order["id"], by)
    script.expect("charges", 0, len(ended_charges(script.payment(ended))))
    script.expect("payment", "CANCELLED", script.payment(ended)["status"])
    script.expect("paying now", "409 payment_not_payable", script.pay(order, "tok_success").words)
    script.expect_stock(item, 10, 0)


def paid(script: Script, by: str) -> None:
    item = script.product()
    order_id = script.ended(script.place(item, 2))["id"]
    ended = _cancel(script, order_id, by)
    script.expect("payment", "REFUNDED, 20.00 of 20.00 refunded", money(script.payment(ended)))
    script.expect("refunded once", 1, count(ended, "PAYMENT_REFUNDED"))
    script.expect_stock(item, 10, 0)


def after_fulfilment(script: Script) -> None:
    """From the moment fulfilment is asked for, also before the stock is off the shelf."""
    item = script.product()
    order_id = script.ended(script.place(item))["id"]
    script.expect_answer("fulfil", "202", f"/orders/{order_id}/fulfil")
    for by in REQUESTERS:
        script.expect_answer(f"cancel by {by}", "409 order_not_cancellable", f"/orders/{order_id}/cancel", {"by": by})
    script.expect("order", "FULFILLED", words(script.fulfilled(order_id)))
    script.expect_answer("cancel", "409 order_not_cancellable", f"/orders/{order_id}/cancel")
    script.expect_stock(item, 9, 0)


def _cancel(script: Script, order_id: str, by: str) -> dict[str, object]:
    """Twice: the second changes nothing."""
    script.expect_answer("cancel", "202", f"/orders/{order_id}/cancel", {"by": by})
    script.expect_answer("cancel again", "202", f"/orders/{order_id}/cancel", {"by": "operator"})
    ended = script.ended(order_id)
    script.expect("order", f"CANCELLED ({by})", words(ended))
    script.expect("cancelled once", 1, count(ended, "ORDER_CANCELLED"))
    return ended


MOMENTS = {"nothing held yet": before_anything, "reserved, unpaid": unpaid, "paid": paid}

FLOWS = (
    *(
        Flow(name=f"cancelled by {by}: {moment}", play=partial(play, by=by))
        for moment, play in MOMENTS.items()
        for by in REQUESTERS
    ),
    Flow(name="cancel after fulfil", play=after_fulfilment),
)
