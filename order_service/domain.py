"""What an order is and how events move it. Pure: no database, no broker, no clock.

Owns: the states and the transition table. Prices stand in pricing.py, the order of a timeline in timeline.py.
Must not know: anything outside the standard library.

Every event is decided in every state. A stale, repeated or impossible event is a decision too (it is recorded with
the reason), never an exception. Beside its status an order knows what became of the stock and of the money, because a
cancelled order is settled only when both are known to be returned or never taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID


class OrderStatus(StrEnum):
    PENDING = "PENDING"
    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    CANCELLED = "CANCELLED"


CANCELLABLE = (OrderStatus.PENDING, OrderStatus.RESERVED, OrderStatus.CONFIRMED)


class Stock(StrEnum):
    """What the order service knows of its stock. LAPSED may be held again (late payment); FREE is final."""

    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    LAPSED = "LAPSED"
    FREE = "FREE"


class Money(StrEnum):
    """What the order service knows of the payment. NOT_TAKEN and RETURNED are final."""

    UNKNOWN = "UNKNOWN"
    AWAITED = "AWAITED"
    TAKEN = "TAKEN"
    NOT_TAKEN = "NOT_TAKEN"
    RETURNED = "RETURNED"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The part of an order that events change."""

    id: UUID
    status: OrderStatus
    price: Decimal
    reason: CancelReason | None = None
    stock: Stock = Stock.UNKNOWN
    stock_generation: int = 0
    money: Money = Money.UNKNOWN
    deadline_at: datetime | None = None
    settled_at: datetime | None = None


REQUESTERS = (CancelReason.CUSTOMER, CancelReason.SELLER, CancelReason.OPERATOR)

# What happened, in the order service's own words


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
    order_id: UUID
    total_refunded: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class MoneyReturnFailed:
    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlinePassed:
    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequested:
    """``by`` is customer, seller or operator, and becomes the order's reason."""

    order_id: UUID
    by: CancelReason


Happening: TypeAlias = (
    StockReserved
    | StockRejected
    | StockReturned
    | PaymentAwaited
    | PaymentTaken
    | PaymentFailed
    | PaymentCancelled
    | MoneyReturned
    | MoneyReturnFailed
    | DeadlinePassed
    | CancelRequested
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The order after a happening. ``steps`` are the statuses it went through; ``note`` says why, for the timeline."""

    order: Order
    steps: tuple[OrderStatus, ...] = ()
    applied: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """``reserved_grace``: how long after a reservation's own expiry an order may still wait for word of it."""

    reserved_grace: timedelta


Rule: TypeAlias = Callable[[Order, Any, Rules], Decision]


def _recorded(note: str) -> Rule:
    return lambda order, _event, _rules: Decision(order=order, applied=False, note=note)


def _move(order: Order, *steps: OrderStatus, **changes: Any) -> Decision:
    deadline_at = changes.pop("deadline_at", None)
    moved = replace(order, status=steps[-1], deadline_at=deadline_at, **changes)
    return Decision(order=moved, steps=steps, note=f"{order.status} → {steps[-1]}")


def _cancel(order: Order, reason: CancelReason) -> Decision:
    return _move(order, OrderStatus.CANCELLED, reason=reason)


def _reserve(order: Order, event: StockReserved, rules: Rules) -> Decision:
    """PENDING → RESERVED, unless this reservation is already known to be over."""
    if order.stock is not Stock.HELD or order.stock_generation != event.generation:
        return Decision(order=order, applied=False, note="that reservation is already over")
    # Without expiry it is paid: word of that is on its way, and until it comes the old deadline stands.
    deadline_at = event.expires_at + rules.reserved_grace if event.expires_at else order.deadline_at
    return _move(order, OrderStatus.RESERVED, deadline_at=deadline_at)


def _confirm_unreserved(order: Order, _event: PaymentTaken, _rules: Rules) -> Decision:
    """Payment overtook INVENTORY_RESERVED: both steps are taken, the late reservation is only recorded."""
    return _move(order, OrderStatus.RESERVED, OrderStatus.CONFIRMED)


def _confirm(order: Order, _event: PaymentTaken, _rules: Rules) -> Decision:
    return _move(order, OrderStatus.CONFIRMED)


def _reject(order: Order, event: StockRejected, _rules: Rules) -> Decision:
    """A rejection is inventory's last word. A paid order too is cancelled by it, and refunded through that."""
    expired = event.reason == CancelReason.RESERVATION_EXPIRED
    return _cancel(order, CancelReason.RESERVATION_EXPIRED if expired else CancelReason.OUT_OF_STOCK)


def _returned(order: Order, event: StockReturned, _rules: Rules) -> Decision:
    if event.reason != "expired":
        return Decision(order=order, note="stock is back; the payment's own event decides")
    if event.generation < order.stock_generation:
        return Decision(order=order, applied=False, note="an older reservation expired")
    return _cancel(order, CancelReason.RESERVATION_EXPIRED)


def _payment_failed(order: Order, _event: PaymentFailed, _rules: Rules) -> Decision:
    return _cancel(order, CancelReason.PAYMENT_FAILED)


def _timeout(order: Order, _event: DeadlinePassed, _rules: Rules) -> Decision:
    return _cancel(order, CancelReason.TIMEOUT)


def _cancel_on_request(order: Order, event: CancelRequested, _rules: Rules) -> Decision:
    """At any moment before fulfilment; what was taken is given back by the others, as for every cancellation."""
    return _cancel(order, event.by)


def _refunded(order: Order, event: MoneyReturned, _rules: Rules) -> Decision:
    """All of it back: cancelled, even where the refund overtook the payment (confirming it would ship for nothing)."""
    if event.total_refunded < order.price:
        return Decision(order=order, note="partly refunded")
    return _cancel(order, CancelReason.REFUNDED)


_S = OrderStatus
TRANSITIONS: Mapping[tuple[OrderStatus, type[Any]], Rule] = {
    (_S.PENDING, StockReserved): _reserve,
    (_S.PENDING, StockRejected): _reject,
    (_S.PENDING, StockReturned): _returned,
    (_S.PENDING, PaymentAwaited): _recorded("waits for the customer to pay"),
    (_S.PENDING, PaymentTaken): _confirm_unreserved,
    (_S.PENDING, PaymentFailed): _payment_failed,
    (_S.PENDING, PaymentCancelled): _recorded("the expiry of the reservation decides"),
    (_S.PENDING, MoneyReturned): _refunded,
    (_S.PENDING, MoneyReturnFailed): _recorded("an operator is needed"),
    (_S.PENDING, DeadlinePassed): _timeout,
    (_S.RESERVED, StockReserved): _recorded("already reserved"),
    (_S.RESERVED, StockRejected): _reject,
    (_S.RESERVED, StockReturned): _returned,
    (_S.RESERVED, PaymentAwaited): _recorded("waits for the customer to pay"),
    (_S.RESERVED, PaymentTaken): _confirm,
    (_S.RESERVED, PaymentFailed): _payment_failed,
    (_S.RESERVED, PaymentCancelled): _recorded("the expiry of the reservation decides"),
    (_S.RESERVED, MoneyReturned): _refunded,
    (_S.RESERVED, MoneyReturnFailed): _recorded("an operator is needed"),
    (_S.RESERVED, DeadlinePassed): _timeout,
    (_S.CONFIRMED, StockReserved): _recorded("already confirmed"),
    (_S.CONFIRMED, StockRejected): _reject,
    (_S.CONFIRMED, StockReturned): _recorded("paid: waits for a new reservation or a rejection"),
    (_S.CONFIRMED, PaymentAwaited): _recorded("already paid"),
    (_S.CONFIRMED, PaymentTaken): _recorded("already paid"),
    (_S.CONFIRMED, PaymentFailed): _recorded("already paid"),
    (_S.CONFIRMED, PaymentCancelled): _recorded("already paid"),
    (_S.CONFIRMED, MoneyReturned): _refunded,
    (_S.CONFIRMED, MoneyReturnFailed): _recorded("an operator is needed"),
    (_S.CONFIRMED, DeadlinePassed): _recorded("a confirmed order has no deadline"),
    (_S.PENDING, CancelRequested): _cancel_on_request,
    (_S.RESERVED, CancelRequested): _cancel_on_request,
    (_S.CONFIRMED, CancelRequested): _cancel_on_request,
    **{
        (status, happening): _recorded(f"the order is {status}")
        for status in (_S.FULFILLED, _S.CANCELLED)
        for happening in Happening.__args__
    },
}
"""Every pair is here; a test enumerates them. Source of the rules: the flows and decided races of the contract."""


def decide(order: Order, event: Happening, *, now: datetime, rules: Rules) -> Decision:
    """What ``event`` makes of ``order``. Applying it twice changes nothing the second time."""
    known = _learn(order, event)
    decision = TRANSITIONS[order.status, type(event)](known, event, rules)
    after = _settle(decision.order, now)
    return replace(decision, order=after, applied=decision.applied or after != order)


def _learn(order: Order, event: Happening) -> Order:
    """What the event tells of stock and money, in whatever order events come. Final knowledge stays."""
    match event:
        case StockReserved() if order.stock is not Stock.FREE and event.generation > order.stock_generation:
            return replace(order, stock=Stock.HELD, stock_generation=event.generation)
        case StockRejected():
            return replace(order, stock=Stock.FREE)
        case StockReturned(reason="expired") if (
            order.stock is not Stock.FREE and event.generation >= order.stock_generation
        ):
            return replace(order, stock=Stock.LAPSED, stock_generation=event.generation)
        case StockReturned() if event.reason != "expired":
            return replace(order, stock=Stock.FREE)
        case PaymentAwaited() if order.money is Money.UNKNOWN:
            return replace(order, money=Money.AWAITED)
        case PaymentTaken() if order.money in (Money.UNKNOWN, Money.AWAITED):
            return replace(order, money=Money.TAKEN)
        case PaymentFailed() | PaymentCancelled() if order.money in (Money.UNKNOWN, Money.AWAITED):
            return replace(order, money=Money.NOT_TAKEN)
        case MoneyReturned() if event.total_refunded >= order.price:
            return replace(order, money=Money.RETURNED)
    return order


def _settle(order: Order, now: datetime) -> Order:
    is_over = order.stock is Stock.FREE and order.money in (Money.NOT_TAKEN, Money.RETURNED)
    if order.status is OrderStatus.CANCELLED and is_over and order.settled_at is None:
        return replace(order, settled_at=now)
    return order
