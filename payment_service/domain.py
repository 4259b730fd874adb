"""How a payment moves. Pure: no database, no broker, no payment provider, no clock.

Owns: the states of a payment, the transition table, what is owed to the provider, the ledger's entries.
Must not know: anything outside the standard library.

One payment per order, ever. A charge is never repeated with another key; a success that nobody wants any more is
undone. Every event is decided in every state; repeats and latecomers change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID, uuid5

_PAYMENT_IDS = UUID("3d0c8d1e-52a7-5f63-9a54-5b8f0f3c1c55")


def payment_id(order_id: UUID) -> UUID:
    """The one payment an order can ever have, known before it exists."""
    return uuid5(_PAYMENT_IDS, str(order_id))


class PaymentStatus(StrEnum):
    """NONE: nothing was asked yet. The others are the contract's."""

    NONE = "NONE"
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"


class WorkKind(StrEnum):
    """What the charger does at the provider. VOID undoes a charge that should not stand, or keeps it from happening."""

    CHARGE = "CHARGE"
    VOID = "VOID"
    REFUND = "REFUND"


@dataclass(frozen=True, kw_only=True, slots=True)
class Payment:
    """``charging``: a charge was begun whose outcome is not recorded yet. ``cancelled``: the order's tombstone."""

    order_id: UUID
    status: PaymentStatus = PaymentStatus.NONE
    amount: Decimal = Decimal(0)
    currency: str = ""
    payment_method: str | None = None
    charging: bool = False
    cancelled: bool = False
    psp_reference: str | None = None
    refunded: Decimal = Decimal(0)


# What happened


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReserved:
    order_id: UUID
    amount: Decimal
    currency: str
    payment_mode: str
    payment_method: str | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReturned:
    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ChargeSucceeded:
    order_id: UUID
    psp_reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChargeDeclined:
    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChargeTimedOut:
    """The provider's limit passed without an outcome."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ChargeVoided:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundSucceeded:
    order_id: UUID
    amount: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundRefused:
    order_id: UUID
    reason: str


Happening: TypeAlias = (
    StockReserved
    | StockReturned
    | OrderCancelled
    | ChargeSucceeded
    | ChargeDeclined
    | ChargeTimedOut
    | ChargeVoided
    | RefundSucceeded
    | RefundRefused
)


# What follows


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """An event to publish, with the fields that the payment itself does not hold."""

    event_type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the ledger; the lines of one decision add up to nothing."""

    account: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    payment: Payment
    announcement: Announcement | None = None
    work: WorkKind | None = None
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """``psp_limit``: how long the provider may take to answer a charge."""

    psp_limit: timedelta
    safety_margin: timedelta = timedelta(seconds=5)

    def may_start_charge(self, expires_at: datetime | None, now: datetime) -> bool:
        """Only if it can end before the reservation does; a paid reservation does not expire."""
        return expires_at is None or now + self.psp_limit + self.safety_margin < expires_at


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
        amount=event.amount,
        currency=event.currency,
        payment_method=event.payment_method,
    )
    if event.payment_mode == "manual":
        waits = Announcement(event_type="PAYMENT_PENDING", fields={"expires_at": event.expires_at})
        return Decision(payment=opened, announcement=waits)
    if not rules.may_start_charge(event.expires_at, now):
        return _fail(opened, "reservation_expired")
    return Decision(payment=replace(opened, charging=True), work=WorkKind.CHARGE)


def _fail(payment: Payment, reason: str, work: WorkKind | None = None) -> Decision:
    failed = replace(payment, status=PaymentStatus.FAILED, charging=False)
    announcement = Announcement(event_type="PAYMENT_FAILED", fields={"reason": reason})
    return Decision(payment=failed, announcement=announcement, work=work)


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
    """Uncharged intents only; INVENTORY_REFUNDED never refunds."""
    if payment.charging:
        return Decision(payment=payment)
    return _cancelled(replace(payment, status=PaymentStatus.CANCELLED))


def _bury_silently(payment: Payment, _event: OrderCancelled, _now: datetime, _rules: Rules) -> Decision:
    """The final answer was given before, or is on its way."""
    return Decision(payment=replace(payment, cancelled=True))


def _refund_all(payment: Payment, _event: OrderCancelled, _now: datetime, _rules: Rules) -> Decision:
    if payment.cancelled:
        return Decision(payment=payment)
    return Decision(payment=replace(payment, cancelled=True), work=WorkKind.REFUND)


def _succeed(payment: Payment, event: ChargeSucceeded, _now: datetime, _rules: Rules) -> Decision:
    paid = replace(payment, status=PaymentStatus.SUCCEEDED, charging=False, psp_reference=event.psp_reference)
    return Decision(
        payment=paid,
        announcement=Announcement(event_type="PAYMENT_SUCCESS", fields={"psp_reference": event.psp_reference}),
        entries=_captured(payment.amount),
    )


def _void_unwanted(payment: Payment, _event: ChargeSucceeded, _now: datetime, _rules: Rules) -> Decision:
    """Charged, but failed or cancelled meanwhile: undone, and no PAYMENT_SUCCESS is ever said."""
    return Decision(payment=payment, work=WorkKind.VOID)


def _decline(payment: Payment, event: ChargeDeclined, _now: datetime, _rules: Rules) -> Decision:
    return _fail(payment, event.reason)


def _never_charged(payment: Payment, _event: Any, _now: datetime, _rules: Rules) -> Decision:
    """The order was cancelled while this charge was under way; now it is certain that no money was taken."""
    if not payment.charging:
        return Decision(payment=payment)
    return _cancelled(replace(payment, charging=False))


def _time_out(payment: Payment, _event: ChargeTimedOut, _now: datetime, _rules: Rules) -> Decision:
    return _fail(payment, "psp_timeout", work=WorkKind.VOID)


def _void_timed_out(payment: Payment, _event: ChargeTimedOut, _now: datetime, _rules: Rules) -> Decision:
    return Decision(payment=payment, work=WorkKind.VOID)


def _refunded(payment: Payment, event: RefundSucceeded, _now: datetime, _rules: Rules) -> Decision:
    total = min(payment.refunded + event.amount, payment.amount)
    status = PaymentStatus.REFUNDED if total == payment.amount else PaymentStatus.PARTIALLY_REFUNDED
    return Decision(
        payment=replace(payment, refunded=total, status=status),
        announcement=Announcement(
            event_type="PAYMENT_REFUNDED", fields={"amount": event.amount, "total_refunded": total}
        ),
        entries=_returned(event.amount),
    )


def _refund_refused(payment: Payment, event: RefundRefused, _now: datetime, _rules: Rules) -> Decision:
    announcement = Announcement(event_type="PAYMENT_REFUND_FAILED", fields={"reason": event.reason})
    return Decision(payment=payment, announcement=announcement)


def _captured(amount: Decimal) -> tuple[Entry, ...]:
    return (Entry(account="psp_receivable", amount=amount), Entry(account="customer_payments", amount=-amount))


def _returned(amount: Decimal) -> tuple[Entry, ...]:
    return (Entry(account="customer_payments", amount=amount), Entry(account="psp_receivable", amount=-amount))


_S = PaymentStatus
_CHARGE_OUTCOMES = (ChargeSucceeded, ChargeDeclined, ChargeTimedOut, ChargeVoided)
_REFUND_OUTCOMES = (RefundSucceeded, RefundRefused)
# A return of stock overtook its reservation (whose own expiry is checked), or an outcome belongs to no payment.
_BEFORE_ANY_PAYMENT = (StockReturned, *_CHARGE_OUTCOMES, *_REFUND_OUTCOMES)
TRANSITIONS: Mapping[tuple[PaymentStatus, type[Any]], Rule] = {
    (_S.NONE, StockReserved): _open,
    (_S.NONE, OrderCancelled): _bury,
    (_S.PENDING, StockReturned): _cancel_intent,
    (_S.PENDING, OrderCancelled): _cancel_pending,
    (_S.PENDING, ChargeSucceeded): _succeed,
    (_S.PENDING, ChargeDeclined): _decline,
    (_S.PENDING, ChargeTimedOut): _time_out,
    (_S.SUCCEEDED, OrderCancelled): _refund_all,
    (_S.SUCCEEDED, RefundSucceeded): _refunded,
    (_S.SUCCEEDED, RefundRefused): _refund_refused,
    (_S.PARTIALLY_REFUNDED, OrderCancelled): _refund_all,
    (_S.PARTIALLY_REFUNDED, RefundSucceeded): _refunded,
    (_S.PARTIALLY_REFUNDED, RefundRefused): _refund_refused,
    (_S.FAILED, OrderCancelled): _bury_silently,
    (_S.FAILED, ChargeSucceeded): _void_unwanted,
    (_S.CANCELLED, OrderCancelled): _bury_silently,
    (_S.CANCELLED, ChargeSucceeded): _void_unwanted,
    (_S.CANCELLED, ChargeDeclined): _never_charged,
    (_S.CANCELLED, ChargeTimedOut): _void_timed_out,
    (_S.CANCELLED, ChargeVoided): _never_charged,
    (_S.REFUNDED, OrderCancelled): _bury_silently,
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
            ChargeVoided,
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
