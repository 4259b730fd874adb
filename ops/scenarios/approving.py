"""Owns: orders that wait for their seller. Must not know: how flows are run."""

from __future__ import annotations

from ops.scenarios.script import Flow, Script, count, words


def approved(script: Script) -> None:
    item, other = script.product(requiresApproval=True), script.product()
    order_id = script.place(item, 2)
    # Placed later and confirmed: what is true of the first order now is not only so because nobody came to it yet.
    script.ended(script.place(other))
    waiting = script.order(order_id)
    script.expect("order waits", "PENDING, awaits approval", _waiting(waiting))
    script.expect("allowed", "approve, cancel, decline", ", ".join(sorted(waiting["allowedActions"])))
    script.expect("nothing is held", "10 on hand, 0 reserved", script.stock(item))
    script.expect_answer("fulfil meanwhile", "409 order_not_fulfillable", f"/orders/{order_id}/fulfil")
    script.expect_answer("approve", "202", f"/orders/{order_id}/approve")
    script.expect_answer("approve again", "202", f"/orders/{order_id}/approve")
    ended = script.ended(order_id)
    script.expect("order", "CONFIRMED", words(ended))
    script.expect("approved once", 1, count(ended, "ORDER_APPROVED"))
    script.expect_answer("decline now", "409 order_not_approvable", f"/orders/{order_id}/decline")
    script.expect_stock(item, 10, 2)


def declined(script: Script) -> None:
    item = script.product(requiresApproval=True)
    order_id = script.place(item)
    script.expect_answer("decline", "202", f"/orders/{order_id}/decline")
    ended = script.ended(order_id)
    script.expect("order", "CANCELLED (seller)", words(ended))
    script.expect("charged", 0, count(ended, "PAYMENT_SUCCESS"))
    script.expect_answer("approve now", "409 order_not_approvable", f"/orders/{order_id}/approve")
    script.expect_stock(item, 10, 0)


def no_approval_needed(script: Script) -> None:
    order = script.unpaid(script.product())
    for verb in ("approve", "decline"):
        script.expect_answer(verb, "409 order_not_approvable", f"/orders/{order['id']}/{verb}")
    script.client.post(f"/orders/{order['id']}/cancel", {})
    script.expect("order", "CANCELLED (customer)", words(script.ended(order["id"])))


def _waiting(order: dict[str, object]) -> str:
    return f"{order['status']}, {'awaits approval' if order['awaitsApproval'] else 'awaits nothing'}"


FLOWS = (
    Flow(name="seller approves", play=approved),
    Flow(name="seller declines", play=declined),
    Flow(name="approval of an order that needs none", play=no_approval_needed),
)
