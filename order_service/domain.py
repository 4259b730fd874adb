"""How happenings move an order. Pure: no database, no broker, no clock.

Owns: the transition table, and what may be asked of an order in which state. The words stand in states.py and
happenings.py, deadlines and flags in deadlines.py, prices in pricing.py, returns in returns.py.
Must not know: anything outside the standard library.

Everything that can happen is decided in every state. A stale, repeated or impossible event is a decision too (it is
recorded with the reason), never an exception. Beside its status an order knows what became of the stock and of the
money, because a cancelled order is settled only when both are known to be returned or never taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, get_args
from uuid import UUID

from order_service.deadlines import (
    Rules,
    begin_waiting,
    flagged,
    flagged_overdue,
    is_nudged,
    reserved_until,
    scheduled,
    waits_for,
)
from order_service.happenings import (
    ApprovalDeclined,
    ApprovalGiven,
    CancelRequested,
    DeadlinePassed,
    FulfilmentRequested,
    HalfDeadlinePassed,
    Happening,
    MoneyReturned,
    MoneyReturnFailed,
    PaymentAwaited,
    PaymentCancelled,
    PaymentFailed,
    PaymentTaken,
    ReturnRequested,
    StockCommitted,
    StockRejected,
    StockReserved,
    StockReturned,
)
from order_service.knowledge import learn, settle
from order_service.states import CancelReason, Flag, Money, Order, OrderStatus, Stock


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The order after a happening. ``steps`` are the statuses it went through; ``note`` says why, for the timeline.

    ``refused``: whoever asked must be told no. ``republish``: the order's last event is to be published once more.
    """

    order: Order
    steps: tuple[OrderStatus, ...] = ()
    applied: bool = True
    note: str = ""
    refused: bool = False
    republish: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """What a rule may use beside the order and the happening."""

    now: datetime
    rules: Rules


Rule: TypeAlias = Callable[[Order, Any, Here], Decision]


def new_order(order_id: UUID, price: Decimal, *, requires_approval: bool, now: datetime, rules: Rules) -> Order:
    order = Order(id=order_id, status=OrderStatus.PENDING, price=price, awaits_approval=requires_approval)
    return begin_waiting(order, now, rules)


def _ignored(order: Order, note: str) -> Decision:
    return Decision(order=order, applied=False, note=note)


def _recorded(note: str) -> Rule:
    return lambda order, _event, _here: _ignored(order, note)


def _refused(order: Order, _event: Any, _here: Here) -> Decision:
    return Decision(order=order, applied=False, refused=True, note=f"the order is {order.status}")


def _move(order: Order, *steps: OrderStatus, **changes: Any) -> Decision:
    moved = replace(order, status=steps[-1], **{"awaits_approval": False, **changes})
    return Decision(order=moved, steps=steps, note=f"{order.status} → {steps[-1]}")


def _cancel(order: Order, reason: CancelReason) -> Decision:
    return _move(order, OrderStatus.CANCELLED, reason=reason, fulfil_requested_at=None, tracking=None)


# What the other services told


def _reserve(order: Order, event: StockReserved, here: Here) -> Decision:
    """PENDING → RESERVED, unless this reservation is already known to be over, or nobody approved the order."""
    if order.awaits_approval:
        return _ignored(order, "waits for the seller's approval")
    if order.stock is not Stock.HELD or order.stock_generation != event.generation:
        return _ignored(order, "that reservation is already over")
    return _move(
        order,
        OrderStatus.RESERVED,
        deadline_at=reserved_until(order, event.expires_at, here.now, here.rules),
    )


def _confirm_unreserved(order: Order, _event: PaymentTaken, _here: Here) -> Decision:
    """Payment overtook INVENTORY_RESERVED: both steps are taken, the late reservation is only recorded."""
    if order.awaits_approval:
        return _ignored(order, "waits for the seller's approval")
    return _move(order, OrderStatus.RESERVED, OrderStatus.CONFIRMED)


def _confirm(order: Order, _event: PaymentTaken, _here: Here) -> Decision:
    return _move(order, OrderStatus.CONFIRMED)


def _reject(order: Order, event: StockRejected, _here: Here) -> Decision:
    """A rejection is inventory's last word. A paid order too is cancelled by it, and refunded through that."""
    expired = event.reason == CancelReason.RESERVATION_EXPIRED
    return _cancel(order, CancelReason.RESERVATION_EXPIRED if expired else CancelReason.OUT_OF_STOCK)


def _returned(order: Order, event: StockReturned, _here: Here) -> Decision:
    if event.reason != "expired":
        return Decision(order=order, note="stock is back; the payment's own event decides")
    if event.generation < order.stock_generation:
        return _ignored(order, "an older reservation expired")
    return _cancel(order, CancelReason.RESERVATION_EXPIRED)


def _returned_paid(order: Order, event: StockReturned, _here: Here) -> Decision:
    """Paid: nothing is moved. What expired may be held again; what was given back otherwise is for an operator."""
    if event.reason != "expired":
        return _ignored(order, "paid, but its stock was given back for good")
    if event.generation < order.stock_generation:
        return _ignored(order, "an older reservation expired")
    return _ignored(order, "paid: waits for a new reservation or a rejection")


def _fulfil(order: Order, event: StockCommitted, _here: Here) -> Decision:
    """CONFIRMED → FULFILLED. What nobody asked for is not believed: the order could never be cancelled again."""
    if order.fulfil_requested_at is None:
        return _ignored(order, "nobody asked to fulfil it")
    generation = max(order.stock_generation, event.generation)
    return _move(order, OrderStatus.FULFILLED, stock=Stock.COMMITTED, stock_generation=generation)


def _payment_failed(order: Order, _event: PaymentFailed, _here: Here) -> Decision:
    return _cancel(order, CancelReason.PAYMENT_FAILED)


def _refunded(order: Order, event: MoneyReturned, _here: Here) -> Decision:
    """All of it back: cancelled, even where the refund overtook the payment (confirming it would ship for nothing)."""
    if event.total_refunded < order.price:
        return Decision(order=order, note="partly refunded")
    if order.fulfil_requested_at is not None:
        return Decision(order=order, note="all the money went back, but the goods are on their way")
    return _cancel(order, CancelReason.REFUNDED)


def _refund_failed(order: Order, _event: MoneyReturnFailed, here: Here) -> Decision:
    if order.money is Money.RETURNED or order.settled_at is not None:
        return _ignored(order, "nothing is left to give back")
    if order.flag is Flag.REFUND_FAILED:
        return _ignored(order, "flagged already: an operator is needed")
    return Decision(order=flagged(order, Flag.REFUND_FAILED, here.now), note="flagged: an operator is needed")


# What somebody asked for


def _cancel_on_request(order: Order, event: CancelRequested, here: Here) -> Decision:
    """At any moment before fulfilment; what was taken is given back by the others, as for every cancellation."""
    if not _is_cancellable(order):
        return replace(_refused(order, event, here), note="the order is being fulfilled")
    return _cancel(order, event.by)


def _approve(order: Order, event: ApprovalGiven, here: Here) -> Decision:
    if order.approved_at is not None:
        return _ignored(order, "approved before")
    if not _is_approvable(order):
        return replace(_refused(order, event, here), note="the order does not wait for an approval")
    return Decision(order=replace(order, awaits_approval=False, approved_at=here.now), note="approved")


def _decline(order: Order, event: ApprovalDeclined, here: Here) -> Decision:
    if order.status is OrderStatus.CANCELLED and order.reason == event.by and order.approved_at is None:
        return _ignored(order, "declined before")
    if not _is_approvable(order):
        return replace(_refused(order, event, here), note="the order does not wait for an approval")
    return _cancel(order, event.by)


def _request_fulfilment(order: Order, event: FulfilmentRequested, here: Here) -> Decision:
    if order.fulfil_requested_at is not None:
        return _ignored(order, "asked for before")
    if not _is_fulfillable(order):
        return replace(_refused(order, event, here), note=f"its stock is {order.stock}, not HELD")
    requested = replace(order, fulfil_requested_at=here.now, tracking=event.tracking)
    return Decision(order=requested, note="waits for the stock to be committed")


def _is_cancellable(order: Order) -> bool:
    early = (OrderStatus.PENDING, OrderStatus.RESERVED, OrderStatus.CONFIRMED)
    return order.status in early and order.fulfil_requested_at is None


def _is_approvable(order: Order) -> bool:
    return order.status is OrderStatus.PENDING and order.awaits_approval


def _is_fulfillable(order: Order) -> bool:
    is_paid_and_held = order.status is OrderStatus.CONFIRMED and order.stock is Stock.HELD
    return is_paid_and_held and order.fulfil_requested_at is None


_ACTIONS: Mapping[str, Callable[[Order], bool]] = {
    "cancel": _is_cancellable,
    "approve": _is_approvable,
    "decline": _is_approvable,
    "fulfil": _is_fulfillable,
    "return": lambda order: order.status is OrderStatus.FULFILLED,
}


def allowed_actions(order: Order) -> tuple[str, ...]:
    """What the order's state allows to be asked of it now; of a return, returns.py still counts what is left."""
    return tuple(action for action, is_allowed in _ACTIONS.items() if is_allowed(order))


def _take_return(order: Order, _event: ReturnRequested, _here: Here) -> Decision:
    """What comes back and what is given back for it is counted in returns.py; the status stays."""
    return Decision(order=order, note="goods come back")


# What the clock said


def _at_rest(order: Order, _event: HalfDeadlinePassed | DeadlinePassed, here: Here) -> Decision:
    """Nothing is waited for: a deadline that stands there all the same is taken away, and flags nothing."""
    return _ignored(begin_waiting(order, here.now, here.rules), "waits for nothing any more")


def _half(order: Order, event: HalfDeadlinePassed, here: Here) -> Decision:
    if waits_for(order) is None:
        return _at_rest(order, event, here)
    if order.wake_at == order.deadline_at:
        return _ignored(order, "not at half of a deadline")
    if order.deadline_at is None:
        return Decision(order=begin_waiting(order, here.now, here.rules), note="its deadline begins")
    awaits_the_end = replace(order, wake_at=order.deadline_at)
    if not is_nudged(order):
        return Decision(order=awaits_the_end, note="waits until its deadline")
    return Decision(order=awaits_the_end, republish=True, note="the last event is published once more")


def _overdue(name: str, answer: Callable[[Order, Here], Decision]) -> Rule:
    """``answer``, but only once the deadline has really passed: the one it is told of may have been another.

    ``name`` is how docs/states.md calls the rule.
    """

    def rule(order: Order, event: DeadlinePassed, here: Here) -> Decision:
        if waits_for(order) is None:
            return _at_rest(order, event, here)
        if order.deadline_at is None or here.now < order.deadline_at:
            return _ignored(order, "its deadline has not passed")
        return answer(order, here)

    rule.__name__ = name
    return rule


def _overdue_flag(flag: Flag) -> Callable[[Order, Here], Decision]:
    def answer(order: Order, here: Here) -> Decision:
        if order.wake_at is None:
            return _ignored(order, "flagged already")
        return Decision(order=flagged_overdue(order, flag, here.now), note="flagged: overdue")

    return answer


def _flag_confirmed(order: Order, here: Here) -> Decision:
    """Never cancelled: it is paid. What is late is its fulfilment, or before that its stock."""
    is_on_its_way = order.fulfil_requested_at is not None
    return _overdue_flag(Flag.FULFILMENT_UNFINISHED if is_on_its_way else Flag.STOCK_MISSING)(order, here)


def _timeout_or(flag: Flag) -> Callable[[Order, Here], Decision]:
    """Cancelled, or by setting flagged; an order that nobody approved is cancelled in any case."""

    def answer(order: Order, here: Here) -> Decision:
        if here.rules.flags_overdue and not order.awaits_approval:
            return _overdue_flag(flag)(order, here)
        return _cancel(order, CancelReason.TIMEOUT)

    return answer


_S = OrderStatus
TRANSITIONS: Mapping[tuple[OrderStatus, type[Any]], Rule] = {
    (_S.PENDING, StockReserved): _reserve,
    (_S.PENDING, StockRejected): _reject,
    (_S.PENDING, StockReturned): _returned,
    (_S.PENDING, StockCommitted): _recorded("nobody asked to fulfil it"),
    (_S.PENDING, PaymentAwaited): _recorded("waits for the customer to pay"),
    (_S.PENDING, PaymentTaken): _confirm_unreserved,
    (_S.PENDING, PaymentFailed): _payment_failed,
    (_S.PENDING, PaymentCancelled): _recorded("the expiry of the reservation decides"),
    (_S.PENDING, MoneyReturned): _refunded,
    (_S.PENDING, MoneyReturnFailed): _refund_failed,
    (_S.PENDING, CancelRequested): _cancel_on_request,
    (_S.PENDING, ApprovalGiven): _approve,
    (_S.PENDING, ApprovalDeclined): _decline,
    (_S.PENDING, FulfilmentRequested): _refused,
    (_S.PENDING, ReturnRequested): _refused,
    (_S.PENDING, HalfDeadlinePassed): _half,
    (_S.PENDING, DeadlinePassed): _overdue("cancel or flag", _timeout_or(Flag.PENDING_OVERDUE)),
    (_S.RESERVED, StockReserved): _recorded("already reserved"),
    (_S.RESERVED, StockRejected): _reject,
    (_S.RESERVED, StockReturned): _returned,
    (_S.RESERVED, StockCommitted): _recorded("nobody asked to fulfil it"),
    (_S.RESERVED, PaymentAwaited): _recorded("waits for the customer to pay"),
    (_S.RESERVED, PaymentTaken): _confirm,
    (_S.RESERVED, PaymentFailed): _payment_failed,
    (_S.RESERVED, PaymentCancelled): _recorded("the expiry of the reservation decides"),
    (_S.RESERVED, MoneyReturned): _refunded,
    (_S.RESERVED, MoneyReturnFailed): _refund_failed,
    (_S.RESERVED, CancelRequested): _cancel_on_request,
    (_S.RESERVED, ApprovalGiven): _approve,
    (_S.RESERVED, ApprovalDeclined): _decline,
    (_S.RESERVED, FulfilmentRequested): _refused,
    (_S.RESERVED, ReturnRequested): _refused,
    (_S.RESERVED, HalfDeadlinePassed): _half,
    (_S.RESERVED, DeadlinePassed): _overdue("cancel or flag", _timeout_or(Flag.RESERVED_OVERDUE)),
    (_S.CONFIRMED, StockReserved): _recorded("already confirmed"),
    (_S.CONFIRMED, StockRejected): _reject,
    (_S.CONFIRMED, StockReturned): _returned_paid,
    (_S.CONFIRMED, StockCommitted): _fulfil,
    (_S.CONFIRMED, PaymentAwaited): _recorded("already paid"),
    (_S.CONFIRMED, PaymentTaken): _recorded("already paid"),
    (_S.CONFIRMED, PaymentFailed): _recorded("already paid"),
    (_S.CONFIRMED, PaymentCancelled): _recorded("already paid"),
    (_S.CONFIRMED, MoneyReturned): _refunded,
    (_S.CONFIRMED, MoneyReturnFailed): _refund_failed,
    (_S.CONFIRMED, CancelRequested): _cancel_on_request,
    (_S.CONFIRMED, ApprovalGiven): _approve,
    (_S.CONFIRMED, ApprovalDeclined): _decline,
    (_S.CONFIRMED, FulfilmentRequested): _request_fulfilment,
    (_S.CONFIRMED, ReturnRequested): _refused,
    (_S.CONFIRMED, HalfDeadlinePassed): _half,
    (_S.CONFIRMED, DeadlinePassed): _overdue("flag", _flag_confirmed),
    **{
        (status, happening): _recorded(f"the order is {status}")
        for status in (_S.FULFILLED, _S.CANCELLED)
        for happening in get_args(Happening)
    },
    (_S.FULFILLED, MoneyReturned): _recorded("shipped: what came back is in its returns"),
    (_S.FULFILLED, MoneyReturnFailed): _refund_failed,
    (_S.FULFILLED, CancelRequested): _refused,
    (_S.FULFILLED, ApprovalGiven): _approve,
    (_S.FULFILLED, ApprovalDeclined): _decline,
    (_S.FULFILLED, FulfilmentRequested): _recorded("fulfilled before"),
    (_S.FULFILLED, ReturnRequested): _take_return,
    (_S.FULFILLED, HalfDeadlinePassed): _at_rest,
    (_S.FULFILLED, DeadlinePassed): _at_rest,
    (_S.CANCELLED, MoneyReturnFailed): _refund_failed,
    (_S.CANCELLED, CancelRequested): _recorded("cancelled before"),
    (_S.CANCELLED, ApprovalGiven): _approve,
    (_S.CANCELLED, ApprovalDeclined): _decline,
    (_S.CANCELLED, FulfilmentRequested): _refused,
    (_S.CANCELLED, ReturnRequested): _refused,
    (_S.CANCELLED, HalfDeadlinePassed): _half,
    (_S.CANCELLED, DeadlinePassed): _overdue("flag", _overdue_flag(Flag.COMPENSATION_UNFINISHED)),
}
"""Every pair is here; a test enumerates them. Source of the rules: the flows and decided races of the contract."""


def decide(order: Order, event: Happening, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``order``. Applying it twice changes nothing the second time."""
    known = learn(order, event)
    decision = TRANSITIONS[order.status, type(event)](known, event, Here(now=now, rules=rules))
    after = scheduled(order, settle(decision.order, now), now, rules)
    return replace(decision, order=after, applied=decision.applied or after != order)
