"""Every statement of the inventory service: set-based, one per table and batch, each text constant.

Owns: SQL and how rows become values. Functions that lock end in _for_update. Locks are always taken in this order:
sagas sorted by order, then stock sorted by item.
Must not know: why something is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from inventory_service.domain import Holding, HoldingStatus, Line, Movement, Terms
from inventory_service.schemas import NewProduct
from shared.database import Transaction

# Holdings

# Insert first, then lock: without a row to lock, ORDER_CREATED and ORDER_CANCELLED on two connections would both
# see nothing, and stock would stay held for a cancelled order.
_ENSURE_SAGAS = text("""
insert into sagas (order_id, status, generation, cancelled)
select order_id, 'OPEN', 0, false from unnest(cast(:ids as uuid[])) as w(order_id)
order by order_id on conflict do nothing
""")
_SAGAS_FOR_UPDATE = text("""
select s.order_id, s.status, s.generation, s.cancelled, s.user_id, s.price, s.currency, s.payment_mode,
       s.payment_method, s.correlation_id
from sagas s where s.order_id = any(cast(:ids as uuid[])) order by s.order_id for update
""")
# A timer on every replica: each takes what the others have not locked.
_EXPIRED_SAGAS_FOR_UPDATE = text("""
select s.order_id, s.status, s.generation, s.cancelled, s.user_id, s.price, s.currency, s.payment_mode,
       s.payment_method, s.correlation_id
from sagas s join reservations r using (order_id, generation)
where r.status = 'RESERVED' and r.expires_at <= :now
order by s.order_id limit :limit for update of s skip locked
""")
# After the lock, in a statement of its own: its snapshot sees what the last holder of the lock committed.
_HELD = text("""
select r.order_id, r.expires_at from sagas s join reservations r using (order_id, generation)
where s.order_id = any(cast(:ids as uuid[])) and r.status = 'RESERVED'
""")
_LINES = text("""
select order_id, item, quantity from order_lines where order_id = any(cast(:ids as uuid[])) order by order_id, item
""")
_UPDATE_SAGAS = text("""
update sagas s
set status = r.status, generation = r.generation, cancelled = r.cancelled, user_id = r.user_id, price = r.price,
    currency = r.currency, payment_mode = r.payment_mode, payment_method = r.payment_method,
    correlation_id = coalesce(s.correlation_id, r.correlation_id)
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, status text, generation int, cancelled boolean, user_id text, price numeric, currency text,
    payment_mode text, payment_method text, correlation_id text)
where s.order_id = r.order_id
""")
_INSERT_LINES = text("""
insert into order_lines (order_id, item, quantity)
select order_id, item, quantity
from json_to_recordset(cast(:rows as json)) as r(order_id uuid, item text, quantity int)
on conflict do nothing
""")
_SAVE_RESERVATIONS = text("""
insert into reservations as old (order_id, generation, status, expires_at, created_at, ended_at)
select order_id, generation, status, expires_at, :now, case when status = 'RESERVED' then null else :now end
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, generation int, status text, expires_at timestamptz)
on conflict (order_id, generation) do update
set status = excluded.status, expires_at = excluded.expires_at, ended_at = excluded.ended_at
""")


def ensure_sagas(tx: Transaction, ids: Iterable[UUID]) -> None:
    tx.execute(_ENSURE_SAGAS, ids=_texts(ids))


def holdings_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Holding]:
    """The holding of each order; its row must exist (:func:`ensure_sagas`)."""
    return _holdings(tx, tx.fetch(_SAGAS_FOR_UPDATE, ids=_texts(ids)))


def expired_holdings_for_update(tx: Transaction, limit: int) -> tuple[dict[UUID, Holding], dict[UUID, str]]:
    """Holdings past their expiry that no other transaction holds, and their correlation ids."""
    rows = tx.fetch(_EXPIRED_SAGAS_FOR_UPDATE, now=tx.now, limit=limit)
    return _holdings(tx, rows), {row.order_id: row.correlation_id or str(row.order_id) for row in rows}


def _holdings(tx: Transaction, rows: Sequence[Any]) -> dict[UUID, Holding]:
    known = [str(row.order_id) for row in rows if row.status != HoldingStatus.OPEN]
    expiries = {r.order_id: r.expires_at for r in tx.fetch(_HELD, ids=known)} if known else {}
    lines: dict[UUID, list[Line]] = {}
    for row in tx.fetch(_LINES, ids=known) if known else ():
        lines.setdefault(row.order_id, []).append(Line(item=row.item, quantity=row.quantity))
    return {row.order_id: _holding(row, expiries.get(row.order_id), lines.get(row.order_id, [])) for row in rows}


def _holding(row: Any, expires_at: Any, lines: Sequence[Line]) -> Holding:
    terms = Terms(
        user_id=row.user_id,
        price=row.price,
        currency=row.currency,
        payment_mode=row.payment_mode,
        payment_method=row.payment_method,
    )
    return Holding(
        order_id=row.order_id,
        status=HoldingStatus(row.status),
        generation=row.generation,
        cancelled=row.cancelled,
        expires_at=expires_at,
        lines=tuple(lines),
        terms=terms if row.user_id is not None else None,
    )


def update_sagas(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_UPDATE_SAGAS, rows)


def insert_lines(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_LINES, rows)


def save_reservations(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_SAVE_RESERVATIONS, rows, now=tx.now)


# Stock

_AVAILABLE_FOR_UPDATE = text("""
select item, on_hand, reserved from stock where item = any(cast(:items as text[])) order by item for update
""")
_UPDATE_STOCK = text("""
update stock s set on_hand = s.on_hand + r.on_hand, reserved = s.reserved + r.reserved
from json_to_recordset(cast(:rows as json)) as r(item text, on_hand int, reserved int)
where s.item = r.item
""")
_INSERT_MOVEMENTS = text("""
insert into stock_movements (item, kind, delta_on_hand, delta_reserved, order_id, generation, event_id, at)
select item, kind, delta_on_hand, delta_reserved, order_id, generation, event_id, :now
from json_to_recordset(cast(:rows as json)) as r(
    item text, kind text, delta_on_hand int, delta_reserved int, order_id uuid, generation int, event_id uuid)
""")


def stock_for_update(tx: Transaction, items: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Item → (on hand, reserved), for those that exist."""
    wanted = sorted(set(items))
    rows = tx.fetch(_AVAILABLE_FOR_UPDATE, items=wanted) if wanted else ()
    return {row.item: (row.on_hand, row.reserved) for row in rows}


def update_stock(tx: Transaction, deltas: Mapping[str, tuple[int, int]]) -> None:
    rows = [{"item": i, "on_hand": on_hand, "reserved": reserved} for i, (on_hand, reserved) in deltas.items()]
    tx.save(_UPDATE_STOCK, rows)


def movement_row(
    movement: Movement, *, order_id: UUID | None, generation: int | None, event_id: UUID | None
) -> dict[str, Any]:
    return {
        "item": movement.item,
        "kind": movement.kind,
        "delta_on_hand": movement.delta_on_hand,
        "delta_reserved": movement.delta_reserved,
        "order_id": order_id,
        "generation": generation,
        "event_id": event_id,
    }


def insert_movements(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_MOVEMENTS, rows, now=tx.now)


# Products

_INSERT_PRODUCT = text("""
insert into products (item, version, name, seller_id, price, currency, active, requires_approval, updated_at)
values (:item, 1, :name, :seller_id, :price, :currency, true, false, :now)
on conflict do nothing returning item
""")
_INSERT_STOCK = text("insert into stock (item, on_hand, reserved) values (:item, :on_hand, 0)")
_PRODUCT = """
select p.item, p.version, p.name, p.seller_id, p.price, p.currency, p.active, p.requires_approval, p.updated_at,
       s.on_hand, s.reserved, s.on_hand - s.reserved as available
from products p join stock s using (item)
"""
_ONE_PRODUCT = text(f"{_PRODUCT} where p.item = :item")
_PRODUCTS = text(f"""
{_PRODUCT} where cast(:after as text) is null or p.item > :after order by p.item limit :limit
""")


def insert_product(tx: Transaction, product: NewProduct) -> bool:
    """False when the item exists already."""
    inserted = tx.fetch(
        _INSERT_PRODUCT,
        item=product.item,
        name=product.name,
        seller_id=product.seller_id,
        price=product.price,
        currency=product.currency,
        now=tx.now,
    )
    if inserted:
        tx.execute(_INSERT_STOCK, item=product.item, on_hand=product.on_hand)
    return bool(inserted)


def product_row(tx: Transaction, item: str) -> Mapping[str, Any] | None:
    rows = tx.fetch(_ONE_PRODUCT, item=item)
    return dict(rows[0]._mapping) if rows else None


def product_rows(tx: Transaction, *, limit: int, after: str | None) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_PRODUCTS, limit=limit, after=after)]


def _texts(ids: Iterable[UUID]) -> list[str]:
    return sorted({str(id_) for id_ in ids})
