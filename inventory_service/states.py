"""What a holding can be, and what moves when it changes. Pure, like domain.py, which changes it.

Owns: the words for holdings, their lines, terms and returns, and for movements of stock.
Must not know: anything outside the standard library; what may follow what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class HoldingStatus(StrEnum):
    """OPEN: nothing was asked yet. EXPIRED may be held again by a late payment. COMMITTED: gone for good, but for
    what is returned. RELEASED ends only as REJECTED, when an order ships all the same; REJECTED is final.
    """

    OPEN = "OPEN"
    HELD = "HELD"
    EXPIRED = "EXPIRED"
    RELEASED = "RELEASED"
    REJECTED = "REJECTED"
    COMMITTED = "COMMITTED"


class MovementKind(StrEnum):
    """Why units moved. Sums of movements always equal the stock row; reconciliation relies on it."""

    INITIAL = "initial"
    RESERVED = "reserved"
    RELEASED = "released"
    EXPIRED = "expired"
    COMMITTED = "committed"
    RETURNED = "returned"
    ADJUSTED = "adjusted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    item: str
    quantity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What INVENTORY_RESERVED passes on for the payment, untouched by inventory.

    ``seller_id`` is None where the order did not say whose goods they are.
    """

    user_id: str
    price: Decimal
    currency: str
    payment_mode: str
    payment_method: str | None
    seller_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Return:
    """Lines that came back from one shipment; ``restocked`` when they went onto the shelf again."""

    return_id: UUID
    lines: tuple[Line, ...]
    restocked: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """``order_id`` is the hold's own id where it is ``manual``.

    ``expires_at`` is None when nothing is held, or when what is held is paid for. ``wake_at`` is when the timer must
    next look at it: for the reminder (INVENTORY_RESERVED said once more), and then for its expiry.
    ``returns`` are known only where an ORDER_RETURNED is decided.
    """

    order_id: UUID
    status: HoldingStatus = HoldingStatus.OPEN
    generation: int = 0
    manual: bool = False
    cancelled: bool = False
    expires_at: datetime | None = None
    wake_at: datetime | None = None
    lines: tuple[Line, ...] = ()
    terms: Terms | None = None
    returns: tuple[Return, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """Units of one item moved for one order. ``delta_on_hand`` and ``delta_reserved`` are signed."""

    item: str
    kind: MovementKind
    delta_on_hand: int = 0
    delta_reserved: int = 0
