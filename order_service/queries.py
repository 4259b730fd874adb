"""Every statement that places and moves orders: set-based, one per table and batch, each text constant.

Owns: SQL and how rows become values. Functions that lock end in _for_update; rows are locked in the order of their id.
Must not know: why something is saved; how orders are looked at (reading.py, search.py), carts (cart_queries.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from order_service.pricing import Product
from order_service.returns import AWAIT_REFUND, ReturnStatus, Shipped
from order_service.schemas import PriceListEntry
from order_service.states import CancelReason, Flag, Money, Order, OrderStatus, Stock
from shared.database import Transaction

# Orders

_STATE = """id, status, reason, price, stock, stock_generation, money, refunded, awaits_approval, approved_at,
            fulfil_requested_at, tracking, flag, flagged_at, deadline_at, wake_at, settled_at"""
_ORDERS_FOR_UPDATE = text(f"""
select {_STATE} from orders where id = any(cast(:ids as uuid[])) order by id for update
""")  # noqa: S608
_ORDER_FOR_UPDATE = text(f"""
select {_STATE}, user_id, seller_id, currency, payment_method, payment_mode, correlation_id
from orders where id = :id for update
""")  # noqa: S608
# Several replicas' timers may ask at once: a row that one of them holds is skipped by the others.
_DUE_FOR_UPDATE = text(f"""
select {_STATE}, correlation_id
from orders where wake_at < :now order by wake_at limit :limit for update skip locked
""")  # noqa: S608
_INSERT_ORDERS = text("""
insert into orders (id, user_id, seller_id, status, price, currency, payment_method, payment_mode, shipping_address,
                    correlation_id, stock, stock_generation, money, refunded, awaits_approval, deadline_at, wake_at,
                    created_at, updated_at)
select id, user_id, seller_id, status, price, currency, payment_method, payment_mode, shipping_address,
       correlation_id, 'UNKNOWN', 0, 'UNKNOWN', 0, awaits_approval, deadline_at, wake_at, :now, :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, user_id text, seller_id text, status text, price numeric, currency text, payment_method text,
    payment_mode text, shipping_address jsonb, correlation_id text, awaits_approval boolean,
    deadline_at timestamptz, wake_at timestamptz)
""")
_UPDATE_ORDERS = text("""
update orders o
set status = r.status, reason = r.reason, stock = r.stock, stock_generation = r.stock_generation,
    money = r.money, refunded = r.refunded, awaits_approval = r.awaits_approval, approved_at = r.approved_at,
    fulfil_requested_at = r.fulfil_requested_at, tracking = r.tracking, flag = r.flag, flagged_at = r.flagged_at,
    deadline_at = r.deadline_at, wake_at = r.wake_at, settled_at = r.settled_at, updated_at = :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, status text, reason text, stock text, stock_generation int, money text, refunded numeric,
    awaits_approval boolean, approved_at timestamptz, fulfil_requested_at timestamptz, tracking text, flag text,
    flagged_at timestamptz, deadline_at timestamptz, wake_at timestamptz, settled_at timestamptz)
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
                          occurred_at, recorded_at, decision, note, schema_version, payload)
select order_id, event_id, event_type, source, correlation_id, causation_id,
       occurred_at, :now, decision, note, schema_version, payload
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, event_id uuid, event_type text, source text, correlation_id text, causation_id uuid,
    occurred_at timestamptz, decision text, note text, schema_version smallint, payload json)
""")


def orders_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Order]:
    """The orders that exist among ``ids``."""
    rows = tx.fetch(_ORDERS_FOR_UPDATE, ids=[str(id_) for id_ in set(ids)])
    return {row.id: order_of(row) for row in rows}


def order_for_update(tx: Transaction, order_id: UUID) -> tuple[Order, Mapping[str, Any]] | None:
    """One order, and all of its row that a command may need."""
    rows = tx.fetch(_ORDER_FOR_UPDATE, id=order_id)
    return (order_of(rows[0]), dict(rows[0]._mapping)) if rows else None


def due_orders_for_update(tx: Transaction, limit: int) -> list[tuple[Order, str]]:
    """Orders that the timer must look at and no other transaction holds, with their correlation ids."""
    rows = tx.fetch(_DUE_FOR_UPDATE, now=tx.now, limit=limit)
    return [(order_of(row), row.correlation_id) for row in rows]


def order_of(row: Row[Any]) -> Order:
    return Order(
        id=row.id,
        status=OrderStatus(row.status),
        price=row.price,
        reason=CancelReason(row.reason) if row.reason else None,
        stock=Stock(row.stock),
        stock_generation=row.stock_generation,
        money=Money(row.money),
        refunded=row.refunded,
        awaits_approval=row.awaits_approval,
        approved_at=row.approved_at,
        fulfil_requested_at=row.fulfil_requested_at,
        tracking=row.tracking,
        flag=Flag(row.flag) if row.flag else None,
        flagged_at=row.flagged_at,
        deadline_at=row.deadline_at,
        wake_at=row.wake_at,
        settled_at=row.settled_at,
    )


def insert_orders(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_ORDERS, rows, now=tx.now)


def insert_items(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_ITEMS, rows)


def update_orders(tx: Transaction, orders: Iterable[Order]) -> None:
    tx.save(_UPDATE_ORDERS, [_order_row(order) for order in orders], now=tx.now)


def _order_row(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "status": order.status,
        "reason": order.reason,
        "stock": order.stock,
        "stock_generation": order.stock_generation,
        "money": order.money,
        "refunded": order.refunded,
        "awaits_approval": order.awaits_approval,
        "approved_at": order.approved_at,
        "fulfil_requested_at": order.fulfil_requested_at,
        "tracking": order.tracking,
        "flag": order.flag,
        "flagged_at": order.flagged_at,
        "deadline_at": order.deadline_at,
        "wake_at": order.wake_at,
        "settled_at": order.settled_at,
    }


def insert_history(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_HISTORY, rows, now=tx.now)


def insert_events(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_EVENTS, rows, now=tx.now)


# An order's own events, to be published once more

_LAST_EMITTED = text("""
select distinct on (order_id) order_id, event_id, event_type, correlation_id, causation_id, occurred_at,
       schema_version, payload
from order_events where order_id = any(cast(:ids as uuid[])) and decision = 'emitted'
order by order_id, id desc
""")


def last_emitted_rows(tx: Transaction, ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    """The newest event of its own that each of these orders has."""
    return tx.fetch(_LAST_EMITTED, ids=[str(id_) for id_ in ids])


# Returns

# The order's row is locked before: nobody else returns any of it meanwhile.
_SHIPPED = text("""
select i.item, i.quantity, i.price, coalesce(r.quantity, 0) as returned
from order_items i
left join (select l.item, sum(l.quantity) as quantity
           from order_returns o join order_return_lines l on l.return_id = o.id
           where o.order_id = :order_id group by l.item) r on r.item = i.item
where i.order_id = :order_id order by i.item
""")
_INSERT_RETURNS = text("""
insert into order_returns (id, order_id, restock, refund_amount, status, created_at, updated_at)
select id, order_id, restock, refund_amount, status, :now, :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, order_id uuid, restock boolean, refund_amount numeric, status text)
""")
_INSERT_RETURN_LINES = text("""
insert into order_return_lines (return_id, item, quantity)
select return_id, item, quantity
from json_to_recordset(cast(:rows as json)) as r(return_id uuid, item text, quantity int)
""")
_UPDATE_RETURNS = text("""
update order_returns o set status = r.status, updated_at = :now
from json_to_recordset(cast(:rows as json)) as r(id uuid, order_id uuid, status text)
where o.id = r.id and o.order_id = r.order_id and o.status = any(cast(:from_statuses as text[]))
""")
_RETURNS = text("""
select o.id, o.restock, o.refund_amount, o.status, o.created_at,
       json_agg(json_build_object('item', l.item, 'quantity', l.quantity) order by l.item) as items
from order_returns o join order_return_lines l on l.return_id = o.id
where o.order_id = :order_id group by o.id order by o.created_at, o.id
""")


def shipped_lines(tx: Transaction, order_id: UUID) -> list[Shipped]:
    """The lines of an order that the caller has locked, with what came back of each."""
    rows = tx.fetch(_SHIPPED, order_id=order_id)
    return [Shipped(item=r.item, quantity=r.quantity, price=r.price, returned=int(r.returned)) for r in rows]


def insert_return(tx: Transaction, row: dict[str, Any], lines: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_RETURNS, [row], now=tx.now)
    tx.save(_INSERT_RETURN_LINES, [{"return_id": row["id"], **line} for line in lines])


def end_returns(tx: Transaction, refunds: Mapping[tuple[UUID, UUID], ReturnStatus]) -> None:
    """What became of the refunds, by (order id, return id); refunds that are for no return change nothing."""
    rows = [{"id": id_, "order_id": order_id, "status": status} for (order_id, id_), status in refunds.items()]
    tx.save(_UPDATE_RETURNS, rows, now=tx.now, from_statuses=list(AWAIT_REFUND))


def return_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_RETURNS, order_id=order_id)]


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


_ITEMS = text("select item, seller_id, quantity, price from order_items where order_id = :id order by item")


def item_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_ITEMS, id=order_id)]
