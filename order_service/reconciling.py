"""The order service's side of orders, for comparing it with the others'.

Owns: what is told of an order, and which events it can say once more. Must not know: Nameko, HTTP, what the other
sides know; nothing is decided here.

An event is said once more with an id of its own, caused by the repair that asked for it: whoever missed the first one
applies this one, and whoever has lost what it did with the first one applies it again. Who has it in their books does
nothing: every event is decided in every state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service import archive, queries, reading
from order_service.access import order_not_found
from order_service.deadlines import waits_for
from order_service.handlers import SERVICE, Changes, timeline_row
from order_service.schemas import PUBLISHED
from order_service.states import CancelReason, Order, OrderStatus
from shared import audit, reconciliation
from shared.database import Transaction, rows_json
from shared.envelope import Outgoing, caused_by
from shared.errors import Conflict, InvalidRequest
from shared.event_schema import moment_text
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity
from shared.reconciliation import Feed, quantities, quiet_for, read_changes, read_id, read_ids

# Every change of an order leaves an event in its timeline.
FEED = Feed(
    changed=text("""
select id as position, order_id, recorded_at as at from order_events
where id > :after order by id limit :limit
"""),
    head=text("select id as position from order_events where recorded_at < :before order by id desc limit 1"),
    every=text("""
select id as order_id from orders
where cast(:after as uuid) is null or id > cast(:after as uuid) order by id limit :limit
"""),
)
_UNHEARD = text("""
select r.id from json_to_recordset(cast(:rows as json)) as r(id uuid, at timestamptz) left join orders o on o.id = r.id
where (o.id is null or o.updated_at < r.at)
  and not exists (select 1 from archived_orders a where a.id = r.id)
""")
_ITEMS = text("select order_id, item, quantity from order_items where order_id = any(cast(:ids as uuid[]))")
_RETURNS = text("""
select o.order_id, o.id, o.restock, o.refund_amount, o.status, o.updated_at,
       json_agg(json_build_object('item', l.item, 'quantity', l.quantity)) as lines
from order_returns o join order_return_lines l on l.return_id = o.id
where o.order_id = any(cast(:ids as uuid[])) group by o.id
""")
_GAPS = text("""
select e.order_id, e.event_id, e.event_type, e.causation_id, e.recorded_at from order_events e
where e.order_id = any(cast(:ids as uuid[])) and e.causation_id is not null
  and not exists (select 1 from order_events c where c.order_id = e.order_id and c.event_id = e.causation_id)
""")
_EMITTED = text("""
select payload, schema_version from order_events
where order_id = cast(:order_id as uuid) and decision = 'emitted' and event_type = :event_type
  and (cast(:return_id as text) is null or payload ->> 'returnId' = :return_id)
order by id desc limit 1
""")

_Said = tuple[Any, int]
SAID_AGAIN: Mapping[str, tuple[OrderStatus, ...]] = {
    "ORDER_CANCELLED": (OrderStatus.CANCELLED,),
    "ORDER_FULFILLED": (OrderStatus.CONFIRMED, OrderStatus.FULFILLED),
    "ORDER_RETURNED": (OrderStatus.FULFILLED,),
}
"""Event → the statuses of an order in which it is still true."""


def walk(tx: Transaction, caller: Identity, **wanted: Any) -> dict[str, Any]:
    """As :func:`shared.reconciliation.walk`."""
    return reconciliation.walk(tx, FEED, caller, **wanted)


def sides(tx: Transaction, caller: Identity, order_ids: Any) -> list[dict[str, Any]]:
    """What is known of each of these orders; of an unknown one there is nothing. Raises Forbidden, InvalidRequest.

    Of an archived one only that it is: it was whole when it was put away.
    """
    reconciliation.refuse_all_but_operators(caller)
    ids = read_ids("orderIds", order_ids)
    orders = reading.order_rows(tx, [UUID(id_) for id_ in ids])
    items, returns, gaps = (_by_order(tx.fetch(statement, ids=ids)) for statement in (_ITEMS, _RETURNS, _GAPS))
    archived = archive.known(tx, [UUID(id_) for id_ in ids if UUID(id_) not in orders])
    return [
        *(_side(tx, *orders[id_], items[id_], returns[id_], gaps[id_]) for id_ in orders),
        *(_archived(id_) for id_ in sorted(archived)),
    ]


def _archived(order_id: UUID) -> dict[str, Any]:
    nothing: dict[str, Any] = {"waitsFor": None, "flag": None, "deadlineAt": None, "isOverdue": False}
    return {"orderId": str(order_id), "isArchived": True, "quietForS": reconciliation.LONGEST_AGO_S, **nothing}


def unheard(tx: Transaction, caller: Identity, changes: Any) -> list[str]:
    """Those of ``changes`` (order → when another side changed, or None) that are no orders, or were told nothing since.

    Raises Forbidden, InvalidRequest.
    """
    reconciliation.refuse_all_but_operators(caller)
    rows = read_changes(changes)
    return [str(row.id) for row in tx.fetch(_UNHEARD, rows=rows_json(rows))] if rows else []


def _by_order(rows: Sequence[Any]) -> dict[UUID, list[Mapping[str, Any]]]:
    found: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row._mapping)
    return found


def _side(
    tx: Transaction,
    order: Order,
    row: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    returns: Sequence[Mapping[str, Any]],
    gaps: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    moments = [row["updated_at"], *(r["updated_at"] for r in returns), *(gap["recorded_at"] for gap in gaps)]
    return {
        "orderId": str(order.id),
        "status": order.status,
        "isSettled": order.settled_at is not None,
        "stock": order.stock,
        "money": order.money,
        "price": str(order.price),
        "currency": row["currency"],
        "refunded": str(order.refunded),
        "isShipping": order.fulfil_requested_at is not None,
        "waitsFor": waits_for(order),
        "deadlineAt": moment_text(order.deadline_at) if order.deadline_at else None,
        "isOverdue": order.deadline_at is not None and order.deadline_at <= tx.now,
        "flag": order.flag,
        "items": quantities(items),
        "returns": [_return(returned) for returned in returns],
        "gaps": [
            {"eventId": str(g["event_id"]), "type": g["event_type"], "causationId": str(g["causation_id"])}
            for g in gaps
        ],
        "quietForS": quiet_for(tx, *moments),
    }


def _return(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "items": quantities(row["lines"]),
        "restock": row["restock"],
        "refundAmount": str(row["refund_amount"]),
        "status": row["status"],
    }


def say_again(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    event_type: Any,
    return_id: Any = None,
    why: Any = None,
    idempotency_key: Any = None,
    correlation_id: Any = None,
) -> dict[str, Any]:
    """{"did", "replayed"}: publish this order's newest event of that type once more.

    Of an order that nobody placed, ORDER_CANCELLED: whoever holds something for it lets go. Raises Forbidden,
    InvalidRequest, OrderNotFound, OrderArchived, Conflict where the event is not true (any more), and what `once`
    raises.
    """
    reconciliation.refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    id_ = read_id("orderId", order_id)
    of_return = None if return_id is None else str(read_id("returnId", return_id))
    if event_type not in SAID_AGAIN:
        raise InvalidRequest("no such event", {"errors": {"eventType": [f"one of {', '.join(SAID_AGAIN)}"]}})

    def run() -> dict[str, Any]:
        event_id = _say_again(tx, caller, id_, event_type, of_return, correlation_id)
        after = {"eventType": event_type, "eventId": str(event_id), "returnId": of_return, "why": why}
        audit.record(tx, caller, "repair_order", "order", id_, request_id=correlation_id, after=after)
        return {"did": f"{event_type} said once more, as event {event_id}"}

    request = {"orderId": str(id_), "eventType": event_type, "returnId": of_return}
    answer, replayed = once(tx, "repair_order", owned_key(caller, idempotency_key), request, run)
    return {**answer, "replayed": replayed}


def _say_again(
    tx: Transaction,
    caller: Identity,
    order_id: UUID,
    event_type: str,
    return_id: str | None,
    correlation_id: str | None,
) -> UUID:
    found = queries.order_for_update(tx, order_id)
    if found is not None:
        order, row = found
        if order.status not in SAID_AGAIN[event_type]:
            raise Conflict(f"the order is {order.status}: {event_type} is not true of it", {"status": order.status})
        said = _said_before(tx, order_id, event_type, return_id)
        if said is None and event_type == "ORDER_CANCELLED":
            said = _cancelled(order_id, order.reason or CancelReason.OPERATOR)
        if said is None:
            raise Conflict(f"the order never said {event_type}", {"status": order.status})
        return _emit(tx, order_id, event_type, said, correlation_id or row["correlation_id"])
    # Not unknown: cancelling it would give its money back.
    archive.refuse_archived(tx, caller, order_id)
    if event_type != "ORDER_CANCELLED":
        raise order_not_found(order_id)
    said = _cancelled(order_id, CancelReason.UNKNOWN_ORDER)
    return _emit(tx, order_id, event_type, said, correlation_id or str(order_id))


def _said_before(tx: Transaction, order_id: UUID, event_type: str, return_id: str | None) -> _Said | None:
    """The payload, word for word, and of which version it is: that of today may be another."""
    rows = tx.fetch(_EMITTED, order_id=str(order_id), event_type=event_type, return_id=return_id)
    return (rows[0].payload, rows[0].schema_version) if rows else None


def _cancelled(order_id: UUID, reason: CancelReason) -> _Said:
    return {"id": str(order_id), "reason": str(reason)}, PUBLISHED["ORDER_CANCELLED"].schema_version


def _emit(tx: Transaction, order_id: UUID, event_type: str, said: _Said, correlation_id: str) -> UUID:
    """In the timeline too, where the repair is its cause."""
    changes = Changes()
    cause = caused_by(None, type="REPAIR_REQUESTED", source=SERVICE, now=tx.now, correlation_id=correlation_id)
    asked = {"id": str(order_id), "says": event_type}
    changes.timeline.append(timeline_row(cause, order_id, asked, decision="applied", note="reconciled"))
    payload, version = said
    event = caused_by(cause, type=event_type, source=SERVICE, now=tx.now, schema_version=version)
    changes.timeline.append(timeline_row(event, order_id, payload, decision="emitted", note="said once more"))
    changes.outgoing.append(Outgoing(envelope=event, aggregate_id=str(order_id), payload=payload))
    changes.save(tx)
    return event.event_id
