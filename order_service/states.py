"""What an order can be. Pure, like domain.py, which moves it.

Owns: the words for its status, its stock, its money, why it was cancelled and what an operator should look at.
Must not know: anything outside the standard library; what may follow what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class OrderStatus(StrEnum):
    PENDING = "PENDING"
    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    CANCELLED = "CANCELLED"


class Stock(StrEnum):
    """What the order service knows of its stock. LAPSED may be held again (late payment); the last two are final."""

    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    LAPSED = "LAPSED"
    FREE = "FREE"
    COMMITTED = "COMMITTED"


FINAL_STOCK = (Stock.FREE, Stock.COMMITTED)


class Money(StrEnum):
    """What the order service knows of the payment. NOT_TAKEN and RETURNED are final."""

    UNKNOWN = "UNKNOWN"
    AWAITED = "AWAITED"
    TAKEN = "TAKEN"
    NOT_TAKEN = "NOT_TAKEN"
    RETURNED = "RETURNED"


FINAL_MONEY = (Money.NOT_TAKEN, Money.RETURNED)

PSP_TIMEOUT = "psp_timeout"
"""The one reason of PAYMENT_FAILED that does not say that no money was taken."""


class CancelReason(StrEnum):
    CUSTOMER = "customer"
    SELLER = "seller"
    OUT_OF_STOCK = "out_of_stock"
    PAYMENT_FAILED = "payment_failed"
    RESERVATION_EXPIRED = "reservation_expired"
    TIMEOUT = "timeout"
    OPERATOR = "operator"
    REFUNDED = "refunded"
    UNKNOWN_ORDER = "unknown_order"


class Flag(StrEnum):
    """What an operator should look at. All but REFUND_FAILED say that a deadline passed and nothing came."""

    PENDING_OVERDUE = "pending_overdue"
    RESERVED_OVERDUE = "reserved_overdue"
    STOCK_MISSING = "stock_missing"
    FULFILMENT_UNFINISHED = "fulfilment_unfinished"
    COMPENSATION_UNFINISHED = "compensation_unfinished"
    REFUND_FAILED = "refund_failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The part of an order that happenings change.

    ``awaits_approval`` is only ever true of a PENDING order; ``approved_at`` stays for good. ``refunded`` is the
    greatest total heard of. ``deadline_at`` is what the order waits for at most, ``wake_at`` when the timer must look
    at it next (half of the deadline, then the deadline; None once that has been answered).
    """

    id: UUID
    status: OrderStatus
    price: Decimal
    reason: CancelReason | None = None
    stock: Stock = Stock.UNKNOWN
    stock_generation: int = 0
    money: Money = Money.UNKNOWN
    refunded: Decimal = Decimal(0)
    awaits_approval: bool = False
    approved_at: datetime | None = None
    fulfil_requested_at: datetime | None = None
    tracking: str | None = None
    flag: Flag | None = None
    flagged_at: datetime | None = None
    deadline_at: datetime | None = None
    wake_at: datetime | None = None
    settled_at: datetime | None = None

    @property
    def is_whole(self) -> bool:
        """All steps done, or all undone: nothing follows."""
        is_undone = self.status is OrderStatus.CANCELLED and self.settled_at is not None
        return self.status is OrderStatus.FULFILLED or is_undone

    @property
    def has_checked_out(self) -> bool:
        """Whether the customer knows what came of it: paid, or whole."""
        return self.status is OrderStatus.CONFIRMED or self.is_whole
