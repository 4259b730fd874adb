"""What a saga does just now, in the words of the saga board. Pure, like domain.py.

Owns: the name of the step that an order is at, and who has to do something next.
Must not know: anything outside the standard library; deadlines and flags are decided in deadlines.py.
"""

from __future__ import annotations

from enum import StrEnum

from order_service.deadlines import Wait, waits_for
from order_service.states import Money, Order, OrderStatus, Stock


class Board(StrEnum):
    """Which sagas are shown: STUCK are flagged, RUNNING those and all that are not whole yet, ENDED the others."""

    RUNNING = "running"
    STUCK = "stuck"
    ENDED = "ended"


class Actor(StrEnum):
    """Who a saga waits for. NOBODY: it has ended."""

    CUSTOMER = "customer"
    SELLER = "seller"
    INVENTORY = "inventory"
    PAYMENT = "payment"
    NOBODY = "nobody"


SHIPMENT = "shipment"
"""The step of a paid order whose stock is held: its seller ships it. It has no deadline, so it is no Wait."""
DONE = "done"


def step_of(order: Order) -> str:
    """approval, answer, payment, stock, shipment, fulfilment, compensation or done."""
    wait = waits_for(order)
    if wait is not None:
        return wait
    return SHIPMENT if order.status is OrderStatus.CONFIRMED else DONE


def awaited(order: Order) -> Actor:
    match waits_for(order):
        case Wait.APPROVAL:
            return Actor.SELLER
        case Wait.ANSWER | Wait.STOCK | Wait.FULFILMENT:
            return Actor.INVENTORY
        case Wait.PAYMENT:
            return Actor.CUSTOMER if order.money is Money.AWAITED else Actor.PAYMENT
        case Wait.COMPENSATION:
            return Actor.PAYMENT if order.stock is Stock.FREE else Actor.INVENTORY
    return Actor.SELLER if order.status is OrderStatus.CONFIRMED else Actor.NOBODY
