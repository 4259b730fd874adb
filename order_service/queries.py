"""Every statement of the order service: set-based, one per table and batch, each text constant.

Owns: SQL and how rows become values. Functions that lock end in _for_update; rows are locked in the order of their id.
Must not know: why something is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from order_service.domain import CancelReason, Money, Order, OrderStatus, Stock
from order_service.pricing import Product
from order_service.schemas import PriceListEntry
from shared.database import Transaction

# Orders

_ORDERS_FOR_UPDATE = text("""
select id, status, reason, price, currency, stock, stock_generation, money, deadline_at, settled_at, correlation_id
from orders where id = any(cast(:ids as uuid[])) order by id for update
""")
# Several replicas' timers may ask at once: a row that one of them holds is skipped by the others.
_OVERDUE_FOR_UPDATE = text("""
select id, status, reason, price, currency, stock, stock_generation, money, deadline_at, settled_at, correlation_id
from orders where deadline_at < :now order by deadline_at limit :limit for update skip locked
""")
_INSERT_ORDERS = text("""
insert into orders (id, user_id, seller_id, status, price, currency, payment_method, payment_mode, shipping_address,
                    correlation_id, stock, stock_generation, money, deadline_at, created_at, updated_at)
select id, user_id, seller_id, status, price, currency, payment_method, payment_mode, shipping_address,
       correlation_id, 'UNKNOWN', 0, 'UNKNOWN', deadline_at, :now, :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, user_id text, seller_id text, status text, price numeric, currency text, payment_method text,
    payment_mode text, shipping_address jsonb, correlation_id text, deadline_at timestamptz)
""")
_UPDATE_ORDERS = text("""
update orders o
set status = r.status, reason = r.reason, stock = r.stock, stock_generation = r.stock_generation,
    money = r.money, deadline_at = r.deadline_at, settled_at = r.settled_at, updated_at = :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, status text, reason text, stock text, stock_generation int, money text,
    deadline_at timestamptz, settled_at timestamptz)
where o.id = r.id
""")
_INSERT_ITEMS = text("""
insert into order_items (order_id, item, seller_id, quantity, price)
select order_id, item, seller_id, quantity, price
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, item text, seller_id text, quantity int, price numeric)
""")
_INSERT_HISTORY = text("""
insert into order_status_history (order_id, from_status, status, reason, event_id, at)
select order_id, from_status, status, reason, event_id, :now
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, from_status text, status text, reason text, event_id uuid)
""")
_INSERT_EVENTS = text("""
insert into order_events (order_id, event_id, event_type, source, correlation_id, causation_id,
                          occurred_at, recorded_at, decision, note, payload)
select order_id, event_id, event_type, source, correlation_id, causation_id,
       occurred_at, :now, decision, note, payload
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, event_id uuid, event_type text, source text, correlation_id text, causation_id uuid,
    occurred_at timestamptz, decision text, note text, payload json)
""")


def orders_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Order]:
    """The orders that exist among ``ids``."""
    rows = tx.fetch(_ORDERS_FOR_UPDATE, ids=[str(id_) for id_ in set(ids)])
    return {row.id: _order(row) for row in rows}


def overdue_orders_for_update(tx: Transaction, limit: int) -> dict[UUID, tuple[Order, str]]:
    """Orders past their deadline that no other transaction holds, with their correlation ids."""
    rows = tx.fetch(_OVERDUE_FOR_UPDATE, now=tx.now, limit=limit)
    return {row.id: (_order(row), row.correlation_id) for row in rows}


def _order(row: Row[Any]) -> Order:
    return Order(
        id=row.id,
        status=OrderStatus(row.status),
        price=row.price,
        reason=CancelReason(row.reason) if row.reason else None,
        stock=Stock(row.stock),
        stock_generation=row.stock_generation,
        money=Money(row.money),
        deadline_at=row.deadline_at,
        settled_at=row.settled_at,
    )


def insert_orders(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_ORDERS, rows, now=tx.now)


def insert_items(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_ITEMS, rows)


def update_orders(tx: Transaction, orders: Iterable[Order]) -> None:
    rows = [
        {
            "id": order.id,
            "status": order.status,
            "reason": order.reason,
            "stock": order.stock,
            "stock_generation": order.stock_generation,
            "money": order.money,
            "deadline_at": order.deadline_at,
            "settled_at": order.settled_at,
        }
        for order in orders
    ]
    tx.save(_UPDATE_ORDERS, rows, now=tx.now)


def insert_history(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_HISTORY, rows, now=tx.now)


def insert_events(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_EVENTS, rows, now=tx.now)


# The price list

_PRODUCTS = text("""
select item, seller_id, price, currency, active, requires_approval from products
where item = any(cast(:items as text[]))
""")
# Older versions are ignored; sorted, so that two batches with the same items do not deadlock.
_UPSERT_PRODUCTS = text("""
insert into products as p (item, version, name, seller_id, price, currency, active, requires_approval)
select item, version, name, seller_id, price, currency, active, requires_approval
from json_to_recordset(cast(:rows as json)) as r(
    item text, version int, name text, seller_id text, price numeric, currency text, active boolean,
    requires_approval boolean)
order by item
on conflict (item) do update
set version = excluded.version, name = excluded.name, seller_id = excluded.seller_id, price = excluded.price,
    currency = excluded.currency, active = excluded.active, requires_approval = excluded.requires_approval
where p.version < excluded.version
""")


def products(tx: Transaction, items: Iterable[str]) -> dict[str, Product]:
    rows = tx.fetch(_PRODUCTS, items=sorted(set(items)))
    return {row.item: Product(**row._mapping) for row in rows}


def upsert_products(tx: Transaction, entries: Iterable[PriceListEntry]) -> None:
    """``entries`` hold each item once."""
    rows = [
        {
            "item": entry.product.item,
            "version": entry.version,
            "name": entry.name,
            "seller_id": entry.product.seller_id,
            "price": entry.product.price,
            "currency": entry.product.currency,
            "active": entry.product.active,
            "requires_approval": entry.product.requires_approval,
        }
        for entry in entries
    ]
    tx.save(_UPSERT_PRODUCTS, rows)


# Reading

_SUMMARY = """id, user_id, seller_id, status, reason, price, currency, payment_mode, correlation_id,
              deadline_at, settled_at, created_at, updated_at"""
_ORDER = text(f"select {_SUMMARY}, shipping_address, stock, money from orders where id = :id")  # noqa: S608
_ITEMS = text("select item, seller_id, quantity, price from order_items where order_id = :id order by item")
_HISTORY = text("""
select from_status, status, reason, event_id, at from order_status_history where order_id = :id order by id
""")
_EVENTS = text("""
select event_id, event_type, source, correlation_id, causation_id, occurred_at, recorded_at, decision, note, payload
from order_events where order_id = :id order by id
""")
_LIST = text(f"""
select {_SUMMARY} from orders
where (cast(:status as text) is null or status = :status)
  and (cast(:user_id as text) is null or user_id = :user_id)
  and (cast(:before as uuid) is null or id < cast(:before as uuid))
order by id desc limit :limit
""")  # noqa: S608


def order_row(tx: Transaction, order_id: UUID) -> Mapping[str, Any] | None:
    rows = tx.fetch(_ORDER, id=order_id)
    return dict(rows[0]._mapping) if rows else None


def item_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_ITEMS, id=order_id)]


def history_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_HISTORY, id=order_id)]


def event_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_EVENTS, id=order_id)]


def newest_orders(
    tx: Transaction, *, limit: int, before: UUID | None, status: str | None, user_id: str | None
) -> list[Mapping[str, Any]]:
    """Newest first (ids are time-ordered), older than ``before``."""
    rows = tx.fetch(_LIST, limit=limit, before=before, status=status, user_id=user_id)
    return [dict(row._mapping) for row in rows]
