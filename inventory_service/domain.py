"""How stock is held, given back and taken off the shelf for good. Pure: no database, no broker, no clock.

Owns: the states of a holding, the transition table, counting of stock, the movements that explain it.
Must not know: anything outside the standard library.

A holding is what inventory knows of one order: whether stock is held for it, in which generation, and whether the
order is cancelled (the tombstone). Every event is decided in every state; repeats and latecomers change nothing.
A manual hold is a holding without an order: made and ended by requests alone, deaf to every saga, answering none.
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
    """What INVENTORY_RESERVED passes on for the payment, untouched by inventory."""

    user_id: str
    price: Decimal
    currency: str
    payment_mode: str
    payment_method: str | None


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
    next look at it: for the reminder that INVENTORY_RESERVED is, said once more, and then for its expiry.
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

    def items_moved_by(self, event: Happening) -> tuple[str, ...]:
        """Items of which deciding ``event`` may move units, so that their rows must be locked first."""
        if _rule(self, event) not in _MOVING:
            return ()
        match event:
            case OrderCreated(requires_approval=True) | OrderReturned(restock=False):
                return ()
            case OrderCreated() | OrderApproved() | OrderReturned() | HoldRequested():
                return tuple(line.item for line in event.lines)
        return tuple(line.item for line in self.lines)


# What happened


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
    refusal: Refusal | None = None


LATEST_REMINDER = timedelta(minutes=5)
"""Well before the order service gives up on an answer (PENDING_DEADLINE_S, 15 minutes)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How long a reservation is kept for a payment that is charged at once, and for a customer who pays by hand."""

    reservation_ttl: timedelta
    manual_payment_ttl: timedelta

    def ttl(self, terms: Terms) -> timedelta:
        return self.manual_payment_ttl if terms.payment_mode == "manual" else self.reservation_ttl

    def reminder_after(self, ttl: timedelta) -> timedelta:
        """Half of its life, but soon enough for an order that heard nothing and will not wait much longer."""
        return min(ttl / 2, LATEST_REMINDER)


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


def _refused(refusal: Refusal) -> Rule:
    return lambda holding, _event, _shelf, _now, _rules: Decision(holding=holding, refusal=refusal)


# Holding


def _reserve_unless_approval(
    holding: Holding, event: OrderCreated, shelf: Shelf, now: datetime, rules: Rules
) -> Decision:
    if event.requires_approval:
        return Decision(holding=holding)
    return _reserve(holding, event, shelf, now, rules)


def _reserve(
    holding: Holding, event: OrderCreated | OrderApproved, shelf: Shelf, now: datetime, rules: Rules
) -> Decision:
    """All lines or none. A cancelled order (its ORDER_CANCELLED came first) is never reserved."""
    if holding.cancelled:
        return Decision(holding=holding)
    ttl = rules.ttl(event.terms)
    asked = replace(holding, lines=event.lines, terms=event.terms)
    decision = _hold(asked, shelf)
    return _until(decision, now + ttl, wake_at=now + rules.reminder_after(ttl))


def _reserve_again(holding: Holding, _event: PaymentTaken, shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Paid after its reservation expired: held again if there still is enough, this time without expiry."""
    if holding.cancelled:
        return Decision(holding=holding)
    return _hold(holding, shelf, rejected_because="reservation_expired")


def _hold_manually(holding: Holding, event: HoldRequested, shelf: Shelf, now: datetime, rules: Rules) -> Decision:
    if holding.cancelled:
        return Decision(holding=holding, refusal=Refusal.FOREIGN)
    expires_at = now + (event.ttl or rules.reservation_ttl)
    decision = _hold(replace(holding, manual=True, lines=event.lines), shelf)
    return _until(decision, expires_at, wake_at=expires_at)


def _hold(holding: Holding, shelf: Shelf, *, rejected_because: str | None = None) -> Decision:
    """The next generation, without expiry; or none."""
    missing = shelf.missing(holding.lines)
    if missing is not None:
        answer = replace(missing, reason=rejected_because or missing.reason)
        return Decision(holding=replace(holding, status=HoldingStatus.REJECTED), answer=answer)
    held = replace(holding, status=HoldingStatus.HELD, generation=holding.generation + 1)
    movements = tuple(
        Movement(item=item, kind=MovementKind.RESERVED, delta_reserved=quantity)
        for item, quantity in _added_up(holding.lines).items()
    )
    return Decision(holding=held, answer=None if held.manual else Reserved(), movements=movements)


def _until(decision: Decision, expires_at: datetime, *, wake_at: datetime) -> Decision:
    if decision.holding.status is not HoldingStatus.HELD:
        return decision
    return replace(decision, holding=replace(decision.holding, expires_at=expires_at, wake_at=wake_at))


def _keep(holding: Holding, _event: PaymentTaken, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Paid: the reservation no longer expires."""
    return Decision(holding=replace(holding, expires_at=None, wake_at=None))


def _remind(holding: Holding, _event: ReminderDue, _shelf: Shelf, now: datetime, _rules: Rules) -> Decision:
    """Once: from then on only the expiry is waited for. A paid reservation waits for nothing."""
    if holding.wake_at is None or holding.wake_at > now or holding.wake_at == holding.expires_at:
        return Decision(holding=holding)
    return Decision(holding=replace(holding, wake_at=holding.expires_at), answer=ReservedStill())


# Giving back


def _give_back(holding: Holding, status: HoldingStatus, kind: MovementKind, reason: str) -> Decision:
    quantities = _added_up(holding.lines)
    given_back = tuple(Line(item=i, quantity=q) for i, q in quantities.items())
    return Decision(
        holding=replace(holding, status=status, expires_at=None, wake_at=None),
        answer=None if holding.manual else Refunded(reason=reason, lines=given_back),
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


def _release(holding: Holding, _event: ReleaseRequested, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    return _give_back(holding, HoldingStatus.RELEASED, MovementKind.RELEASED, "requested")


def _bury(holding: Holding, _event: OrderCancelled, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Nothing is held, and the order service must hear that nothing ever will be: it settles by this answer."""
    buried = replace(holding, cancelled=True, status=HoldingStatus.RELEASED)
    return Decision(holding=buried, answer=Refunded(reason="cancelled"))


def _bury_silently(holding: Holding, _event: OrderCancelled, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """The final answer was given before."""
    return Decision(holding=replace(holding, cancelled=True))


def _expire(holding: Holding, _event: ReservationExpired, _shelf: Shelf, now: datetime, _rules: Rules) -> Decision:
    if holding.expires_at is None or holding.expires_at > now:
        return Decision(holding=holding)
    return _give_back(holding, HoldingStatus.EXPIRED, MovementKind.EXPIRED, "expired")


# Leaving for good, and coming back


def _commit(
    holding: Holding, _event: OrderFulfilled | CommitRequested, _shelf: Shelf, _now: datetime, _rules: Rules
) -> Decision:
    return Decision(
        holding=replace(holding, status=HoldingStatus.COMMITTED, expires_at=None, wake_at=None),
        answer=None if holding.manual else Committed(),
        movements=tuple(
            Movement(item=item, kind=MovementKind.COMMITTED, delta_on_hand=-quantity, delta_reserved=-quantity)
            for item, quantity in _added_up(holding.lines).items()
        ),
    )


def _commit_expired(holding: Holding, event: OrderFulfilled, shelf: Shelf, now: datetime, rules: Rules) -> Decision:
    """Shipped before inventory heard of the payment: held again and committed in one, if there still is enough."""
    if holding.cancelled:
        return Decision(holding=holding)
    again = _hold(holding, shelf, rejected_because="reservation_expired")
    if again.holding.status is not HoldingStatus.HELD:
        return again
    committed = _commit(again.holding, event, shelf, now, rules)
    return replace(committed, movements=again.movements + committed.movements)


def _reject_shipped(holding: Holding, _event: OrderFulfilled, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Nothing is held for what is said to be shipped: the order must not stay between the two."""
    if holding.cancelled:
        return Decision(holding=holding)
    rejected = replace(holding, status=HoldingStatus.REJECTED)
    return Decision(holding=rejected, answer=Rejected(reason="reservation_expired"))


def _take_back(holding: Holding, event: OrderReturned, _shelf: Shelf, _now: datetime, _rules: Rules) -> Decision:
    """Each return once, and never more than was committed and has not come back yet."""
    if any(known.return_id == event.return_id for known in holding.returns):
        return Decision(holding=holding)
    came_back = _added_up(line for known in holding.returns for line in known.lines)
    committed, coming = _added_up(holding.lines), _added_up(event.lines)
    if any(came_back.get(item, 0) + quantity > committed.get(item, 0) for item, quantity in coming.items()):
        return Decision(holding=holding, refusal=Refusal.TOO_MUCH)
    lines = tuple(Line(item=item, quantity=quantity) for item, quantity in coming.items())
    returned = Return(return_id=event.return_id, lines=lines, restocked=event.restock)
    after = replace(holding, returns=(*holding.returns, returned))
    return _onto_the_shelf(after, lines) if event.restock else Decision(holding=after)


def _onto_the_shelf(holding: Holding, lines: tuple[Line, ...]) -> Decision:
    movements = (Movement(item=x.item, kind=MovementKind.RETURNED, delta_on_hand=x.quantity) for x in lines)
    return Decision(holding=holding, answer=Restocked(lines=lines), movements=tuple(movements))


_S = HoldingStatus
_ENDED, _EXISTS, _UNKNOWN = _refused(Refusal.ENDED), _refused(Refusal.EXISTS), _refused(Refusal.UNKNOWN)
TRANSITIONS: Mapping[tuple[HoldingStatus, type[Any]], Rule] = {
    (_S.OPEN, OrderCreated): _reserve_unless_approval,
    (_S.OPEN, OrderApproved): _reserve,
    (_S.OPEN, OrderCancelled): _bury,
    (_S.OPEN, OrderFulfilled): _reject_shipped,
    (_S.OPEN, OrderReturned): _nothing,
    (_S.OPEN, PaymentTaken): _nothing,
    (_S.OPEN, PaymentFailed): _nothing,
    (_S.OPEN, ReservationExpired): _nothing,
    (_S.OPEN, ReminderDue): _nothing,
    (_S.OPEN, HoldRequested): _hold_manually,
    (_S.OPEN, ReleaseRequested): _UNKNOWN,
    (_S.OPEN, CommitRequested): _UNKNOWN,
    (_S.HELD, OrderCreated): _nothing,
    (_S.HELD, OrderApproved): _nothing,
    (_S.HELD, OrderCancelled): _release_cancelled,
    (_S.HELD, OrderFulfilled): _commit,
    (_S.HELD, OrderReturned): _nothing,
    (_S.HELD, PaymentTaken): _keep,
    (_S.HELD, PaymentFailed): _release_unpaid,
    (_S.HELD, ReservationExpired): _expire,
    (_S.HELD, ReminderDue): _remind,
    (_S.HELD, HoldRequested): _EXISTS,
    (_S.HELD, ReleaseRequested): _release,
    (_S.HELD, CommitRequested): _commit,
    (_S.EXPIRED, OrderCreated): _nothing,
    (_S.EXPIRED, OrderApproved): _nothing,
    (_S.EXPIRED, OrderCancelled): _bury,
    (_S.EXPIRED, OrderFulfilled): _commit_expired,
    (_S.EXPIRED, OrderReturned): _nothing,
    (_S.EXPIRED, PaymentTaken): _reserve_again,
    (_S.EXPIRED, PaymentFailed): _nothing,
    (_S.EXPIRED, ReservationExpired): _nothing,
    (_S.EXPIRED, ReminderDue): _nothing,
    (_S.EXPIRED, HoldRequested): _EXISTS,
    (_S.EXPIRED, ReleaseRequested): _ENDED,
    (_S.EXPIRED, CommitRequested): _ENDED,
    (_S.RELEASED, OrderCreated): _nothing,
    (_S.RELEASED, OrderApproved): _nothing,
    (_S.RELEASED, OrderCancelled): _bury_silently,
    (_S.RELEASED, OrderFulfilled): _reject_shipped,
    (_S.RELEASED, OrderReturned): _nothing,
    (_S.RELEASED, PaymentTaken): _nothing,
    (_S.RELEASED, PaymentFailed): _nothing,
    (_S.RELEASED, ReservationExpired): _nothing,
    (_S.RELEASED, ReminderDue): _nothing,
    (_S.RELEASED, HoldRequested): _EXISTS,
    (_S.RELEASED, ReleaseRequested): _ENDED,
    (_S.RELEASED, CommitRequested): _ENDED,
    (_S.REJECTED, OrderCreated): _nothing,
    (_S.REJECTED, OrderApproved): _nothing,
    (_S.REJECTED, OrderCancelled): _bury_silently,
    (_S.REJECTED, OrderFulfilled): _nothing,
    (_S.REJECTED, OrderReturned): _nothing,
    (_S.REJECTED, PaymentTaken): _nothing,
    (_S.REJECTED, PaymentFailed): _nothing,
    (_S.REJECTED, ReservationExpired): _nothing,
    (_S.REJECTED, ReminderDue): _nothing,
    (_S.REJECTED, HoldRequested): _EXISTS,
    (_S.REJECTED, ReleaseRequested): _ENDED,
    (_S.REJECTED, CommitRequested): _ENDED,
    (_S.COMMITTED, OrderCreated): _nothing,
    (_S.COMMITTED, OrderApproved): _nothing,
    (_S.COMMITTED, OrderCancelled): _nothing,
    (_S.COMMITTED, OrderFulfilled): _nothing,
    (_S.COMMITTED, OrderReturned): _take_back,
    (_S.COMMITTED, PaymentTaken): _nothing,
    (_S.COMMITTED, PaymentFailed): _nothing,
    (_S.COMMITTED, ReservationExpired): _nothing,
    (_S.COMMITTED, ReminderDue): _nothing,
    (_S.COMMITTED, HoldRequested): _EXISTS,
    (_S.COMMITTED, ReleaseRequested): _ENDED,
    (_S.COMMITTED, CommitRequested): _ENDED,
}
"""Every pair is here; a test enumerates them. Source of the rules: the decided races of the contract.

Which of the two kinds of holding a happening may touch at all is decided before (:func:`_rule`).
"""

_MOVING = {
    _reserve_unless_approval,
    _reserve,
    _reserve_again,
    _hold_manually,
    _release_unpaid,
    _release_cancelled,
    _release,
    _expire,
    _commit,
    _commit_expired,
    _take_back,
}
_OF_SAGAS = frozenset(SagaEvent.__args__)
_OF_MANUAL_HOLDS = frozenset(HoldRequest.__args__)
_FOREIGN = _refused(Refusal.FOREIGN)


def _rule(holding: Holding, event: Happening) -> Rule:
    """No saga touches a manual hold, and no request an order's holding."""
    if holding.manual and type(event) in _OF_SAGAS:
        return _nothing
    if not holding.manual and holding.status is not HoldingStatus.OPEN and type(event) in _OF_MANUAL_HOLDS:
        return _FOREIGN
    return TRANSITIONS[holding.status, type(event)]


def decide(holding: Holding, event: Happening, shelf: Shelf, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``holding``; the shelf is changed accordingly."""
    decision = _rule(holding, event)(holding, event, shelf, now, rules)
    shelf.move(decision.movements)
    return decision


def totals(movements: Sequence[Movement]) -> dict[str, tuple[int, int]]:
    """Item → (delta on hand, delta reserved), added up; items without a change are left out."""
    added: dict[str, tuple[int, int]] = {}
    for movement in movements:
        on_hand, reserved = added.get(movement.item, (0, 0))
        added[movement.item] = (on_hand + movement.delta_on_hand, reserved + movement.delta_reserved)
    return {item: delta for item, delta in added.items() if delta != (0, 0)}
