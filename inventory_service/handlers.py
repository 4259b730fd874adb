"""The inventory service at work: load, decide, save.

Owns: which rows a command or a batch of events needs, and what is recorded of it.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from inventory_service import figures, queries
from inventory_service.domain import Decision, decide, items_moved_by
from inventory_service.happenings import (
    Answer,
    Committed,
    Happening,
    HoldRequest,
    OrderApproved,
    OrderCreated,
    OrderReturned,
    Refunded,
    Rejected,
    ReminderDue,
    ReservationExpired,
    Reserved,
    ReservedStill,
    Restocked,
)
from inventory_service.schemas import PUBLISHED
from inventory_service.settings import Settings
from inventory_service.shelf import Shelf, totals
from inventory_service.states import Holding, HoldingStatus, Line, Movement, Terms
from shared import outbox
from shared.database import Sessions, Transaction, in_rounds
from shared.envelope import Envelope, Outgoing, Received
from shared.errors import BrokenRule
from shared.publications import Publications

SERVICE = "inventory_service"
DUE_AT_ONCE = 400
MOST_ROUNDS = 25
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)
_RESERVATION_STATUS = {
    HoldingStatus.HELD: "RESERVED",
    HoldingStatus.RELEASED: "RELEASED",
    HoldingStatus.EXPIRED: "EXPIRED",
    HoldingStatus.COMMITTED: "COMMITTED",
}
RESERVATION_STATUSES = tuple(_RESERVATION_STATUS.values())
HELD = _RESERVATION_STATUS[HoldingStatus.HELD]


@dataclass(kw_only=True)
class Changes:
    """What a batch changes, gathered while deciding and saved at the end in one statement per table.

    ``stock`` is what the locked rows said at its beginning.
    """

    stock: dict[str, tuple[int, int]] = field(default_factory=dict)
    sagas: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    reservations: dict[tuple[UUID, int], dict[str, Any]] = field(default_factory=dict)
    returns: list[dict[str, Any]] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    movement_rows: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def emit(
        self,
        tx: Transaction,
        event_type: str,
        aggregate_id: str,
        *,
        cause: Envelope | None,
        correlation_id: str | None,
        **body: Any,
    ) -> Envelope:
        event = _PUBLICATIONS.make(
            event_type, aggregate_id, body, now=tx.now, cause=cause, correlation_id=correlation_id
        )
        self.outgoing.append(event)
        return event.envelope

    def move(
        self,
        movements: Sequence[Movement],
        *,
        order_id: UUID | None = None,
        generation: int | None = None,
        event_id: UUID | None = None,
        reason: str | None = None,
    ) -> None:
        self.movements += movements
        self.movement_rows += [
            queries.movement_row(m, order_id=order_id, generation=generation, event_id=event_id, reason=reason)
            for m in movements
        ]

    def save(self, tx: Transaction) -> None:
        queries.update_sagas(tx, list(self.sagas.values()))
        queries.insert_lines(tx, self.lines)
        queries.save_reservations(tx, list(self.reservations.values()))
        queries.insert_returns(tx, self.returns)
        queries.update_stock(tx, totals(self.movements))
        queries.insert_movements(tx, self.movement_rows)
        outbox.record(tx, self.outgoing)
        tx.after_commit(partial(figures.count_saved, self.outcomes))


def apply_events(tx: Transaction, events: Sequence[Received[Happening]], settings: Settings) -> None:
    """Decide each event on its order's holding. Locks sagas sorted by order, then stock sorted by item.

    Raises BrokenRule where more is returned than was committed.
    """
    ids = [event.body.order_id for event in events]
    queries.ensure_sagas(tx, {event.body.order_id: _terms(event.body) for event in events})
    holdings = _with_returns(tx, queries.holdings_for_update(tx, ids), events)
    changes = Changes()
    shelf = _shelf(tx, changes, holdings, [event.body for event in events])
    for event in events:
        holding = holdings[event.body.order_id]
        decision = decide(holding, event.body, shelf, now=tx.now, rules=settings.rules)
        if decision.refusal:
            raise BrokenRule(decision.refusal, {"id": str(holding.order_id)})
        holdings[holding.order_id] = decision.holding
        _record_decision(tx, changes, holding, decision, event.envelope, event.envelope.correlation_id)
    changes.save(tx)


def _terms(event: Happening) -> Terms | None:
    return event.terms if isinstance(event, OrderCreated | OrderApproved) else None


def _with_returns(
    tx: Transaction, holdings: dict[UUID, Holding], events: Sequence[Received[Happening]]
) -> dict[UUID, Holding]:
    """Loaded only where something comes back: other batches make no round trip for it."""
    ids = [event.body.order_id for event in events if isinstance(event.body, OrderReturned)]
    if not ids:
        return holdings
    known = queries.returns(tx, ids)
    return {id_: replace(holding, returns=known.get(id_, ())) for id_, holding in holdings.items()}


def apply_request(
    tx: Transaction, holding: Holding, request: HoldRequest, correlation_id: str | None, settings: Settings
) -> Decision:
    """Decide and save one request about a manual hold, whose saga row is locked."""
    changes = Changes()
    shelf = _shelf(tx, changes, {holding.order_id: holding}, [request])
    decision = decide(holding, request, shelf, now=tx.now, rules=settings.rules)
    _record_decision(tx, changes, holding, decision, None, correlation_id or str(holding.order_id))
    changes.save(tx)
    return decision


def wake_all_reservations(sessions: Sessions, settings: Settings) -> None:
    """Rounds of :func:`wake_reservations`, until one finds less than it could take."""
    in_rounds(sessions, lambda tx: wake_reservations(tx, settings), full=DUE_AT_ONCE, most_rounds=MOST_ROUNDS)


def wake_reservations(tx: Transaction, settings: Settings) -> int:
    """Say once more what waits for its payment for a while, and give back what is past its expiry.

    At most DUE_AT_ONCE; returns how many. Safe on every replica.
    """
    holdings, correlation_ids = queries.due_holdings_for_update(tx, DUE_AT_ONCE)
    events = [_due(holding, tx.now) for holding in holdings.values()]
    changes = Changes()
    shelf = _shelf(tx, changes, holdings, events)
    still: list[Holding] = []
    for event in events:
        holding = holdings[event.order_id]
        decision = decide(holding, event, shelf, now=tx.now, rules=settings.rules)
        _record_decision(tx, changes, holding, decision, None, correlation_ids[holding.order_id])
        still += [decision.holding] if isinstance(decision.answer, ReservedStill) else []
    _say_again(tx, changes, still)
    changes.save(tx)
    return len(events)


def _due(holding: Holding, now: datetime) -> ReservationExpired | ReminderDue:
    is_over = holding.expires_at is not None and holding.expires_at <= now
    return (ReservationExpired if is_over else ReminderDue)(order_id=holding.order_id)


def _say_again(tx: Transaction, changes: Changes, holdings: Sequence[Holding]) -> None:
    """The same event, id and all: whoever has applied it knows it, and whoever has not applies it now."""
    if not holdings:
        return
    version = PUBLISHED["INVENTORY_RESERVED"].schema_version
    first = queries.announcements(tx, [h.order_id for h in holdings], source=SERVICE, schema_version=version)
    for holding in holdings:
        if holding.order_id in first:
            body = {"order_id": holding.order_id, **_reserved_body(holding)}
            event = _PUBLICATIONS.make("INVENTORY_RESERVED", holding.order_id, body, now=tx.now)
            changes.outgoing.append(replace(event, envelope=first[holding.order_id]))


def _shelf(tx: Transaction, changes: Changes, holdings: dict[UUID, Holding], events: Iterable[Happening]) -> Shelf:
    """Locks only what these events can move: a paid reservation stays as it is, and so does its stock row."""
    items = {item for event in events for item in items_moved_by(holdings[event.order_id], event)}
    changes.stock = queries.stock_for_update(tx, items)
    return Shelf({item: on_hand - reserved for item, (on_hand, reserved) in changes.stock.items()})


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
        _record_lines(changes, before, after)
    changes.move(
        decision.movements,
        order_id=after.order_id,
        generation=after.generation,
        event_id=cause.event_id if cause else None,
    )
    told = _emit_answer(tx, changes, after, decision.answer, cause, correlation_id)
    if after != before and (before.status is HoldingStatus.HELD or after.generation != before.generation):
        _record_reservation(changes, after, told)
        if after.generation != before.generation:
            changes.outcomes.append("reserved")
        elif after.status is not HoldingStatus.HELD:
            changes.outcomes.append(after.status.lower())
    elif isinstance(decision.answer, Rejected):
        changes.outcomes.append("rejected")


def _record_lines(changes: Changes, before: Holding, after: Holding) -> None:
    if before.status is HoldingStatus.OPEN:
        changes.lines += [
            {"order_id": after.order_id, "item": line.item, "quantity": line.quantity} for line in after.lines
        ]
    changes.returns += [
        {
            "order_id": after.order_id,
            "return_id": returned.return_id,
            "item": line.item,
            "quantity": line.quantity,
            "restocked": returned.restocked,
        }
        for returned in after.returns[len(before.returns) :]
        for line in returned.lines
    ]


def _record_reservation(changes: Changes, holding: Holding, told: Envelope | None) -> None:
    row = changes.reservations.setdefault((holding.order_id, holding.generation), {})
    row |= {
        "order_id": holding.order_id,
        "generation": holding.generation,
        "status": _RESERVATION_STATUS[holding.status],
        "expires_at": holding.expires_at,
        "wake_at": holding.wake_at,
    }
    if told is not None and told.type == "INVENTORY_RESERVED":
        row |= {"event_id": told.event_id, "causation_id": told.causation_id, "traceparent": told.traceparent}


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
        "seller_id": terms.seller_id if terms else None,
        "correlation_id": correlation_id,
    }


def _emit_answer(
    tx: Transaction,
    changes: Changes,
    holding: Holding,
    answer: Answer | None,
    cause: Envelope | None,
    correlation_id: str,
) -> Envelope | None:
    """The envelope of the event about the order; None where there is none."""
    if isinstance(answer, Restocked):
        _emit_adjusted(tx, changes, answer.lines, cause, correlation_id)
        return None
    if answer is None or isinstance(answer, ReservedStill):
        return None
    event_type, body = answer_event(holding, answer)
    return changes.emit(
        tx,
        event_type,
        str(holding.order_id),
        cause=cause,
        correlation_id=correlation_id,
        order_id=holding.order_id,
        **body,
    )


def answer_event(holding: Holding, answer: Reserved | Rejected | Refunded | Committed) -> tuple[str, dict[str, Any]]:
    """The type and the body of the event that tells the answer."""
    match answer:
        case Rejected(reason=reason, short=short):
            return "INVENTORY_REJECTED", {"reason": reason, "short": list(short)}
        case Refunded(reason=reason, lines=lines):
            return "INVENTORY_REFUNDED", {"generation": holding.generation, "reason": reason, "items": lines}
        case Committed():
            return "INVENTORY_COMMITTED", {"generation": holding.generation, "items": holding.lines}
        case Reserved():
            return "INVENTORY_RESERVED", _reserved_body(holding)


def _emit_adjusted(
    tx: Transaction, changes: Changes, lines: Sequence[Line], cause: Envelope | None, correlation_id: str
) -> None:
    """What came back is on hand again: with the counts as they are after all that this batch moved so far."""
    moved = totals(changes.movements)
    for line in lines:
        on_hand, reserved = changes.stock[line.item]
        more_on_hand, more_reserved = moved.get(line.item, (0, 0))
        changes.emit(
            tx,
            "INVENTORY_ADJUSTED",
            line.item,
            cause=cause,
            correlation_id=correlation_id,
            item=line.item,
            delta=line.quantity,
            reason="returned",
            on_hand=on_hand + more_on_hand,
            reserved=reserved + more_reserved,
        )


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
        "seller_id": terms.seller_id,
    }
