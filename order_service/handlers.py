"""The order service at work: load, decide, save.

Owns: which rows a command or a batch of events needs, and what is recorded of it. Every event leaves a line in the
timeline, with the decision, in the transaction that applied it.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from order_service import queries
from order_service.domain import (
    CANCELLABLE,
    CancelReason,
    CancelRequested,
    DeadlinePassed,
    Decision,
    Happening,
    Order,
    OrderStatus,
    decide,
)
from order_service.schemas import PUBLISHED, PriceListEntry
from order_service.settings import Settings
from shared import outbox
from shared.database import Transaction
from shared.envelope import Envelope, Outgoing, Received, caused_by
from shared.errors import OrderNotCancellable, OrderNotFound
from shared.publications import Publications

SERVICE = "order_service"
OVERDUE_AT_ONCE = 200
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)


@dataclass(kw_only=True)
class Changes:
    """What a batch changes, gathered while deciding and saved at the end in one statement per table."""

    orders: dict[UUID, Order] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)

    def emit(
        self,
        tx: Transaction,
        event_type: str,
        order_id: UUID,
        *,
        cause: Envelope | None,
        correlation_id: str,
        **body: Any,
    ) -> Envelope:
        """Record an event of our own: in the outbox, and in the timeline of its order."""
        event = _PUBLICATIONS.make(
            event_type,
            order_id,
            {"order_id": order_id, **body},
            now=tx.now,
            cause=cause,
            correlation_id=correlation_id,
        )
        self.outgoing.append(event)
        self.timeline.append(timeline_row(event.envelope, order_id, event.payload, decision="emitted", note=""))
        return event.envelope

    def save(self, tx: Transaction) -> None:
        queries.update_orders(tx, self.orders.values())
        queries.insert_history(tx, self.history)
        queries.insert_events(tx, self.timeline)
        outbox.record(tx, self.outgoing)


def timeline_row(envelope: Envelope, order_id: UUID, payload: Any, *, decision: str, note: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "event_id": envelope.event_id,
        "event_type": envelope.type,
        "source": envelope.source,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "occurred_at": envelope.occurred_at,
        "decision": decision,
        "note": note,
        "payload": payload,
    }


def apply_events(tx: Transaction, events: Sequence[Received[Happening]], settings: Settings) -> None:
    """Move each event's order as the transition table says. Events of one order apply in the order given."""
    orders = queries.orders_for_update(tx, (event.body.order_id for event in events))
    changes = Changes()
    for event in events:
        order = orders.get(event.body.order_id)
        if order is None:
            _answer_unknown_order(tx, changes, event)
            continue
        decision = decide(order, event.body, now=tx.now, rules=settings.rules)
        orders[order.id] = decision.order
        _record_event(changes, event, decision)
        _record_decision(tx, changes, order, decision, event.envelope)
    changes.save(tx)


def _record_event(changes: Changes, event: Received[Happening], decision: Decision) -> None:
    word = "applied" if decision.applied else "ignored"
    changes.timeline.append(
        timeline_row(event.envelope, decision.order.id, event.payload, decision=word, note=decision.note)
    )


def _record_decision(tx: Transaction, changes: Changes, before: Order, decision: Decision, cause: Envelope) -> None:
    """Rows for every step taken, and ORDER_CONFIRMED or ORDER_CANCELLED exactly with the step that they tell of."""
    after = decision.order
    if after == before:
        return
    changes.orders[after.id] = after
    previous = before.status
    for status in decision.steps:
        changes.history.append(
            {
                "order_id": after.id,
                "from_status": previous,
                "status": status,
                "reason": after.reason,
                "event_id": cause.event_id,
            }
        )
        previous = status
        _emit_step(tx, changes, after, status, cause)


def _emit_step(tx: Transaction, changes: Changes, order: Order, status: OrderStatus, cause: Envelope) -> None:
    if status is OrderStatus.CONFIRMED:
        changes.emit(
            tx,
            "ORDER_CONFIRMED",
            order.id,
            cause=cause,
            correlation_id=cause.correlation_id,
            price=order.price,
        )
    elif status is OrderStatus.CANCELLED:
        changes.emit(
            tx,
            "ORDER_CANCELLED",
            order.id,
            cause=cause,
            correlation_id=cause.correlation_id,
            reason=order.reason,
        )


def _answer_unknown_order(tx: Transaction, changes: Changes, event: Received[Happening]) -> None:
    """A reservation for an order nobody placed (ORDER_CREATED by hand) must not hold stock or take money."""
    order_id = event.body.order_id
    changes.timeline.append(
        timeline_row(event.envelope, order_id, event.payload, decision="ignored", note="unknown order")
    )
    if event.envelope.type == "INVENTORY_RESERVED":
        changes.emit(
            tx,
            "ORDER_CANCELLED",
            order_id,
            cause=event.envelope,
            correlation_id=event.envelope.correlation_id,
            reason=CancelReason.UNKNOWN_ORDER,
        )


def cancel_overdue(tx: Transaction, settings: Settings) -> int:
    """Cancel orders past their deadline, at most OVERDUE_AT_ONCE; returns how many. Safe on every replica."""
    overdue = queries.overdue_orders_for_update(tx, OVERDUE_AT_ONCE)
    changes = Changes()
    for order, correlation_id in overdue.values():
        _apply_own(tx, changes, order, DeadlinePassed(order_id=order.id), "DEADLINE_PASSED", correlation_id, settings)
    changes.save(tx)
    return len(overdue)


def cancel_order(
    tx: Transaction, order_id: UUID, by: CancelReason, correlation_id: str | None, settings: Settings
) -> None:
    """Cancel on request; an order that is cancelled already stays as it is.

    Raises OrderNotFound, and OrderNotCancellable where it has ended in another way.
    """
    order = queries.orders_for_update(tx, [order_id]).get(order_id)
    if order is None:
        raise OrderNotFound("no such order", {"id": str(order_id)})
    if order.status is OrderStatus.CANCELLED:
        return
    if order.status not in CANCELLABLE:
        raise OrderNotCancellable(f"the order is {order.status}", {"status": order.status})
    changes = Changes()
    request = CancelRequested(order_id=order_id, by=by)
    _apply_own(tx, changes, order, request, "CANCEL_REQUESTED", correlation_id or str(order_id), settings)
    changes.save(tx)


def _apply_own(
    tx: Transaction,
    changes: Changes,
    order: Order,
    happening: Happening,
    name: str,
    correlation_id: str,
    settings: Settings,
) -> None:
    """Something that happened here and is never published. It is in the timeline as the cause of what follows."""
    decision = decide(order, happening, now=tx.now, rules=settings.rules)
    cause = caused_by(None, type=name, source=SERVICE, now=tx.now, correlation_id=correlation_id)
    changes.timeline.append(
        timeline_row(cause, order.id, {"id": str(order.id)}, decision="applied", note=decision.note)
    )
    _record_decision(tx, changes, order, decision, cause)


def update_price_list(tx: Transaction, events: Sequence[Received[PriceListEntry]]) -> None:
    """The newest version of each item wins, in whatever order the events come."""
    newest: dict[str, PriceListEntry] = {}
    for event in events:
        entry = event.body
        known = newest.get(entry.product.item)
        if known is None or known.version < entry.version:
            newest[entry.product.item] = entry
    queries.upsert_products(tx, newest.values())
