"""The words of a payment: what it is, what can happen to it, what can follow. Pure, and without any rule.

Owns: the values that domain.py and refunds.py decide on. Must not know: anything outside the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from payment_service.ledger import Entry

PSP_TIMEOUT = "psp_timeout"
"""Why a charge failed that the provider did not answer within its limit; no further attempt follows it."""
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


class PaymentMode(StrEnum):
    """AUTO is charged as soon as the stock is held; MANUAL waits for the customer, who has several attempts."""

    AUTO = "auto"
    MANUAL = "manual"


class WorkKind(StrEnum):
    """What the charger does at the provider. VOID undoes a charge that should not stand, or keeps it from happening."""

    CHARGE = "CHARGE"
    VOID = "VOID"
    REFUND = "REFUND"


@dataclass(frozen=True, kw_only=True, slots=True)
class Payment:
    """``attempts``: charges begun. ``charging``: one of them has no outcome yet. ``refunding``: refunds under way.

    ``stock_gone``: the stock was given back while a charge was under way. ``cancelled``: the order's tombstone.
    ``user_id`` pays and ``seller_id`` sold, as far as the reservation said so.
    ``known_refunds``: of the refunds that are spoken of just now, those that exist already.
    """

    order_id: UUID
    status: PaymentStatus = PaymentStatus.NONE
    mode: PaymentMode = PaymentMode.AUTO
    amount: Decimal = Decimal(0)
    currency: str = ""
    payment_method: str | None = None
    user_id: str | None = None
    seller_id: str | None = None
    expires_at: datetime | None = None
    attempts: int = 0
    charging: bool = False
    stock_gone: bool = False
    cancelled: bool = False
    psp_reference: str | None = None
    refunded: Decimal = Decimal(0)
    refunding: Decimal = Decimal(0)
    known_refunds: frozenset[UUID] = frozenset()

    @property
    def refundable(self) -> Decimal:
        """What was taken, less what went back or is on its way back."""
        if self.status in {PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED}:
            return self.amount - self.refunded - self.refunding
        return Decimal(0)


# What happened, and what is asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReserved:
    order_id: UUID
    amount: Decimal
    currency: str
    payment_mode: PaymentMode
    payment_method: str | None
    user_id: str | None
    expires_at: datetime | None
    seller_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReturned:
    """The reservation has ended without the goods being shipped."""

    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderReturned:
    """Goods came back after they were shipped. ``amount`` may be 0."""

    order_id: UUID
    return_id: UUID
    amount: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRequested:
    """The customer pays, with the instrument behind ``token``."""

    order_id: UUID
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundRequested:
    """``amount`` None: all that is left."""

    order_id: UUID
    refund_id: UUID
    amount: Decimal | None
    reason: str


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
    """The charge that was under way does not stand, and never will."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class StrayCharge:
    """The provider made a charge of an attempt that had ended without one; it is not the one under way."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundSucceeded:
    order_id: UUID
    refund_id: UUID
    amount: Decimal
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundRefused:
    """The provider will not give this money back; ``reason`` is its own."""

    order_id: UUID
    refund_id: UUID
    amount: Decimal
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundUnanswered:
    """After many tries nobody knows whether the provider gave the money back; it is asked on and on."""

    order_id: UUID
    refund_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoingUnanswered:
    """After many tries nobody knows whether a charge that must not stand is undone; it is tried on and on."""

    order_id: UUID
    attempt_id: UUID


Happening: TypeAlias = (
    StockReserved
    | StockReturned
    | OrderCancelled
    | OrderReturned
    | ConfirmRequested
    | RefundRequested
    | ChargeSucceeded
    | ChargeDeclined
    | ChargeTimedOut
    | ChargeVoided
    | StrayCharge
    | RefundSucceeded
    | RefundRefused
    | RefundUnanswered
    | UndoingUnanswered
)


# What follows


class Refusal(StrEnum):
    """Why a request changes nothing."""

    NOT_PAYABLE = "not_payable"
    EXPIRED = "expired"
    IN_PROGRESS = "in_progress"
    NOT_REFUNDABLE = "not_refundable"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """An event to publish, with the fields that the payment itself does not hold."""

    event_type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Something to do at the provider. ``id`` is given for refunds; ``purpose`` says what it is for."""

    kind: WorkKind
    amount: Decimal
    id: UUID | None = None
    purpose: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRefund:
    """A refund that was never begun, kept for the record and so that it is refused only once."""

    id: UUID
    amount: Decimal
    currency: str
    reason: str
    failure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The payment as it is now, and what else follows; a ``refusal`` leaves everything as it was."""

    payment: Payment
    announcement: Announcement | None = None
    work: Work | None = None
    entries: tuple[Entry, ...] = ()
    refused_refund: RefusedRefund | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """``psp_limit``: how long the provider may take to answer a charge. ``most_attempts``: of a waiting customer."""

    psp_limit: timedelta
    safety_margin: timedelta = timedelta(seconds=5)
    most_attempts: int = 3

    def may_start_charge(self, expires_at: datetime | None, now: datetime) -> bool:
        """Only if it can end before the reservation does; a paid reservation does not expire."""
        return expires_at is None or now + self.psp_limit + self.safety_margin < expires_at
