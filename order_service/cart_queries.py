"""Every statement about carts: set-based, each text constant.

Owns: SQL and how rows become values. A cart is locked before its lines are read or written, carts in the order of
their ids. Must not know: why something is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service.basket import Cart, CartStatus
from shared.database import Transaction

_CARTS_FOR_UPDATE = text("""
select id, user_id, status, order_id from carts where id = any(cast(:ids as uuid[])) order by id for update
""")
# A statement of its own, after the lock: its snapshot sees what the last holder of the lock committed.
_LINES = text("""
select cart_id, item, quantity from cart_items where cart_id = any(cast(:ids as uuid[])) order by cart_id, item
""")
_INSERT_CART = text("""
insert into carts (id, user_id, status, created_at, updated_at) values (:id, :user_id, 'OPEN', :now, :now)
""")
_INSERT_LINES = text("""
insert into cart_items (cart_id, item, quantity)
select cart_id, item, quantity from json_to_recordset(cast(:rows as json)) as r(cart_id uuid, item text, quantity int)
on conflict (cart_id, item) do update set quantity = excluded.quantity
""")
_DELETE_LINE = text("delete from cart_items where cart_id = :cart_id and item = :item")
_TOUCH = text("update carts set updated_at = :now where id = :cart_id")
_SET_ORDERED = text("""
update carts c set status = 'ORDERED', order_id = r.order_id, updated_at = :now
from json_to_recordset(cast(:rows as json)) as r(cart_id uuid, order_id uuid)
where c.id = r.cart_id
""")
_CART = text("select id, user_id, status, order_id, created_at, updated_at from carts where id = :cart_id")
_PRICED_LINES = text("""
select i.item, i.quantity, p.name, p.seller_id, p.price, p.currency, coalesce(p.active, false) as for_sale
from cart_items i left join products p on p.item = i.item
where i.cart_id = :cart_id order by i.item
""")


def carts_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Cart]:
    """The carts that exist among ``ids``, with their lines."""
    wanted = [str(id_) for id_ in set(ids)]
    rows = tx.fetch(_CARTS_FOR_UPDATE, ids=wanted)
    lines: dict[UUID, dict[str, int]] = {row.id: {} for row in rows}
    for line in tx.fetch(_LINES, ids=wanted) if rows else ():
        lines[line.cart_id][line.item] = line.quantity
    return {
        row.id: Cart(
            id=row.id,
            user_id=row.user_id,
            status=CartStatus(row.status),
            order_id=row.order_id,
            lines=lines[row.id],
        )
        for row in rows
    }


def insert_cart(tx: Transaction, cart_id: UUID, user_id: str) -> None:
    tx.execute(_INSERT_CART, id=cart_id, user_id=user_id, now=tx.now)


def put_lines(tx: Transaction, cart_id: UUID, lines: Mapping[str, int]) -> None:
    """Each item so many times, whatever it was before."""
    rows = [{"cart_id": cart_id, "item": item, "quantity": quantity} for item, quantity in lines.items()]
    tx.save(_INSERT_LINES, rows)


def delete_line(tx: Transaction, cart_id: UUID, item: str) -> None:
    tx.execute(_DELETE_LINE, cart_id=cart_id, item=item)


def touch(tx: Transaction, cart_id: UUID) -> None:
    tx.execute(_TOUCH, cart_id=cart_id, now=tx.now)


def set_ordered(tx: Transaction, orders: Mapping[UUID, UUID]) -> None:
    """Cart id → the order it became; the caller has locked these carts and found them open."""
    rows = [{"cart_id": cart_id, "order_id": order_id} for cart_id, order_id in orders.items()]
    tx.save(_SET_ORDERED, rows, now=tx.now)


def cart_row(tx: Transaction, cart_id: UUID) -> Mapping[str, Any] | None:
    rows = tx.fetch(_CART, cart_id=cart_id)
    return dict(rows[0]._mapping) if rows else None


def priced_lines(tx: Transaction, cart_id: UUID) -> Sequence[Mapping[str, Any]]:
    """The lines as they are shown: with what the price list says now."""
    return [dict(row._mapping) for row in tx.fetch(_PRICED_LINES, cart_id=cart_id)]
