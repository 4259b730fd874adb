"""What happens to a holding, and what is answered. Pure, like domain.py, which decides each of them.

Owns: what others told, what the clock said, what somebody asked for; answers and refusals.
Must not know: anything outside the standard library; what follows from a happening.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from inventory_service.states import Line, Terms


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCreated:
    """Where ``requires_approval`` is true, nothing is held until OrderApproved."""

    order_id: UUID
    lines: tuple[Line, ...]
    terms: Terms
    requires_approval: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderApproved:
    order_id: UUID
    lines: tuple[Line, ...]
    terms: Terms


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFulfilled:
    """Shipped, and so paid for, whether or not word of the payment has come."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderReturned:
    order_id: UUID
    return_id: UUID
    lines: tuple[Line, ...]
    restock: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentTaken:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentFailed:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservationExpired:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderDue:
    """Time to say once more that a reservation waits for its payment, should the first word be lost."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldRequested:
    """``ttl`` None: as long as an order's reservation."""

    order_id: UUID
    lines: tuple[Line, ...]
    ttl: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRequested:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitRequested:
    order_id: UUID


SagaEvent: TypeAlias = (
    OrderCreated | OrderApproved | OrderCancelled | OrderFulfilled | OrderReturned | PaymentTaken | PaymentFailed
)

HoldRequest: TypeAlias = HoldRequested | ReleaseRequested | CommitRequested

Happening: TypeAlias = SagaEvent | ReservationExpired | ReminderDue | HoldRequest


# What follows


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserved:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservedStill:
    """The Reserved of this generation once more, word for word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Restocked:
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """``short``: the items there is not enough of, or that do not exist."""

    reason: str
    short: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refunded:
    """``lines`` are what was given back by this; empty where nothing was held."""

    reason: str
    lines: tuple[Line, ...] = ()


Answer: TypeAlias = Reserved | ReservedStill | Rejected | Refunded | Committed | Restocked


class Refusal(StrEnum):
    """Why a happening cannot be done. It changed nothing, and whoever asked must hear of it."""

    UNKNOWN = "there is no such reservation"
    FOREIGN = "the reservation belongs to an order"
    EXISTS = "the reservation exists already"
    ENDED = "the reservation has ended"
    TOO_MUCH = "more than was committed and not returned yet"
