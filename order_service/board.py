"""What a saga does just now, in the words of the saga board. Pure, like domain.py.

Owns: the name of the step that an order is at, who has to do something next, and what may still come from whom.
Must not know: anything outside the standard library; deadlines and flags are decided in deadlines.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from order_service.deadlines import Wait, waits_for
from order_service.states import FINAL_MONEY, FINAL_STOCK, Money, Order, OrderStatus, Stock


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """A step that is still to come: one of ``events`` from ``who``.

    ``answers_to``: the event that asks for it, None: somebody wishes it. ``is_next``: nothing has to come before it.
    """

    who: str
    events: tuple[str, ...]
    answers_to: str | None
    is_next: bool


Answers = Callable[[str, str], tuple[str, ...]]
"""(event, who consumes it) → what they may answer with, as choreography.yml declares it."""

ORDER = "order"
_SHIPPED = (Actor.INVENTORY, "ORDER_FULFILLED")
_CONFIRMED = (ORDER, "PAYMENT_SUCCESS")
_PAID = (Actor.PAYMENT, "INVENTORY_RESERVED")


def expected(order: Order, answers: Answers) -> list[Expected]:
    """What may come next, then what follows if all goes well."""
    wishes = _wishes(order)
    first, later = _legs(order)
    steps = [Expected(who=who, events=events, answers_to=None, is_next=True) for who, events in wishes]
    steps += [_answer(order, who, on, answers, is_next=True) for who, on in first]
    return steps + [_answer(order, who, on, answers, is_next=False) for who, on in later]


def _wishes(order: Order) -> list[tuple[str, tuple[str, ...]]]:
    """What nobody's event asks for: a seller decides."""
    if waits_for(order) is Wait.APPROVAL:
        return [(Actor.SELLER, ("ORDER_APPROVED", "ORDER_CANCELLED"))]
    return [(Actor.SELLER, ("ORDER_FULFILLED", "ORDER_CANCELLED"))] if step_of(order) == SHIPMENT else []


def _legs(order: Order) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """((who, the event that they answer) now, the same later)."""
    match waits_for(order):
        case Wait.APPROVAL:
            return [], [(Actor.INVENTORY, "ORDER_APPROVED"), _PAID, _CONFIRMED]
        case Wait.ANSWER:
            asked = "ORDER_CREATED" if order.approved_at is None else "ORDER_APPROVED"
            return [(Actor.INVENTORY, asked)], [_PAID, _CONFIRMED]
        case Wait.PAYMENT:
            return [_PAID], [_CONFIRMED]
        case Wait.STOCK:
            return [(Actor.INVENTORY, "PAYMENT_SUCCESS")], [_SHIPPED]
        case Wait.FULFILMENT:
            return [_SHIPPED], []
        case Wait.COMPENSATION:
            owed = {Actor.INVENTORY: order.stock in FINAL_STOCK, Actor.PAYMENT: order.money in FINAL_MONEY}
            return [(who, "ORDER_CANCELLED") for who, is_settled in owed.items() if not is_settled], []
    return [], [_SHIPPED] if order.status is OrderStatus.CONFIRMED else []


def _answer(order: Order, who: str, on: str, answers: Answers, *, is_next: bool) -> Expected:
    events = answers(on, who)
    if who == Actor.PAYMENT and order.money is Money.AWAITED:
        # It has said so already: now its customer pays, or does not.
        events = tuple(event for event in events if event != "PAYMENT_PENDING")
        who = Actor.CUSTOMER if waits_for(order) is Wait.PAYMENT else who
    return Expected(who=who, events=events, answers_to=on, is_next=is_next)
