"""What order, payment, ledger and the provider's book must agree on. Pure.

Owns: these differences. Must not know: stock, who is asked, whether an order is at rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from gateway.admin.reconcile.kinds import Discrepancy, Repair
from gateway.admin.reconcile.sides import (
    GIVE_BACK,
    PAID,
    PATIENCE_WITH_PROVIDER_S,
    SAY_PAYMENT,
    Side,
    Sides,
    say_order,
    void_charge,
)

_ENDED = (*PAID, "FAILED", "CANCELLED")
_NO_PAYMENT: Side = {
    "status": "NONE",
    "amount": "0",
    "currency": "",
    "refunded": "0",
    "refunding": "0",
    "isCancelled": False,
    "isCharging": False,
    "refunds": [],
}


def books_of(sides: Sides) -> Iterator[Discrepancy]:
    """What the payment service and the provider say of one payment, whatever the order is."""
    money = sides.money
    if money is None:
        return
    if not money["isBalanced"] or Decimal(money["receivable"]) != sides.kept:
        balance = "" if money["isBalanced"] else ", out of balance"
        yield _differs(sides, "ledger_differs", ledger=f"kept {money['receivable']}{balance}")
    carried_out = sum((Decimal(r["amount"]) for r in money["refunds"] if r["status"] == "SUCCEEDED"), Decimal(0))
    is_stuck = Decimal(money["refunding"]) > 0 and not money["openAttempts"]
    if carried_out != Decimal(money["refunded"]) or is_stuck:
        words = f"refunded {money['refunded']}, under way {money['refunding']}, refunds {carried_out}"
        yield _differs(sides, "refunds_differ", payment=words)
    if money["openForS"] >= PATIENCE_WITH_PROVIDER_S:
        yield _differs(sides, "attempt_unanswered", payment=f"an attempt is open for {money['openForS']:.0f} s")
    yield from _charges(sides, money)


def _charges(sides: Sides, money: Side) -> Iterator[Discrepancy]:
    """A payment that has ended otherwise may have a charge that succeeded all the same: it must not stand then."""
    is_paid, has_paid = money["status"] in PAID, False
    for charge in money["charges"]:
        booked = charge["booked"]
        stands = booked is not None and booked["status"] == "APPROVED"
        if is_paid and charge["status"] == "SUCCEEDED":
            has_paid = True
            if not stands or not _is_as_booked(charge, booked, money):
                yield _charge(sides, "provider_differs", charge)
        elif stands and Decimal(booked["amount"]) > Decimal(booked["refunded"]):
            is_ended = charge["status"] in ("FAILED", "TIMED_OUT", "SUCCEEDED")
            yield _charge(sides, "stray_charge", charge, void_charge(charge["key"]) if is_ended else None)
    if is_paid and not has_paid:
        yield _differs(sides, "provider_differs", payment=f"{money['status']}, but no charge of it succeeded")


def _is_as_booked(charge: Side, booked: Side, money: Side) -> bool:
    same_amount = (Decimal(booked["amount"]), booked["currency"]) == (Decimal(charge["amount"]), money["currency"])
    return same_amount and Decimal(booked["refunded"]) == Decimal(money["refunded"])


def _charge(sides: Sides, code: str, charge: Side, repair: Repair | None = None) -> Discrepancy:
    booked = charge["booked"]
    words = f"{booked['status']} {booked['amount']}, refunded {booked['refunded']}" if booked else "unknown"
    says = {"attempt": f"{charge['status']} {charge['amount']}", "provider": words}
    return _differs(sides, code, repair, charge["key"], **says)


def money_of(sides: Sides) -> Iterator[Discrepancy]:
    """Of an order that exists and is not under way any more."""
    order, money = sides.order or {}, sides.money or _NO_PAYMENT
    match order["status"]:
        case "CANCELLED" if sides.kept > 0:
            repair = GIVE_BACK if money["isCancelled"] else say_order("ORDER_CANCELLED")
            yield _differs(sides, "money_kept_for_cancelled", repair)
        case "CANCELLED" if not order["isSettled"] and order["money"] not in ("NOT_TAKEN", "RETURNED"):
            yield from _unanswered(sides, money)
        case "CONFIRMED" | "FULFILLED":
            yield from _paid(sides, order, money)
        case "PENDING" | "RESERVED" if money["status"] in _ENDED and not money["isCharging"]:
            yield _differs(sides, "money_answer_unheard", SAY_PAYMENT)
    yield from _refunds(sides, order, money)


def money_of_unknown(sides: Sides) -> Iterator[Discrepancy]:
    if sides.kept > 0:
        yield _differs(sides, "money_of_unknown_order", say_order("ORDER_CANCELLED"))


def _unanswered(sides: Sides, money: Side) -> Iterator[Discrepancy]:
    if money["isCharging"]:
        return
    if money["status"] in _ENDED:
        yield _differs(sides, "money_answer_unheard", SAY_PAYMENT)
    else:
        yield _differs(sides, "cancellation_unheard", say_order("ORDER_CANCELLED"))


def _paid(sides: Sides, order: Side, money: Side) -> Iterator[Discrepancy]:
    if money["status"] not in PAID:
        yield _differs(sides, "paid_without_money")
    elif (Decimal(money["amount"]), money["currency"]) != (Decimal(order["price"]), order["currency"]):
        yield _differs(sides, "price_differs")


def _refunds(sides: Sides, order: Side, money: Side) -> Iterator[Discrepancy]:
    refunds = {refund["id"]: refund["status"] for refund in money["refunds"]}
    heard, given = Decimal(order["refunded"]), Decimal(money["refunded"])
    told = [r for r in order["returns"] if r["status"] == "REQUESTED" and refunds.get(r["id"]) == "SUCCEEDED"]
    if heard < given or told:
        yield _differs(sides, "refund_unheard", SAY_PAYMENT)
    elif heard > given:
        yield _differs(sides, "refunds_differ")
    for returned in order["returns"]:
        if Decimal(returned["refundAmount"]) > 0 and returned["id"] not in refunds:
            repair = say_order("ORDER_RETURNED", returned["id"])
            yield _differs(sides, "return_not_refunded", repair, returned["id"])


def _differs(
    sides: Sides, code: str, repair: Repair | None = None, subject: str | None = None, **says: str
) -> Discrepancy:
    order, money = sides.order, sides.money
    told = {
        "order": _order_says(order) if order else "unknown",
        "payment": _payment_says(money) if money else "unknown",
    }
    return Discrepancy(code=code, order_id=sides.order_id, subject=subject, says={**told, **says}, repair=repair)


def _order_says(order: Side) -> str:
    words = f"{order['status']}, price {order['price']} {order['currency']}, money {order['money']}"
    return words if not Decimal(order["refunded"]) else f"{words}, heard of {order['refunded']} refunded"


def _payment_says(money: Side) -> str:
    words = f"{money['status']} {money['amount']} {money['currency']}".rstrip()
    return words if not Decimal(money["refunded"]) else f"{words}, refunded {money['refunded']}"
