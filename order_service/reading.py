"""Statements that look at orders and change nothing: one order, many orders' news, a page of found ones.

Owns: SQL and how rows become values, each text constant. Must not know: who may see what (it is told), which orders
are looked for (search.py finds their ids).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from order_service.queries import order_of
from order_service.states import Order
from shared.database import Transaction, rows_json

_SUMMARY = """id, user_id, seller_id, status, reason, price, currency, payment_mode, correlation_id,
              deadline_at, settled_at, created_at, updated_at, awaits_approval, fulfil_requested_at"""
_WHOLE = f"""{_SUMMARY}, shipping_address, stock, stock_generation, money, refunded, approved_at, tracking, flag,
       flagged_at, wake_at"""
_EVENT = """event_id, event_type, source, correlation_id, causation_id, occurred_at, recorded_at, decision, note,
            payload"""
_ORDERS = text(f"select {_WHOLE} from orders where id = any(cast(:ids as uuid[]))")  # noqa: S608
_HISTORY = text("""
select from_status, status, reason, event_id, at from order_status_history where order_id = :id order by id
""")
_EVENTS = text(f"select {_EVENT} from order_events where order_id = :id order by id")  # noqa: S608
# The same of many orders, each row with its order's id
_HISTORY_OF = text("""
select order_id, from_status, status, reason, event_id, at from order_status_history
where order_id = any(cast(:ids as uuid[])) order by id
""")
_EVENTS_OF = text(f"""
select order_id, {_EVENT} from order_events where order_id = any(cast(:ids as uuid[])) order by id
""")  # noqa: S608
_ITEMS_OF = text("""
select order_id, item, seller_id, quantity, price from order_items
where order_id = any(cast(:ids as uuid[])) order by item
""")
_RETURNS_OF = text("""
select o.order_id, o.id, o.restock, o.refund_amount, o.status, o.created_at,
       json_agg(json_build_object('item', l.item, 'quantity', l.quantity) order by l.item) as items
from order_returns o join order_return_lines l on l.return_id = o.id
where o.order_id = any(cast(:ids as uuid[])) group by o.id order by o.created_at, o.id
""")
# An order's events get their ids while its row is locked: none can come later with a lower id.
_EVENTS_AFTER = text(f"""
select w.position, e.*
from json_to_recordset(cast(:rows as json)) as w(position int, order_id uuid, after bigint)
cross join lateral (
    select id as seq, {_EVENT} from order_events
    where order_id = w.order_id and id > w.after order by id limit :most) e
order by w.position, e.seq
""")  # noqa: S608
# What the clock or an operator said of a saga moves nothing by itself.
_MOVED_AT = text("""
select order_id, max(recorded_at) as at from order_events
where order_id = any(cast(:ids as uuid[])) and decision <> 'ignored'
  and event_type <> all(cast(:at_rest as text[]))
group by order_id
""")
AT_REST = ["HALF_DEADLINE_PASSED", "DEADLINE_PASSED", "SAGA_NUDGED", "SAGA_RESOLVED"]
_SUMMARIES = text(f"select {_SUMMARY} from orders where id = any(cast(:ids as uuid[])) order by id desc")  # noqa: S608


def order_row(tx: Transaction, order_id: UUID) -> tuple[Order, Mapping[str, Any]] | None:
    """The order, and its row to be shown."""
    return order_rows(tx, [order_id]).get(order_id)


def order_rows(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, tuple[Order, Mapping[str, Any]]]:
    """The orders that exist among ``ids``, each with its row to be shown."""
    rows = tx.fetch(_ORDERS, ids=[str(id_) for id_ in ids])
    return {row.id: (order_of(row), dict(row._mapping)) for row in rows}


def history_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_HISTORY, id=order_id)]


def items_of(tx: Transaction, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    return _rows_of(tx, _ITEMS_OF, ids)


def returns_of(tx: Transaction, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    return _rows_of(tx, _RETURNS_OF, ids)


def history_of(tx: Transaction, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    return _rows_of(tx, _HISTORY_OF, ids)


def events_of(tx: Transaction, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    return _rows_of(tx, _EVENTS_OF, ids)


def _rows_of(tx: Transaction, statement: TextClause, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(statement, ids=[str(id_) for id_ in ids])]


def event_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_EVENTS, id=order_id)]


def events_after(tx: Transaction, wanted: Sequence[tuple[int, UUID, int]], most: int) -> list[Mapping[str, Any]]:
    """For each (position, order id, last one known) at most ``most`` events that follow, as recorded."""
    rows = [{"position": position, "order_id": id_, "after": after} for position, id_, after in wanted]
    found = tx.fetch(_EVENTS_AFTER, rows=rows_json(rows), most=most) if rows else []
    return [dict(row._mapping) for row in found]


def summary_rows(tx: Transaction, ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    """Newest first."""
    found = tx.fetch(_SUMMARIES, ids=[str(id_) for id_ in ids]) if ids else []
    return [dict(row._mapping) for row in found]


def moved_at(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Since when each order waits for what it waits for: the last thing that moved it."""
    rows = tx.fetch(_MOVED_AT, ids=[str(id_) for id_ in ids], at_rest=AT_REST)
    return {row.order_id: row.at for row in rows}
