"""What happens to an order, in the order service's own words. Pure, like domain.py, which decides each of them.

Owns: what others told, what somebody asked for, what the clock said.
Must not know: anything outside the standard library; what follows from a happening.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from order_service.states import CancelReason

# What the other services told


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReserved:
    """``expires_at`` is None for a reservation that no longer expires, because it is paid."""

    order_id: UUID
    generation: int
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StockRejected:
    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReturned:
    order_id: UUID
    generation: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StockCommitted:
    """The units left the stock for good."""

    order_id: UUID
    generation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentAwaited:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentTaken:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentFailed:
    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentCancelled:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class MoneyReturned:
    """``refund_id`` is the id of the return that the refund is for, if it is for one."""

    order_id: UUID
    total_refunded: Decimal
    refund_id: UUID | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MoneyReturnFailed:
    order_id: UUID
    reason: str
    refund_id: UUID | None = None


# What somebody asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequested:
    """``by`` is customer, seller or operator, and becomes the order's reason."""

    order_id: UUID
    by: CancelReason


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalGiven:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalDeclined:
    """``by`` is seller or operator, and becomes the order's reason."""

    order_id: UUID
    by: CancelReason = CancelReason.SELLER


@dataclass(frozen=True, kw_only=True, slots=True)
class FulfilmentRequested:
    order_id: UUID
    tracking: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReturnRequested:
    """Whether goods may come back at all; which and how many is decided in returns.py."""

    order_id: UUID


# What the clock said


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfDeadlinePassed:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlinePassed:
    order_id: UUID


Told: TypeAlias = (
    StockReserved
    | StockRejected
    | StockReturned
    | StockCommitted
    | PaymentAwaited
    | PaymentTaken
    | PaymentFailed
    | PaymentCancelled
    | MoneyReturned
    | MoneyReturnFailed
)
Asked: TypeAlias = CancelRequested | ApprovalGiven | ApprovalDeclined | FulfilmentRequested | ReturnRequested
Happening: TypeAlias = Told | Asked | HalfDeadlinePassed | DeadlinePassed
