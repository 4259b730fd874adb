"""How stock is held for an order and given back. Pure: no database, no broker, no clock.

Owns: the states of a holding, the transition table, counting of stock, the movements that explain it.
Must not know: anything outside the standard library.

A holding is what inventory knows of one order: whether stock is held for it, in which generation, and whether the
order is cancelled (the tombstone). Every event is decided in every state; repeats and latecomers change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID


class HoldingStatus(StrEnum):
    """OPEN: nothing was asked yet. EXPIRED may be held again by a late payment; RELEASED and REJECTED are final."""

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
    ADJUSTED = "adjusted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    item: str
    quantity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What INVENTORY_RESERVED passes on for the payment, untouched by inventory."""

    user_id: str
    price: Decimal
    currency: str
    payment_mode: str
    payment_method: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """``expires_at`` is None when nothing is held, or when what is held is paid for."""

    order_id: UUID
    status: HoldingStatus = HoldingStatus.OPEN
    generation: int = 0
    cancelled: bool = False
    expires_at: datetime | None = None
    lines: tuple[Line, ...] = ()
    terms: Terms | None = None

    def can_move_stock(self, event: Happening) -> bool:
        """Whether deciding ``event`` may move units, so that their rows must be locked first."""
        return TRANSITIONS[self.status, type(event)] in _MOVING


# What happened


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCreated:
    order_id: UUID
    lines: tuple[Line, ...]
    terms: Terms


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentTaken:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentFailed:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservationExpired:
    order_id: UUID


Happening: TypeAlias = OrderCreated | OrderCancelled | PaymentTaken | PaymentFailed | ReservationExpired


# What follows


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserved:
    pass


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


Answer: TypeAlias = Reserved | Rejected | Refunded


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """Units of one item moved for one order. ``delta_on_hand`` and ``delta_reserved`` are signed."""

    item: str
    kind: MovementKind
    delta_on_hand: int = 0
    delta_reserved: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    holding: Holding
    answer: Answer | None = None
    movements: tuple[Movement, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How long a reservation is kept for a payment that is charged at once, and for a customer who pays by hand."""

    reservation_ttl: timedelta
    manual_payment_ttl: timedelta

    def expires_at(self, terms: Terms, now: datetime) -> datetime:
        return now + (self.manual_payment_ttl if terms.payment_mode == "manual" else self.reservation_ttl)


class Shelf:
    """Units available per item while a batch is decided: what one order takes, the next one cannot have.

    The rows behind it are locked, so what it says is true until the transaction ends.
    """

    def __init__(self, available: Mapping[str, int]) -> None:
        self._available = dict(available)

    def missing(self, lines: Iterable[Line]) -> Rejected | None:
        """Why these lines cannot all be had, or None."""
        wanted = _added_up(lines)
        unknown = tuple(sorted(item for item in wanted if item not in self._available))
        if unknown:
            return Rejected(reason="unknown_item", short=unknown)
        short = tuple(sorted(item for item, quantity in wanted.items() if self._available[item] < quantity))
        return Rejected(reason="out_of_stock", short=short) if short else None

    def move(self, movements: Iterable[Movement]) -> None:
        for movement in movements:
            if movement.item in self._available:
                self._available[movement.item] += movement.delta_on_hand - movement.delta_reserved


def _added_up(lines: Iterable[Line]) -> dict[str, int]:
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.item] = quantities.get(line.item, 0) + line.quantity
    return quantities


Rule: TypeAlias = Callable[[Holding, Any, Shelf, datetime, Rules], Decision]


def _nothing(holding: Holding, _event: Any, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    return Decision(holding=holding)


def _reserve(holding: Holding, event: OrderCreated, shelf: Shelf, now: datetime, rules: Rules) -> Decision:
    """All lines or none. A cancelled order (its ORDER_CANCELLED came first) is never reserved."""
    if holding.cancelled:
        return Decision(holding=holding)
    asked = replace(holding, lines=event.lines, terms=event.terms)
    return _hold(asked, shelf, expires_at=rules.expires_at(event.terms, now), rejected_because=None)


def _reserve_again(holding: Holding, _event: PaymentTaken, shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Paid after its reservation expired: held again if there still is enough, this time without expiry."""
    if holding.cancelled:
        return Decision(holding=holding)
    return _hold(holding, shelf, expires_at=None, rejected_because="reservation_expired")


def _hold(holding: Holding, shelf: Shelf, *, expires_at: datetime | None, rejected_because: str | None) -> Decision:
    missing = shelf.missing(holding.lines)
    if missing is not None:
        answer = replace(missing, reason=rejected_because or missing.reason)
        return Decision(holding=replace(holding, status=HoldingStatus.REJECTED), answer=answer)
    held = replace(holding, status=HoldingStatus.HELD, generation=holding.generation + 1, expires_at=expires_at)
    movements = tuple(
        Movement(item=item, kind=MovementKind.RESERVED, delta_reserved=quantity)
        for item, quantity in _added_up(holding.lines).items()
    )
    return Decision(holding=held, answer=Reserved(), movements=movements)


def _give_back(holding: Holding, status: HoldingStatus, kind: MovementKind, reason: str) -> Decision:
    quantities = _added_up(holding.lines)
    return Decision(
        holding=replace(holding, status=status, expires_at=None),
        answer=Refunded(reason=reason, lines=tuple(Line(item=i, quantity=q) for i, q in quantities.items())),
        movements=tuple(
            Movement(item=item, kind=kind, delta_reserved=-quantity) for item, quantity in quantities.items()
        ),
    )


def _release_unpaid(holding: Holding, _event: PaymentFailed, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    if holding.expires_at is None:
        # Paid already. One payment per order: this can only have been dispatched by hand, and must not free the stock.
        return Decision(holding=holding)
    return _give_back(holding, HoldingStatus.RELEASED, MovementKind.RELEASED, "payment_failed")


def _release_cancelled(
    holding: Holding, _event: OrderCancelled, _shelf: Shelf, _now: datetime, _rules: Rules
) -> Decision:
    tombstone = replace(holding, cancelled=True)
    return _give_back(tombstone, HoldingStatus.RELEASED, MovementKind.RELEASED, "cancelled")


def _bury(holding: Holding, _event: OrderCancelled, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Nothing is held, and the order service must hear that nothing ever will be: it settles by this answer."""
    buried = replace(holding, cancelled=True, status=HoldingStatus.RELEASED)
    return Decision(holding=buried, answer=Refunded(reason="cancelled"))


def _bury_silently(holding: Holding, _event: OrderCancelled, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """The final answer was given before."""
    return Decision(holding=replace(holding, cancelled=True))


def _keep(holding: Holding, _event: PaymentTaken, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Paid: the reservation no longer expires."""
    return Decision(holding=replace(holding, expires_at=None))


def _expire(holding: Holding, _event: ReservationExpired, _shelf: Shelf, now: datetime, _rules: Rules) -> Decision:
    if holding.expires_at is None or holding.expires_at > now:
        return Decision(holding=holding)
    return _give_back(holding, HoldingStatus.EXPIRED, MovementKind.EXPIRED, "expired")


_S = HoldingStatus
TRANSITIONS: Mapping[tuple[HoldingStatus, type[Any]], Rule] = {
    (_S.OPEN, OrderCreated): _reserve,
    (_S.OPEN, OrderCancelled): _bury,
    (_S.OPEN, PaymentTaken): _nothing,
    (_S.OPEN, PaymentFailed): _nothing,
    (_S.OPEN, ReservationExpired): _nothing,
    (_S.HELD, OrderCreated): _nothing,
    (_S.HELD, OrderCancelled): _release_cancelled,
    (_S.HELD, PaymentTaken): _keep,
    (_S.HELD, PaymentFailed): _release_unpaid,
    (_S.HELD, ReservationExpired): _expire,
    (_S.EXPIRED, OrderCreated): _nothing,
    (_S.EXPIRED, OrderCancelled): _bury,
    (_S.EXPIRED, PaymentTaken): _reserve_again,
    (_S.EXPIRED, PaymentFailed): _nothing,
    (_S.EXPIRED, ReservationExpired): _nothing,
    **{
        (status, happening): _bury_silently if happening is OrderCancelled else _nothing
        for status in (_S.RELEASED, _S.REJECTED, _S.COMMITTED)
        for happening in Happening.__args__
    },
}
"""Every pair is here; a test enumerates them. Source of the rules: the decided races of the contract."""


_MOVING = {_reserve, _reserve_again, _release_unpaid, _release_cancelled, _expire}


def decide(holding: Holding, event: Happening, shelf: Shelf, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``holding``; the shelf is changed accordingly."""
    decision = TRANSITIONS[holding.status, type(event)](holding, event, shelf, now, rules)
    shelf.move(decision.movements)
    return decision


def totals(movements: Sequence[Movement]) -> dict[str, tuple[int, int]]:
    """Item → (delta on hand, delta reserved), added up; items without a change are left out."""
    added: dict[str, tuple[int, int]] = {}
    for movement in movements:
        on_hand, reserved = added.get(movement.item, (0, 0))
        added[movement.item] = (on_hand + movement.delta_on_hand, reserved + movement.delta_reserved)
    return {item: delta for item, delta in added.items() if delta != (0, 0)}
