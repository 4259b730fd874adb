"""How long an order waits, and what the timer does about it. Pure, like domain.py.

Owns: what an order waits for in which state, its deadline, when the timer looks at it next, the flags for operators.
Must not know: anything outside the standard library; statuses are moved in domain.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from order_service.happenings import DeadlinePassed, HalfDeadlinePassed
from order_service.states import Flag, Order, OrderStatus, Stock


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """``pending_deadline``: how long an order may wait for its first answer, ``approval_deadline``: for its seller.

    ``reserved_grace``: how long after a reservation's own expiry an order may still wait for word of it.
    ``finish_deadline``: how long fulfilment or compensation may take, and how long a paid order may be without stock.
    ``flags_overdue``: whether a PENDING or RESERVED
    order past its deadline is shown to an operator instead of being cancelled.
    """

    pending_deadline: timedelta
    approval_deadline: timedelta
    reserved_grace: timedelta
    finish_deadline: timedelta
    flags_overdue: bool = False


class Wait(StrEnum):
    """What an order waits for. STOCK: it is paid, but nothing is held for it, or word of that was lost."""

    APPROVAL = "approval"
    ANSWER = "answer"
    PAYMENT = "payment"
    STOCK = "stock"
    FULFILMENT = "fulfilment"
    COMPENSATION = "compensation"


_NUDGED = (Wait.ANSWER, Wait.FULFILMENT, Wait.COMPENSATION)
"""Waits for another service: at half of the deadline the order's last event is published once more."""


def waits_for(order: Order) -> Wait | None:
    match order.status:
        case OrderStatus.PENDING:
            return Wait.APPROVAL if order.awaits_approval else Wait.ANSWER
        case OrderStatus.RESERVED:
            return Wait.PAYMENT
        case OrderStatus.CONFIRMED if order.fulfil_requested_at is not None:
            return Wait.FULFILMENT
        case OrderStatus.CONFIRMED if order.stock is not Stock.HELD:
            return Wait.STOCK
        case OrderStatus.CANCELLED if order.settled_at is None:
            return Wait.COMPENSATION
    return None


def is_nudged(order: Order) -> bool:
    """Whether the half of this order's deadline is worth a second publication."""
    return waits_for(order) in _NUDGED


def scheduled(before: Order, after: Order, now: datetime, rules: Rules) -> Order:
    """``after`` with the deadline of what it waits for now. Who waits for the same thing keeps its deadline."""
    if waits_for(after) is waits_for(before):
        return _watched_again(before, after)
    progress = after if after.flag is Flag.REFUND_FAILED else _unflagged(after)
    return begin_waiting(progress, now, rules)


def begin_waiting(order: Order, now: datetime, rules: Rules) -> Order:
    """``order`` with a new deadline. That of RESERVED stands in the order already: it is the reservation's own."""
    match waits_for(order):
        case None:
            return replace(order, deadline_at=None, wake_at=None)
        case Wait.PAYMENT:
            return replace(order, wake_at=order.deadline_at)
        case Wait.APPROVAL:
            return _woken_at_the_end(order, now + rules.approval_deadline)
        case Wait.STOCK:
            return _woken_at_the_end(order, now + rules.finish_deadline)
        case Wait.ANSWER:
            patience = rules.pending_deadline
        case _:
            patience = rules.finish_deadline
    return replace(order, deadline_at=now + patience, wake_at=now + patience / 2)


def _woken_at_the_end(order: Order, deadline_at: datetime) -> Order:
    return replace(order, deadline_at=deadline_at, wake_at=deadline_at)


def _watched_again(before: Order, after: Order) -> Order:
    """A flag was taken away, but what its order waits for is still to come: the timer says so once more."""
    if before.flag is not None and after.flag is None and after.wake_at is None:
        return replace(after, wake_at=after.deadline_at)
    return after


def reserved_until(order: Order, expires_at: datetime | None, now: datetime, rules: Rules) -> datetime:
    """The deadline of a RESERVED order.

    Without expiry it is paid: word of that is on its way, and until it comes the old deadline stands.
    """
    if expires_at is not None:
        return expires_at + rules.reserved_grace
    return max(order.deadline_at or now, now + rules.reserved_grace)


def what_is_due(order: Order, now: datetime) -> HalfDeadlinePassed | DeadlinePassed:
    """What the timer tells an order whose ``wake_at`` has come."""
    if order.deadline_at is not None and order.deadline_at <= now:
        return DeadlinePassed(order_id=order.id)
    return HalfDeadlinePassed(order_id=order.id)


def flagged(order: Order, flag: Flag, now: datetime) -> Order:
    return replace(order, flag=flag, flagged_at=now)


def flagged_overdue(order: Order, flag: Flag, now: datetime) -> Order:
    """The deadline is answered; a refund that failed says more than that something is late."""
    shown = order if order.flag is Flag.REFUND_FAILED else flagged(order, flag, now)
    return replace(shown, wake_at=None)


def _unflagged(order: Order) -> Order:
    return replace(order, flag=None, flagged_at=None)


def without_flag(order: Order, *flags: Flag) -> Order:
    """``order`` without its flag, if that is one of ``flags``."""
    return _unflagged(order) if order.flag in flags else order


def resolved(order: Order) -> Order:
    """An operator has dealt with its flag: it is not watched any more until it waits for something else."""
    return replace(_unflagged(order), wake_at=None)
