"""The order service at work: load, decide, save.

Owns: which rows a batch of events or a tick of the clock needs, and what is recorded of any decision (commands.py and
placing.py record theirs here). Every event leaves a line in the timeline, with the decision, in the transaction that
applied it.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from order_service import archive, figures, queries
from order_service.deadlines import what_is_due
from order_service.domain import Decision, decide
from order_service.happenings import (
    DeadlinePassed,
    HalfDeadlinePassed,
    Happening,
    MoneyReturned,
    MoneyReturnFailed,
    Told,
)
from order_service.returns import ReturnStatus
from order_service.schemas import PUBLISHED, PriceListEntry
from order_service.settings import Settings
from order_service.states import CancelReason, Order, OrderStatus
from shared import outbox, tracing
from shared.database import Sessions, Transaction, in_rounds
from shared.envelope import Envelope, Outgoing, Received, caused_by
from shared.publications import Publications

SERVICE = "order_service"
DUE_AT_ONCE = 200
MOST_ROUNDS = 25
_CLOCK_NAMES = {HalfDeadlinePassed: "HALF_DEADLINE_PASSED", DeadlinePassed: "DEADLINE_PASSED"}
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)


@dataclass(kw_only=True)
class Changes:
    """What a batch changes, gathered while deciding and saved at the end in one statement per table."""

    orders: dict[UUID, Order] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    refunds: dict[tuple[UUID, UUID], ReturnStatus] = field(default_factory=dict)

    def emit(
        self,
        tx: Transaction,
        event_type: str,
        order_id: UUID,
        *,
        cause: Envelope | None,
        correlation_id: str,
        traceparent: str | None = None,
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
            traceparent=traceparent,
        )
        self.outgoing.append(event)
        self.timeline.append(timeline_row(event.envelope, order_id, event.payload, decision="emitted", note=""))
        return event.envelope

    def save(self, tx: Transaction) -> None:
        queries.update_orders(tx, self.orders.values())
        queries.insert_history(tx, self.history)
        queries.insert_events(tx, self.timeline)
        queries.end_returns(tx, self.refunds)
        outbox.record(tx, self.outgoing)
        if self.history or self.orders:
            tx.after_commit(partial(figures.count_saved, self.history, self.orders.values(), tx.now))


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
        "schema_version": envelope.schema_version,
        "payload": payload,
    }


def apply_events(tx: Transaction, events: Sequence[Received[Told]], settings: Settings) -> None:
    """Move each event's order as the transition table says. Events of one order apply in the order given."""
    orders = queries.orders_for_update(tx, (event.body.order_id for event in events))
    changes = Changes()
    unknown = []
    for event in events:
        order = orders.get(event.body.order_id)
        if order is None:
            unknown.append(event)
            continue
        decision = decide(order, event.body, now=tx.now, rules=settings.rules)
        orders[order.id] = decision.order
        _record_event(changes, event, decision)
        _record_decision(tx, changes, order, decision, event.envelope)
        _record_refund(changes, order, event.body)
    if unknown:
        _answer_unknown_orders(tx, changes, unknown)
    changes.save(tx)


def _word(decision: Decision) -> str:
    return "applied" if decision.applied else "ignored"


def _record_event(changes: Changes, event: Received[Told], decision: Decision) -> None:
    changes.timeline.append(
        timeline_row(event.envelope, decision.order.id, event.payload, decision=_word(decision), note=decision.note)
    )


def _record_refund(changes: Changes, order: Order, event: Happening) -> None:
    """What became of a return's refund. Only fulfilled orders have returns: no other batch asks for any."""
    if order.status is not OrderStatus.FULFILLED:
        return
    match event:
        case MoneyReturned(refund_id=UUID() as refund_id):
            changes.refunds[order.id, refund_id] = ReturnStatus.REFUNDED
        case MoneyReturnFailed(refund_id=UUID() as refund_id):
            changes.refunds.setdefault((order.id, refund_id), ReturnStatus.REFUND_FAILED)


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


def _answer_unknown_orders(tx: Transaction, changes: Changes, events: Sequence[Received[Told]]) -> None:
    """A reservation for an order nobody placed (ORDER_CREATED by hand) must not hold stock or take money.

    An order that was archived is not unknown: it is over, and what is still told of it is kept beside it.
    """
    archived = archive.known(tx, {event.body.order_id for event in events})
    late = []
    for event in events:
        order_id = event.body.order_id
        note = "archived" if order_id in archived else "unknown order"
        row = timeline_row(event.envelope, order_id, event.payload, decision="ignored", note=note)
        if order_id in archived:
            late.append(row)
            continue
        changes.timeline.append(row)
        if event.envelope.type == "INVENTORY_RESERVED":
            _refuse_unknown_order(tx, changes, event)
    archive.add_late(tx, late)


def _refuse_unknown_order(tx: Transaction, changes: Changes, event: Received[Told]) -> None:
    changes.emit(
        tx,
        "ORDER_CANCELLED",
        event.body.order_id,
        cause=event.envelope,
        correlation_id=event.envelope.correlation_id,
        reason=CancelReason.UNKNOWN_ORDER,
    )


def watch_all_deadlines(sessions: Sessions, settings: Settings) -> None:
    """Rounds of :func:`watch_deadlines`, until one finds less than it could take."""
    in_rounds(sessions, lambda tx: watch_deadlines(tx, settings), full=DUE_AT_ONCE, most_rounds=MOST_ROUNDS)


def watch_deadlines(tx: Transaction, settings: Settings) -> int:
    """Answer what is due of at most DUE_AT_ONCE orders; returns of how many. Safe on every replica."""
    due = queries.due_orders_for_update(tx, DUE_AT_ONCE)
    changes = Changes()
    nudged: list[UUID] = []
    for order, correlation_id in due:
        happening = what_is_due(order, tx.now)
        decision = decide(order, happening, now=tx.now, rules=settings.rules)
        name = _CLOCK_NAMES[type(happening)]
        record_own(tx, changes, order, decision, name, correlation_id, saga=correlation_id)
        if decision.republish:
            nudged.append(order.id)
    if nudged:
        changes.outgoing += [once_more(row) for row in queries.last_emitted_rows(tx, nudged)]
    changes.save(tx)
    return len(due)


def once_more(row: Any) -> Outgoing:
    """The event as it was recorded, its own id included: whoever has applied it drops it."""
    envelope = Envelope(
        event_id=row.event_id,
        type=row.event_type,
        source=SERVICE,
        correlation_id=row.correlation_id,
        causation_id=row.causation_id,
        occurred_at=row.occurred_at,
        schema_version=row.schema_version,
        traceparent=tracing.of_order(row.order_id, row.correlation_id),
    )
    return Outgoing(envelope=envelope, aggregate_id=str(row.order_id), payload=row.payload)


def record_own(
    tx: Transaction,
    changes: Changes,
    order: Order,
    decision: Decision,
    name: str,
    correlation_id: str,
    *,
    saga: str,
    **said: Any,
) -> Envelope:
    """Something that happened here and is never published. It is in the timeline as the cause of what follows.

    ``saga`` is the correlation id under which the order was placed: the name of its trace.
    """
    cause = caused_by(
        None,
        type=name,
        source=SERVICE,
        now=tx.now,
        correlation_id=correlation_id,
        traceparent=tracing.happened(name, order.id, saga),
    )
    payload = {"id": str(order.id), **said}
    changes.timeline.append(timeline_row(cause, order.id, payload, decision=_word(decision), note=decision.note))
    _record_decision(tx, changes, order, decision, cause)
    return cause


def update_price_list(tx: Transaction, events: Sequence[Received[PriceListEntry]]) -> None:
    """The newest version of each item wins, in whatever order the events come."""
    newest: dict[str, PriceListEntry] = {}
    for event in events:
        entry = event.body
        known = newest.get(entry.product.item)
        if known is None or known.version < entry.version:
            newest[entry.product.item] = entry
    queries.upsert_products(tx, newest.values())
