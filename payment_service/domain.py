"""How a payment moves. Pure: no database, no broker, no payment provider, no clock.

Owns: the transition table and the rules of charging; what money goes back stands in refunds.py.
Must not know: anything outside the standard library.

One payment per order, ever, and one charge of it at a time, each with a key of its own that is never replaced; a
success that nobody wants any more is undone. Every event is decided in every state; repeats and latecomers change
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from payment_service import refunds
from payment_service.ledger import Entry, captured
from payment_service.terms import (
    PSP_TIMEOUT,
    Announcement,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    ConfirmRequested,
    Decision,
    Happening,
    OrderCancelled,
    OrderReturned,
    Payment,
    PaymentMode,
    PaymentStatus,
    RefundRefused,
    RefundRequested,
    RefundSucceeded,
    RefundUnanswered,
    Refusal,
    RefusedRefund,
    Rules,
    StockReserved,
    StockReturned,
    StrayCharge,
    UndoingUnanswered,
    Work,
    WorkKind,
    payment_id,
)

__all__ = [
    "PSP_TIMEOUT",
    "STRAY",
    "TRANSITIONS",
    "Announcement",
    "ChargeDeclined",
    "ChargeSucceeded",
    "ChargeTimedOut",
    "ChargeVoided",
    "ConfirmRequested",
    "Decision",
    "Entry",
    "Happening",
    "OrderCancelled",
    "OrderReturned",
    "Payment",
    "PaymentMode",
    "PaymentStatus",
    "RefundRefused",
    "RefundRequested",
    "RefundSucceeded",
    "RefundUnanswered",
    "Refusal",
    "RefusedRefund",
    "Rules",
    "StockReserved",
    "StockReturned",
    "StrayCharge",
    "UndoingUnanswered",
    "Work",
    "WorkKind",
    "decide",
    "payment_id",
]

STRAY, UNWANTED, TIMED_OUT = "stray", "unwanted", "timed_out"
"""What a VOID is for. A stray one says nothing about the charge that is under way."""

Rule: TypeAlias = Callable[[Payment, Any, datetime, Rules], Decision]


def _nothing(payment: Payment, _event: Any, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment)


def _open(payment: Payment, event: StockReserved, now: datetime, rules: Rules) -> Decision:
    """Charge now, wait for the customer, or give up because there is no time left. Never for a cancelled order."""
    if payment.cancelled:
        return Decision(payment=payment)
    opened = replace(
        payment,
        status=PaymentStatus.PENDING,
        mode=event.payment_mode,
        amount=event.amount,
        currency=event.currency,
        payment_method=event.payment_method,
        user_id=event.user_id,
        seller_id=event.seller_id,
        expires_at=event.expires_at,
    )
    if event.payment_mode is PaymentMode.MANUAL:
        waits = Announcement(event_type="PAYMENT_PENDING", fields={"expires_at": event.expires_at})
        return Decision(payment=opened, announcement=waits)
    if not rules.may_start_charge(event.expires_at, now):
        return _fail(opened, "reservation_expired")
    return _charge(opened)


def _charge(payment: Payment) -> Decision:
    return Decision(
        payment=replace(payment, charging=True, attempts=payment.attempts + 1),
        work=Work(kind=WorkKind.CHARGE, amount=payment.amount),
    )


def _confirm(payment: Payment, event: ConfirmRequested, now: datetime, rules: Rules) -> Decision:
    """The customer's next attempt: one at a time, and only while it can end before the reservation does."""
    if payment.mode is not PaymentMode.MANUAL or payment.cancelled:
        return Decision(payment=payment, refusal=Refusal.NOT_PAYABLE)
    if payment.charging:
        return Decision(payment=payment, refusal=Refusal.IN_PROGRESS)
    if payment.attempts >= rules.most_attempts:
        return Decision(payment=payment, refusal=Refusal.NOT_PAYABLE)
    if not rules.may_start_charge(payment.expires_at, now):
        return Decision(payment=payment, refusal=Refusal.EXPIRED)
    return _charge(replace(payment, payment_method=event.token))


def _refuse_to_charge(payment: Payment, _event: ConfirmRequested, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment, refusal=Refusal.NOT_PAYABLE)


def _fail(payment: Payment, reason: str, work: Work | None = None) -> Decision:
    failed = replace(payment, status=PaymentStatus.FAILED, charging=False)
    announcement = Announcement(event_type="PAYMENT_FAILED", fields={"reason": reason})
    return Decision(payment=failed, announcement=announcement, work=work)


def _void(payment: Payment, purpose: str) -> Work:
    return Work(kind=WorkKind.VOID, amount=payment.amount, purpose=purpose)


def _cancelled(payment: Payment) -> Decision:
    return Decision(payment=payment, announcement=Announcement(event_type="PAYMENT_CANCELLED", fields={}))


def _bury(payment: Payment, _event: OrderCancelled, _now: datetime, _rules: Rules) -> Decision:
    """The tombstone. The order service settles by this answer, even where no payment ever existed."""
    return _cancelled(replace(payment, cancelled=True, status=PaymentStatus.CANCELLED))


def _cancel_pending(payment: Payment, event: OrderCancelled, now: datetime, rules: Rules) -> Decision:
    """While a charge is under way nothing can be promised: its outcome, or the void of it, will answer."""
    if payment.charging:
        return Decision(payment=replace(payment, cancelled=True, status=PaymentStatus.CANCELLED))
    return _bury(payment, event, now, rules)


def _cancel_intent(payment: Payment, _event: StockReturned, _now: datetime, _rules: Rules) -> Decision:
    """Uncharged intents only; INVENTORY_REFUNDED never refunds. What is under way may still succeed, but only once."""
    if payment.charging:
        return Decision(payment=replace(payment, stock_gone=True))
    return _cancelled(replace(payment, status=PaymentStatus.CANCELLED))


def _bury_silently(payment: Payment, _event: OrderCancelled, _now: datetime, _rules: Rules) -> Decision:
    """The final answer was given before, or is on its way."""
    return Decision(payment=replace(payment, cancelled=True))


def _succeed(payment: Payment, event: ChargeSucceeded, now: datetime, rules: Rules) -> Decision:
    if not payment.charging:
        return _void_unwanted(payment, event, now, rules)
    paid = replace(payment, status=PaymentStatus.SUCCEEDED, charging=False, psp_reference=event.psp_reference)
    return Decision(
        payment=paid,
        announcement=Announcement(event_type="PAYMENT_SUCCESS", fields={"psp_reference": event.psp_reference}),
        entries=captured(payment.amount),
    )


def _void_unwanted(payment: Payment, _event: ChargeSucceeded, _now: datetime, _rules: Rules) -> Decision:
    """Charged, but failed or cancelled meanwhile: undone, and no PAYMENT_SUCCESS is ever said."""
    return Decision(payment=payment, work=_void(payment, UNWANTED))


def _void_stray(payment: Payment, _event: StrayCharge, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment, work=_void(payment, STRAY))


def _decline(payment: Payment, event: ChargeDeclined, _now: datetime, rules: Rules) -> Decision:
    """A waiting customer may try again, unless this was the last attempt or nothing is held any more."""
    if not payment.charging:
        return Decision(payment=payment)
    is_last = payment.attempts >= rules.most_attempts or payment.stock_gone
    if payment.mode is PaymentMode.MANUAL and not is_last:
        return Decision(payment=replace(payment, charging=False))
    return _fail(payment, event.reason)


def _never_charged(payment: Payment, _event: Any, _now: datetime, _rules: Rules) -> Decision:
    """Given up while its charge was under way; now it is certain that no money was taken."""
    if not payment.charging:
        return Decision(payment=payment)
    return _cancelled(replace(payment, charging=False))


def _voided(payment: Payment, _event: ChargeVoided, _now: datetime, _rules: Rules) -> Decision:
    """A charge that timed out is undone: only now is it certain that no money is gone."""
    if not payment.charging:
        return Decision(payment=payment)
    return _cancelled(replace(payment, charging=False))


def _undoing_unanswered(payment: Payment, event: UndoingUnanswered, _now: datetime, _rules: Rules) -> Decision:
    """A void is tried until it is confirmed, but an operator should know that it is not."""
    return Decision(payment=payment, announcement=refunds.failed(event.attempt_id, refunds.UNANSWERED))


def _time_out(payment: Payment, _event: ChargeTimedOut, _now: datetime, _rules: Rules) -> Decision:
    """Also where the customer could try again: nobody knows yet whether this attempt took the money.

    PAYMENT_FAILED undoes the order at once; only the void's end, PAYMENT_CANCELLED, says that no money is gone.
    """
    if not payment.charging:
        return Decision(payment=payment)
    failed = _fail(payment, PSP_TIMEOUT, work=_void(payment, TIMED_OUT))
    return replace(failed, payment=replace(failed.payment, charging=True))


def _void_timed_out(payment: Payment, _event: ChargeTimedOut, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment, work=_void(payment, TIMED_OUT))


_S = PaymentStatus
_CHARGE_OUTCOMES = (ChargeSucceeded, ChargeDeclined, ChargeTimedOut, ChargeVoided)
_REFUND_OUTCOMES = (RefundSucceeded, RefundRefused, RefundUnanswered)
# A return of stock overtook its reservation (whose own expiry is checked), or an outcome belongs to no payment.
_BEFORE_ANY_PAYMENT = (StockReturned, *_CHARGE_OUTCOMES, *_REFUND_OUTCOMES)
_WHILE_MONEY_IS_HERE: Mapping[type[Any], Rule] = {
    OrderCancelled: refunds.refund_rest,
    RefundRequested: refunds.refund_requested,
    RefundSucceeded: refunds.refunded,
    RefundRefused: refunds.refund_refused,
    RefundUnanswered: refunds.refund_unanswered,
}
_NOT_SO_HERE = tuple(status for status in _S if status not in {_S.SUCCEEDED, _S.PARTIALLY_REFUNDED})
_GIVEN_UP = (_S.FAILED, _S.CANCELLED)
TRANSITIONS: Mapping[tuple[PaymentStatus, type[Any]], Rule] = {
    (_S.NONE, StockReserved): _open,
    (_S.NONE, OrderCancelled): _bury,
    (_S.PENDING, StockReturned): _cancel_intent,
    (_S.PENDING, OrderCancelled): _cancel_pending,
    (_S.PENDING, ConfirmRequested): _confirm,
    (_S.PENDING, ChargeSucceeded): _succeed,
    (_S.PENDING, ChargeDeclined): _decline,
    (_S.PENDING, ChargeTimedOut): _time_out,
    **{(_S.SUCCEEDED, happening): rule for happening, rule in _WHILE_MONEY_IS_HERE.items()},
    **{(_S.PARTIALLY_REFUNDED, happening): rule for happening, rule in _WHILE_MONEY_IS_HERE.items()},
    (_S.FAILED, OrderCancelled): _bury_silently,
    (_S.FAILED, ChargeSucceeded): _void_unwanted,
    (_S.FAILED, ChargeVoided): _voided,
    (_S.CANCELLED, OrderCancelled): _bury_silently,
    (_S.CANCELLED, ChargeSucceeded): _void_unwanted,
    (_S.CANCELLED, ChargeDeclined): _never_charged,
    (_S.CANCELLED, ChargeTimedOut): _void_timed_out,
    (_S.CANCELLED, ChargeVoided): _never_charged,
    (_S.REFUNDED, OrderCancelled): _bury_silently,
    **{(status, UndoingUnanswered): _undoing_unanswered if status in _GIVEN_UP else _nothing for status in _S},
    # In every state: nothing left is an answer too, and a stray charge is never ours to keep.
    **{(status, OrderReturned): refunds.refund_return for status in _S},
    **{(status, StrayCharge): _void_stray for status in _S},
    **{(status, RefundRequested): refunds.refuse_to_refund for status in _NOT_SO_HERE},
    **{(status, ConfirmRequested): _refuse_to_charge for status in _S if status is not _S.PENDING},
    **{(_S.NONE, happening): _nothing for happening in _BEFORE_ANY_PAYMENT},
    **{(_S.PENDING, happening): _nothing for happening in (StockReserved, ChargeVoided, *_REFUND_OUTCOMES)},
    **{(_S.SUCCEEDED, happening): _nothing for happening in (StockReserved, StockReturned, *_CHARGE_OUTCOMES)},
    **{(_S.PARTIALLY_REFUNDED, happening): _nothing for happening in (StockReserved, StockReturned, *_CHARGE_OUTCOMES)},
    **{
        (_S.FAILED, happening): _nothing
        for happening in (
            StockReserved,
            StockReturned,
            ChargeDeclined,
            ChargeTimedOut,
            *_REFUND_OUTCOMES,
        )
    },
    **{(_S.CANCELLED, happening): _nothing for happening in (StockReserved, StockReturned, *_REFUND_OUTCOMES)},
    **{
        (_S.REFUNDED, happening): _nothing
        for happening in (StockReserved, StockReturned, *_CHARGE_OUTCOMES, *_REFUND_OUTCOMES)
    },
}
"""Every pair is here by name; a test enumerates them. What does nothing is a repeat, or came too late to matter.
Source: the flows and decided races of the contract."""


def decide(payment: Payment, event: Happening, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``payment``. Applying it twice changes nothing the second time."""
    return TRANSITIONS[payment.status, type(event)](payment, event, now, rules)
