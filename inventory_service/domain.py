"""How stock is held, given back and taken off the shelf for good. Pure: no database, no broker, no clock.

Owns: the transition table, and what is held, given back and moved by each rule. The words stand in states.py and
happenings.py, counting in shelf.py.
Must not know: anything outside the standard library.

A holding is what inventory knows of one order: whether stock is held for it, in which generation, and whether the
order is cancelled (the tombstone). Every event is decided in every state; repeats and latecomers change nothing.
A manual hold is a holding without an order: made and ended by requests alone, deaf to every saga, answering none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from inventory_service.happenings import (
    Answer,
    CommitRequested,
    Committed,
    Happening,
    HoldRequest,
    HoldRequested,
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderFulfilled,
    OrderReturned,
    PaymentFailed,
    PaymentTaken,
    Refunded,
    Refusal,
    Rejected,
    ReleaseRequested,
    ReminderDue,
    ReservationExpired,
    Reserved,
    ReservedStill,
    Restocked,
    SagaEvent,
)
from inventory_service.shelf import Shelf, added_up
from inventory_service.shelf import totals as totals
from inventory_service.states import Holding, HoldingStatus, Line, Movement, MovementKind, Return, Terms


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
        for item, quantity in added_up(holding.lines).items()
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
    quantities = added_up(holding.lines)
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
            for item, quantity in added_up(holding.lines).items()
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
    came_back = added_up(line for known in holding.returns for line in known.lines)
    committed, coming = added_up(holding.lines), added_up(event.lines)
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


def items_moved_by(holding: Holding, event: Happening) -> tuple[str, ...]:
    """Items of which deciding ``event`` may move units, so that their rows must be locked first."""
    if _rule(holding, event) not in _MOVING:
        return ()
    match event:
        case OrderCreated(requires_approval=True) | OrderReturned(restock=False):
            return ()
        case OrderCreated() | OrderApproved() | OrderReturned() | HoldRequested():
            return tuple(line.item for line in event.lines)
    return tuple(line.item for line in holding.lines)


def decide(holding: Holding, event: Happening, shelf: Shelf, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``holding``; the shelf is changed accordingly."""
    decision = _rule(holding, event)(holding, event, shelf, now, rules)
    shelf.move(decision.movements)
    return decision
