"""The rules by which money goes back. Pure.

Owns: how much may be refunded, and that this is never more than was taken, whoever asks and however many at once.
Must not know: anything outside the standard library.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from payment_service.ledger import given_back
from payment_service.terms import (
    Announcement,
    Decision,
    OrderCancelled,
    OrderReturned,
    Payment,
    PaymentStatus,
    RefundRefused,
    RefundRequested,
    RefundSucceeded,
    RefundUnanswered,
    Refusal,
    RefusedRefund,
    Rules,
    Work,
    WorkKind,
)

ORDER_CANCELLED, RETURNED = "order_cancelled", "returned"
NOTHING_LEFT, WRONG_CURRENCY, UNANSWERED = "nothing_left", "wrong_currency", "psp_unavailable"
_CANCELLATION_REFUNDS = UUID("5b1f4a0e-6f0c-5c57-8a39-2f9d1e7a40b2")


def cancellation_refund_id(order_id: UUID) -> UUID:
    """A cancellation refunds once: its id is known before it exists, and taken afterwards."""
    return uuid5(_CANCELLATION_REFUNDS, str(order_id))


def refund_rest(payment: Payment, _event: OrderCancelled, _now: datetime, _rules: Rules) -> Decision:
    """All that is not given back already or on its way back."""
    if payment.cancelled:
        return Decision(payment=payment)
    buried = replace(payment, cancelled=True)
    if not payment.refundable:
        return Decision(payment=buried)
    return _begin(buried, cancellation_refund_id(payment.order_id), payment.refundable, ORDER_CANCELLED)


def refund_return(payment: Payment, event: OrderReturned, _now: datetime, _rules: Rules) -> Decision:
    """As much of it as is left; where nothing is, that is said and kept."""
    if not event.amount or event.return_id in payment.known_refunds:
        return Decision(payment=payment)
    amount = min(event.amount, payment.refundable)
    if not amount:
        return _refuse_return(payment, event, NOTHING_LEFT)
    if event.currency != payment.currency:
        return _refuse_return(payment, event, WRONG_CURRENCY)
    return _begin(payment, event.return_id, amount, RETURNED)


def refund_requested(payment: Payment, event: RefundRequested, _now: datetime, _rules: Rules) -> Decision:
    """What was asked for, exactly, or nothing. Several refunds may be under way at once."""
    if event.refund_id in payment.known_refunds:
        return Decision(payment=payment)
    amount = payment.refundable if event.amount is None else event.amount
    if not 0 < amount <= payment.refundable:
        return Decision(payment=payment, refusal=Refusal.TOO_LARGE)
    return _begin(payment, event.refund_id, amount, event.reason)


def refuse_to_refund(payment: Payment, _event: RefundRequested, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment, refusal=Refusal.NOT_REFUNDABLE)


def refunded(payment: Payment, event: RefundSucceeded, _now: datetime, _rules: Rules) -> Decision:
    """What nobody is refunding was counted before."""
    if event.amount > payment.refunding:
        return Decision(payment=payment)
    total = payment.refunded + event.amount
    status = PaymentStatus.REFUNDED if total == payment.amount else PaymentStatus.PARTIALLY_REFUNDED
    fields = {
        "refund_id": event.refund_id,
        "amount": event.amount,
        "total_refunded": total,
        "reason": event.reason,
    }
    return Decision(
        payment=replace(payment, refunded=total, refunding=payment.refunding - event.amount, status=status),
        announcement=Announcement(event_type="PAYMENT_REFUNDED", fields=fields),
        entries=given_back(event.amount),
    )


def refund_refused(payment: Payment, event: RefundRefused, _now: datetime, _rules: Rules) -> Decision:
    """The money stays with us, and may be asked for again."""
    if event.amount > payment.refunding:
        return Decision(payment=payment)
    kept = replace(payment, refunding=payment.refunding - event.amount)
    return Decision(payment=kept, announcement=failed(event.refund_id, event.reason))


def refund_unanswered(payment: Payment, event: RefundUnanswered, _now: datetime, _rules: Rules) -> Decision:
    """It may have been paid: the amount stays under way, so that nobody can refund it once more."""
    return Decision(payment=payment, announcement=failed(event.refund_id, UNANSWERED))


def _begin(payment: Payment, refund_id: UUID, amount: Decimal, reason: str) -> Decision:
    begun = replace(payment, refunding=payment.refunding + amount, known_refunds=payment.known_refunds | {refund_id})
    return Decision(payment=begun, work=Work(kind=WorkKind.REFUND, amount=amount, id=refund_id, purpose=reason))


def _refuse_return(payment: Payment, event: OrderReturned, failure: str) -> Decision:
    return Decision(
        payment=replace(payment, known_refunds=payment.known_refunds | {event.return_id}),
        announcement=failed(event.return_id, failure),
        refused_refund=RefusedRefund(
            id=event.return_id, amount=event.amount, currency=event.currency, reason=RETURNED, failure=failure
        ),
    )


def failed(refund_id: UUID, reason: str) -> Announcement:
    """PAYMENT_REFUND_FAILED: an operator is needed."""
    return Announcement(event_type="PAYMENT_REFUND_FAILED", fields={"refund_id": refund_id, "reason": reason})
