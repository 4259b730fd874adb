"""Owns: customers who pay by hand, in time, too often or not at all. Must not know: how flows are run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ops.scenarios.script import Flow, Script, charges, count, ended_charges, money, payment_id, types, words

# A charge has to end before the reservation does: PSP_LIMIT_S and 5 s.
_CHARGE_NEEDS = timedelta(seconds=35)


def pay_later(script: Script) -> None:
    item = script.product()
    order = script.unpaid(item)
    script.expect("order waits", "RESERVED", words(order))
    for number, token in enumerate(("tok_insufficient_funds", "tok_card_declined"), start=1):
        script.expect(f"card {number}", "202", script.pay(order, token).words)
        script.expect("payment stays open", "PENDING", script.declined(order, number)["status"])
    script.expect("card 3", "202", script.pay(order, "tok_success").words)
    ended = script.ended(order["id"])
    script.expect("order", "CONFIRMED", words(ended))
    script.expect("charges", "insufficient_funds, card_declined, SUCCEEDED", charges(script.payment(ended)))
    script.expect("paid again", "409 payment_not_payable", script.pay(order, "tok_success").words)


def three_declines(script: Script) -> None:
    item = script.product()
    order = script.unpaid(item)
    for number in (1, 2, 3):
        script.expect(f"card {number}", "202", script.pay(order, "tok_card_declined").words)
        script.declined(order, number)
    ended = script.ended(order["id"])
    script.expect("order", "CANCELLED (payment_failed)", words(ended))
    script.expect("payment", "FAILED", script.payment(ended)["status"])
    script.expect("a fourth card", "409 payment_not_payable", script.pay(order, "tok_success").words)
    script.expect_stock(item, 10, 0)


def one_at_a_time(script: Script) -> None:
    order = script.unpaid(script.product())
    key = f"pay-{order['id']}"
    script.expect("a slow card", "202", script.pay(order, "tok_slow", key=key).words)
    script.expect("the same again", "202", script.pay(order, "tok_slow", key=key).words)
    # On a busy machine the slow card may be through by now.
    answer = script.pay(order, "tok_success").words
    is_refused = answer in ("409 payment_in_progress", "409 payment_not_payable")
    script.expect("another meanwhile", "refused", "refused" if is_refused else answer)
    ended = script.ended(order["id"])
    script.expect("order", "CONFIRMED", words(ended))
    script.expect("charges", "SUCCEEDED", charges(script.payment(ended)))


def abandoned(script: Script) -> None:
    """Nobody pays; whoever tries when it is nearly too late is told so."""
    item = script.product()
    order = script.unpaid(item, 2)
    expires_at = datetime.fromisoformat(order["reservation"]["expiresAt"])
    script.until(lambda: datetime.now(UTC) > expires_at - _CHARGE_NEEDS, "it is nearly too late to pay")
    script.expect("paying too late", "409 payment_expired", script.pay(order, "tok_success").words)
    script.expect("stock still held", "10 on hand, 2 reserved", script.stock(item))
    ended = script.ended(order["id"])
    script.expect("order", "CANCELLED (reservation_expired)", words(ended))
    script.expect("charges", 0, len(ended_charges(script.payment(ended))))
    script.expect("given up", True, {"INVENTORY_REFUNDED", "PAYMENT_CANCELLED"} <= set(types(ended)))
    script.expect("paying after that", "409 payment_not_payable", script.pay(order, "tok_success").words)
    script.expect_stock(item, 10, 0)


def refunds_by_hand(script: Script) -> None:
    item = script.product()
    order = script.ended(script.place(item, 3))
    place = f"/payments/{payment_id(order)}/refund"
    script.expect_answer("more than was paid", "422 refund_too_large", place, {"amount": "30.01"})
    script.expect_answer("a part", "202", place, {"amount": "10.00", "reason": "late"})
    payment = script.payment_when(order, lambda p: p["status"] == "PARTIALLY_REFUNDED", "a part is back")
    script.expect("payment", "PARTIALLY_REFUNDED, 10.00 of 30.00 refunded", money(payment))
    heard = script.order_when(order["id"], lambda o: o["refunded"] == "10.00", "the order knows of it")
    script.expect("order", "CONFIRMED", words(heard))
    script.expect_answer("more than is left", "422 refund_too_large", place, {"amount": "20.01"})
    script.expect_answer("the rest", "202", place)
    ended = script.order_when(order["id"], lambda o: o["settledAt"] is not None, "the order is cancelled")
    script.expect("order", "CANCELLED (refunded)", words(ended))
    script.expect("payment", "REFUNDED, 30.00 of 30.00 refunded", money(script.payment(order)))
    script.expect_answer("once more", "409 payment_not_refundable", place)
    script.expect("given back in", 2, count(ended, "PAYMENT_REFUNDED"))
    script.expect_stock(item, 10, 0)


FLOWS = (
    Flow(name="pay later: two declined cards, then a good one", play=pay_later),
    Flow(name="pay later: three declined cards", play=three_declines),
    Flow(name="pay later: one card at a time", play=one_at_a_time),
    Flow(name="refunds by hand", play=refunds_by_hand),
)
LONGEST_FLOWS = (Flow(name="an abandoned checkout", play=abandoned),)
