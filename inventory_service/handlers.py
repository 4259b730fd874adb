"""The inventory service at work: load, decide, save.

Owns: which rows a command or a batch of events needs, and what is recorded of it.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from inventory_service import queries
from inventory_service.domain import (
    Answer,
    Decision,
    Happening,
    Holding,
    HoldingStatus,
    Movement,
    MovementKind,
    OrderCreated,
    Refunded,
    Rejected,
    ReservationExpired,
    Reserved,
    Shelf,
    decide,
    totals,
)
from inventory_service.schemas import MOST_UNITS, PUBLISHED, Adjustment, NewProduct
from inventory_service.settings import Settings
from shared import outbox
from shared.database import Transaction
from shared.envelope import Envelope, Outgoing, Received
from shared.errors import Conflict, ProductExists, ProductNotFound
from shared.publications import Publications

SERVICE = "inventory_service"
EXPIRED_AT_ONCE = 200
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)
_RESERVATION_STATUS = {
    HoldingStatus.HELD: "RESERVED",
    HoldingStatus.RELEASED: "RELEASED",
    HoldingStatus.EXPIRED: "EXPIRED",
}


@dataclass(kw_only=True)
class Changes:
    """What a batch changes, gathered while deciding and saved at the end in one statement per table."""

    sagas: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    reservations: dict[tuple[UUID, int], dict[str, Any]] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    movement_rows: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)

    def emit(
        self,
        tx: Transaction,
        event_type: str,
        aggregate_id: str,
        *,
        cause: Envelope | None,
        correlation_id: str | None,
        **body: Any,
    ) -> None:
        self.outgoing.append(
            _PUBLICATIONS.make(event_type, aggregate_id, body, now=tx.now, cause=cause, correlation_id=correlation_id)
        )

    def move(
        self,
        movements: Sequence[Movement],
        *,
        order_id: UUID | None = None,
        generation: int | None = None,
        event_id: UUID | None = None,
    ) -> None:
        self.movements += movements
        self.movement_rows += [
            queries.movement_row(m, order_id=order_id, generation=generation, event_id=event_id) for m in movements
        ]

    def save(self, tx: Transaction) -> None:
        queries.update_sagas(tx, list(self.sagas.values()))
        queries.insert_lines(tx, self.lines)
        queries.save_reservations(tx, list(self.reservations.values()))
        queries.update_stock(tx, totals(self.movements))
        queries.insert_movements(tx, self.movement_rows)
        outbox.record(tx, self.outgoing)


def apply_events(tx: Transaction, events: Sequence[Received[Happening]], settings: Settings) -> None:
    """Decide each event on its order's holding. Locks sagas sorted by order, then stock sorted by item."""
    ids = [event.body.order_id for event in events]
    queries.ensure_sagas(tx, ids)
    holdings = queries.holdings_for_update(tx, ids)
    shelf = _shelf(tx, holdings, [event.body for event in events])
    changes = Changes()
    for event in events:
        holding = holdings[event.body.order_id]
        decision = decide(holding, event.body, shelf, now=tx.now, rules=settings.rules)
        holdings[holding.order_id] = decision.holding
        if isinstance(event.body, OrderCreated):
            _record_lines(changes, holding, decision)
        _record_decision(tx, changes, holding, decision, event.envelope, event.envelope.correlation_id)
    changes.save(tx)


def release_expired(tx: Transaction, settings: Settings) -> int:
    """Give back reservations past their expiry, at most EXPIRED_AT_ONCE; returns how many. Safe on every replica."""
    holdings, correlation_ids = queries.expired_holdings_for_update(tx, EXPIRED_AT_ONCE)
    events = [ReservationExpired(order_id=order_id) for order_id in holdings]
    shelf = _shelf(tx, holdings, events)
    changes = Changes()
    for event in events:
        holding = holdings[event.order_id]
        decision = decide(holding, event, shelf, now=tx.now, rules=settings.rules)
        _record_decision(tx, changes, holding, decision, None, correlation_ids[holding.order_id])
    changes.save(tx)
    return len(events)


def _shelf(tx: Transaction, holdings: dict[UUID, Holding], events: Sequence[Happening]) -> Shelf:
    """Locks only what these events can move: a paid reservation stays as it is, and so does its stock row."""
    items: set[str] = set()
    for event in events:
        holding = holdings[event.order_id]
        lines = event.lines if isinstance(event, OrderCreated) else holding.lines
        if holding.can_move_stock(event):
            items.update(line.item for line in lines)
    stock = queries.stock_for_update(tx, items)
    return Shelf({item: on_hand - reserved for item, (on_hand, reserved) in stock.items()})


def _record_lines(changes: Changes, before: Holding, decision: Decision) -> None:
    if before.status is HoldingStatus.OPEN and decision.holding.status is not HoldingStatus.OPEN:
        changes.lines += [
            {"order_id": before.order_id, "item": line.item, "quantity": line.quantity}
            for line in decision.holding.lines
        ]


def _record_decision(
    tx: Transaction,
    changes: Changes,
    before: Holding,
    decision: Decision,
    cause: Envelope | None,
    correlation_id: str,
) -> None:
    after = decision.holding
    if after != before:
        changes.sagas[after.order_id] = _saga_row(after, correlation_id)
    if decision.movements or after.expires_at != before.expires_at:
        changes.reservations[after.order_id, after.generation] = {
            "order_id": after.order_id,
            "generation": after.generation,
            "status": _RESERVATION_STATUS[after.status],
            "expires_at": after.expires_at,
        }
    changes.move(
        decision.movements,
        order_id=after.order_id,
        generation=after.generation,
        event_id=cause.event_id if cause else None,
    )
    if decision.answer is not None:
        _emit_answer(tx, changes, after, decision.answer, cause, correlation_id)


def _saga_row(holding: Holding, correlation_id: str) -> dict[str, Any]:
    terms = holding.terms
    return {
        "order_id": holding.order_id,
        "status": holding.status,
        "generation": holding.generation,
        "cancelled": holding.cancelled,
        "user_id": terms.user_id if terms else None,
        "price": terms.price if terms else None,
        "currency": terms.currency if terms else None,
        "payment_mode": terms.payment_mode if terms else None,
        "payment_method": terms.payment_method if terms else None,
        "correlation_id": correlation_id,
    }


def _emit_answer(
    tx: Transaction,
    changes: Changes,
    holding: Holding,
    answer: Answer,
    cause: Envelope | None,
    correlation_id: str,
) -> None:
    event_type, body = _answer_event(holding, answer)
    changes.emit(
        tx,
        event_type,
        str(holding.order_id),
        cause=cause,
        correlation_id=correlation_id,
        order_id=holding.order_id,
        **body,
    )


def _answer_event(holding: Holding, answer: Answer) -> tuple[str, dict[str, Any]]:
    match answer:
        case Rejected(reason=reason, short=short):
            return "INVENTORY_REJECTED", {"reason": reason, "short": list(short)}
        case Refunded(reason=reason, lines=lines):
            return "INVENTORY_REFUNDED", {"generation": holding.generation, "reason": reason, "items": lines}
        case Reserved():
            return "INVENTORY_RESERVED", _reserved_body(holding)


def _reserved_body(holding: Holding) -> dict[str, Any]:
    terms = holding.terms
    if terms is None:
        raise ValueError("a holding without terms cannot be held")
    return {
        "generation": holding.generation,
        "items": holding.lines,
        "price": terms.price,
        "currency": terms.currency,
        "expires_at": holding.expires_at,
        "user_id": terms.user_id,
        "payment_method": terms.payment_method,
        "payment_mode": terms.payment_mode,
    }


def create_product(tx: Transaction, product: NewProduct, correlation_id: str | None) -> None:
    """A new product with its first stock. Raises ProductExists."""
    if not queries.insert_product(tx, product):
        raise ProductExists(f"{product.item} exists already", {"item": product.item})
    changes = Changes()
    changes.emit(
        tx,
        "PRODUCT_UPDATED",
        product.item,
        cause=None,
        correlation_id=correlation_id,
        item=product.item,
        version=1,
        name=product.name,
        seller_id=product.seller_id,
        price=product.price,
        currency=product.currency,
        active=True,
        requires_approval=False,
    )
    # The stock row was inserted with its first units: only the movement that explains them is missing.
    first = Movement(item=product.item, kind=MovementKind.INITIAL, delta_on_hand=product.on_hand)
    changes.movement_rows.append(queries.movement_row(first, order_id=None, generation=None, event_id=None))
    changes.save(tx)


def adjust_stock(tx: Transaction, adjustment: Adjustment, correlation_id: str | None) -> None:
    """Change what is on hand.

    Raises ProductNotFound, or Conflict where less would be left than is reserved or more than can be counted.
    """
    stock = queries.stock_for_update(tx, [adjustment.item])
    if adjustment.item not in stock:
        raise ProductNotFound("no such product", {"item": adjustment.item})
    on_hand, reserved = stock[adjustment.item]
    if on_hand + adjustment.delta < reserved:
        raise Conflict(f"{reserved} of {on_hand} units are reserved", {"onHand": on_hand, "reserved": reserved})
    if on_hand + adjustment.delta > MOST_UNITS:
        raise Conflict(f"more than {MOST_UNITS} units cannot be counted", {"onHand": on_hand, "reserved": reserved})
    changes = Changes()
    changes.move([Movement(item=adjustment.item, kind=MovementKind.ADJUSTED, delta_on_hand=adjustment.delta)])
    changes.emit(
        tx,
        "INVENTORY_ADJUSTED",
        adjustment.item,
        cause=None,
        correlation_id=correlation_id,
        item=adjustment.item,
        delta=adjustment.delta,
        reason=adjustment.reason,
        on_hand=on_hand + adjustment.delta,
        reserved=reserved,
    )
    changes.save(tx)
