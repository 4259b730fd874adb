"""What an order knows of its stock and its money. Pure, like domain.py.

Owns: what each event tells, in whatever order events come, and when a cancelled order is settled.
Must not know: anything outside the standard library; statuses are moved in domain.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from order_service.deadlines import without_flag
from order_service.happenings import (
    Happening,
    MoneyReturned,
    PaymentAwaited,
    PaymentCancelled,
    PaymentFailed,
    PaymentTaken,
    StockRejected,
    StockReserved,
    StockReturned,
)
from order_service.states import FINAL_MONEY, FINAL_STOCK, PSP_TIMEOUT, Flag, Money, Order, OrderStatus, Stock


def learn(order: Order, event: Happening) -> Order:
    """What the event tells of stock and money, in whatever order events come. Final knowledge stays."""
    is_open = order.stock not in FINAL_STOCK
    match event:
        case StockReserved() if is_open and event.generation > order.stock_generation:
            return replace(order, stock=Stock.HELD, stock_generation=event.generation)
        case StockRejected() if is_open:
            return replace(order, stock=Stock.FREE)
        case StockReturned(reason="expired") if is_open and event.generation >= order.stock_generation:
            return replace(order, stock=Stock.LAPSED, stock_generation=event.generation)
        case StockReturned() if is_open and event.reason != "expired":
            return replace(order, stock=Stock.FREE)
        case PaymentAwaited() if order.money is Money.UNKNOWN:
            return replace(order, money=Money.AWAITED)
        case PaymentTaken() if order.money in (Money.UNKNOWN, Money.AWAITED):
            return replace(order, money=Money.TAKEN)
        case PaymentFailed(reason=reason) if reason == PSP_TIMEOUT:
            # The provider may have taken it all the same: PAYMENT_CANCELLED follows once that is undone.
            return order
        case PaymentFailed() | PaymentCancelled() if order.money in (Money.UNKNOWN, Money.AWAITED):
            return replace(order, money=Money.NOT_TAKEN)
        case MoneyReturned():
            return _learn_refund(order, event.total_refunded)
    return order


def _learn_refund(order: Order, total_refunded: Decimal) -> Order:
    heard = replace(order, refunded=max(order.refunded, total_refunded))
    if total_refunded < order.price:
        return heard
    return without_flag(replace(heard, money=Money.RETURNED), Flag.REFUND_FAILED)


def settle(order: Order, now: datetime) -> Order:
    is_over = order.stock is Stock.FREE and order.money in FINAL_MONEY
    if order.status is OrderStatus.CANCELLED and is_over and order.settled_at is None:
        return without_flag(replace(order, settled_at=now), Flag.REFUND_FAILED)
    return order
