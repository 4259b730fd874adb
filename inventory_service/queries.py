"""Statements of the inventory service on holdings and stock: set-based, one per table and batch, each text constant.

Owns: SQL and how rows become values. Functions that lock end in _for_update. Locks are always taken in this order:
sagas sorted by order (a timer waits for none of them), then stock sorted by item.
Must not know: why something is saved. Those on products stand in product_queries.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from inventory_service.states import Holding, HoldingStatus, Line, Movement, Return, Terms
from shared.database import Transaction
from shared.envelope import Envelope

# Holdings

# Insert first, then lock: without a row to lock, ORDER_CREATED and ORDER_CANCELLED on two connections would both
# see nothing, and stock would stay held for a cancelled order. Customer and seller are indexed, and known now: an
# update that does not change them touches no index.
_ENSURE_SAGAS = text("""
insert into sagas (order_id, status, generation, cancelled, user_id, seller_id)
select order_id, 'OPEN', 0, false, user_id, seller_id
from json_to_recordset(cast(:rows as json)) as r(order_id uuid, user_id text, seller_id text)
order by order_id on conflict do nothing
""")
_SAGA = """
select s.order_id, s.status, s.generation, s.manual, s.cancelled, s.user_id, s.price, s.currency, s.payment_mode,
       s.payment_method, s.seller_id, s.correlation_id
from sagas s
"""
_SAGAS_FOR_UPDATE = text(f"{_SAGA} where s.order_id = any(cast(:ids as uuid[])) order by s.order_id for update")
# A timer on every replica: each takes what the others have not locked, the longest due first (along reservations_wake).
# Nothing is waited for here, so these rows need no order among themselves; the stock rows after them are sorted.
_DUE_SAGAS_FOR_UPDATE = text(f"""
{_SAGA} join reservations r using (order_id, generation)
where r.status = 'RESERVED' and r.wake_at <= :now
order by r.wake_at limit :limit for update of s skip locked
""")
# After the lock, in a statement of its own: its snapshot sees what the last holder of the lock committed.
_HELD = text("""
select r.order_id, r.expires_at, r.wake_at from sagas s join reservations r using (order_id, generation)
where s.order_id = any(cast(:ids as uuid[])) and r.status = 'RESERVED'
""")
_LINES = text("select order_id, item, quantity from order_lines where order_id = any(cast(:ids as uuid[]))")
_RETURNS = text("""
select order_id, return_id, item, quantity, restocked from return_lines where order_id = any(cast(:ids as uuid[]))
""")
_UPDATE_SAGAS = text("""
update sagas s
set status = r.status, generation = r.generation, cancelled = r.cancelled, price = r.price, currency = r.currency,
    payment_mode = r.payment_mode, payment_method = r.payment_method, user_id = coalesce(r.user_id, s.user_id),
    seller_id = coalesce(r.seller_id, s.seller_id), correlation_id = coalesce(s.correlation_id, r.correlation_id)
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, status text, generation int, cancelled boolean, user_id text, price numeric, currency text,
    payment_mode text, payment_method text, seller_id text, correlation_id text)
where s.order_id = r.order_id
""")
_INSERT_LINES = text("""
insert into order_lines (order_id, item, quantity)
select order_id, item, quantity
from json_to_recordset(cast(:rows as json)) as r(order_id uuid, item text, quantity int)
on conflict do nothing
""")
# The event that told of a reservation first is kept: a later change of its row brings none.
_SAVE_RESERVATIONS = text("""
insert into reservations as old (order_id, generation, status, expires_at, wake_at, created_at, ended_at,
                                 event_id, causation_id, traceparent)
select order_id, generation, status, expires_at, wake_at, :now, case when status = 'RESERVED' then null else :now end,
       event_id, causation_id, traceparent
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, generation int, status text, expires_at timestamptz, wake_at timestamptz,
    event_id uuid, causation_id uuid, traceparent text)
on conflict (order_id, generation) do update
set status = excluded.status, expires_at = excluded.expires_at, wake_at = excluded.wake_at,
    ended_at = excluded.ended_at
""")
_INSERT_RETURNS = text("""
insert into return_lines (order_id, return_id, item, quantity, restocked, created_at)
select order_id, return_id, item, quantity, restocked, :now
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, return_id uuid, item text, quantity int, restocked boolean)
""")
_ANNOUNCEMENTS = text("""
select r.order_id, r.event_id, r.causation_id, r.traceparent, r.created_at, s.correlation_id
from sagas s join reservations r using (order_id, generation)
where s.order_id = any(cast(:ids as uuid[])) and r.event_id is not null
""")


def ensure_sagas(tx: Transaction, orders: Mapping[UUID, Terms | None]) -> None:
    """A row for each order, with its customer and seller where they are known by now."""
    rows = [
        {
            "order_id": order_id,
            "user_id": terms.user_id if terms else None,
            "seller_id": terms.seller_id if terms else None,
        }
        for order_id, terms in orders.items()
    ]
    tx.save(_ENSURE_SAGAS, rows)


def holdings_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Holding]:
    """The holding of each order; its row must exist (:func:`ensure_sagas`)."""
    return _holdings(tx, tx.fetch(_SAGAS_FOR_UPDATE, ids=_texts(ids)))


def due_holdings_for_update(tx: Transaction, limit: int) -> tuple[dict[UUID, Holding], dict[UUID, str]]:
    """Holdings that the timer must look at and no other transaction holds, and their correlation ids."""
    rows = tx.fetch(_DUE_SAGAS_FOR_UPDATE, now=tx.now, limit=limit)
    return _holdings(tx, rows), {row.order_id: row.correlation_id or str(row.order_id) for row in rows}


def _holdings(tx: Transaction, rows: Sequence[Any]) -> dict[UUID, Holding]:
    known = [str(row.order_id) for row in rows if row.status != HoldingStatus.OPEN]
    held = {r.order_id: r for r in tx.fetch(_HELD, ids=known)} if known else {}
    lines: dict[UUID, list[Line]] = {}
    for row in tx.fetch(_LINES, ids=known) if known else ():
        lines.setdefault(row.order_id, []).append(Line(item=row.item, quantity=row.quantity))
    return {row.order_id: _holding(row, held.get(row.order_id), lines.get(row.order_id, [])) for row in rows}


def _holding(row: Any, held: Any, lines: Sequence[Line]) -> Holding:
    """Lines sorted here as they were when they came, not by the database's collation: they are published again."""
    terms = Terms(
        user_id=row.user_id,
        price=row.price,
        currency=row.currency,
        payment_mode=row.payment_mode,
        payment_method=row.payment_method,
        seller_id=row.seller_id,
    )
    return Holding(
        order_id=row.order_id,
        status=HoldingStatus(row.status),
        generation=row.generation,
        manual=row.manual,
        cancelled=row.cancelled,
        expires_at=held.expires_at if held else None,
        wake_at=held.wake_at if held else None,
        lines=tuple(sorted(lines, key=lambda line: line.item)),
        terms=terms if row.price is not None else None,
    )


def returns(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, tuple[Return, ...]]:
    """What came back so far of each order that something came back of."""
    found: dict[UUID, dict[tuple[UUID, bool], list[Line]]] = {}
    for row in tx.fetch(_RETURNS, ids=_texts(ids)):
        lines = found.setdefault(row.order_id, {}).setdefault((row.return_id, row.restocked), [])
        lines.append(Line(item=row.item, quantity=row.quantity))
    return {
        order_id: tuple(
            Return(return_id=return_id, lines=tuple(lines), restocked=restocked)
            for (return_id, restocked), lines in of_order.items()
        )
        for order_id, of_order in found.items()
    }


def announcements(tx: Transaction, ids: Iterable[UUID], *, source: str, schema_version: int) -> dict[UUID, Envelope]:
    """The envelopes under which these orders' reservations were published first."""
    return {
        row.order_id: Envelope(
            event_id=row.event_id,
            type="INVENTORY_RESERVED",
            source=source,
            correlation_id=row.correlation_id,
            causation_id=row.causation_id,
            occurred_at=row.created_at,
            schema_version=schema_version,
            traceparent=row.traceparent,
        )
        for row in tx.fetch(_ANNOUNCEMENTS, ids=_texts(ids))
    }


def update_sagas(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_UPDATE_SAGAS, rows)


def insert_lines(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_LINES, rows)


def save_reservations(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_SAVE_RESERVATIONS, rows, now=tx.now)


def insert_returns(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_RETURNS, rows, now=tx.now)


# Manual holds, and reservations as they are shown

# Waits for another transaction that inserts the same reference, and then finds it taken.
_INSERT_HOLD = text("""
insert into sagas (order_id, status, generation, manual, cancelled, reference, seller_id)
values (cast(:id as uuid), 'OPEN', 0, true, false, :reference, :seller_id)
on conflict do nothing returning order_id
""")
_RESERVATION = """
select r.order_id as id, case when s.manual then 'manual' else 'order' end as kind, s.reference, s.user_id,
       s.seller_id, r.status, r.generation, r.expires_at, r.created_at, r.ended_at,
       (select json_agg(json_build_object('item', l.item, 'quantity', l.quantity) order by l.item collate "C")
        from order_lines l where l.order_id = r.order_id) as items
from sagas s join reservations r using (order_id, generation)
"""
_ONE_RESERVATION = text(f"{_RESERVATION} where s.order_id = cast(:id as uuid)")
_PARTIES = text("select user_id, seller_id from sagas where order_id = cast(:id as uuid)")
# Ids are in the order of time, and each list walks an index in their order: the primary key, sagas_of_user or
# sagas_of_seller. A customer has few orders, so that narrowing theirs to one seller needs no index.
_NEWEST = """
  and (cast(:status as text) is null or r.status = :status)
  and (cast(:before as uuid) is null or s.order_id < cast(:before as uuid))
order by s.order_id desc limit :limit
"""
_NEWEST_OF_ALL = text(f"{_RESERVATION} where true {_NEWEST}")
_NEWEST_OF_SELLER = text(f"{_RESERVATION} where s.seller_id = :seller_id {_NEWEST}")
_NEWEST_OF_USER = text(f"""
{_RESERVATION}
where s.user_id = :user_id and (cast(:seller_id as text) is null or s.seller_id = :seller_id) {_NEWEST}
""")


def insert_hold(tx: Transaction, hold_id: UUID, reference: str | None, seller_id: str | None) -> bool:
    """False when the reference is another hold's."""
    return bool(tx.fetch(_INSERT_HOLD, id=str(hold_id), reference=reference, seller_id=seller_id))


def parties(tx: Transaction, id_: UUID) -> tuple[str | None, str | None] | None:
    """(customer, seller) of a holding, as far as they are known; None where there is no such holding."""
    rows = tx.fetch(_PARTIES, id=str(id_))
    return (rows[0].user_id, rows[0].seller_id) if rows else None


def reservation_row(tx: Transaction, id_: UUID) -> Mapping[str, Any] | None:
    """The newest generation of one holding; None where nothing ever was held."""
    rows = tx.fetch(_ONE_RESERVATION, id=str(id_))
    return dict(rows[0]._mapping) if rows else None


def reservation_rows(
    tx: Transaction,
    *,
    limit: int,
    before: UUID | None,
    status: str | None,
    user_id: str | None,
    seller_id: str | None,
) -> list[Mapping[str, Any]]:
    """Newest first, from the one before ``before``; of one customer, of one seller, or of everybody."""
    of_some = _NEWEST_OF_SELLER if seller_id is not None else _NEWEST_OF_ALL
    whose: dict[str, Any] = {"seller_id": seller_id} if seller_id is not None else {}
    if user_id is not None:
        of_some, whose = _NEWEST_OF_USER, {"user_id": user_id, "seller_id": seller_id}
    rows = tx.fetch(of_some, limit=limit, status=status, before=str(before) if before else None, **whose)
    return [dict(row._mapping) for row in rows]


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
insert into stock_movements (item, kind, delta_on_hand, delta_reserved, order_id, generation, event_id, reason, at)
select item, kind, delta_on_hand, delta_reserved, order_id, generation, event_id, reason, :now
from json_to_recordset(cast(:rows as json)) as r(
    item text, kind text, delta_on_hand int, delta_reserved int, order_id uuid, generation int, event_id uuid,
    reason text)
""")


_MOVEMENTS = text("""
select m.id, m.item, m.kind, m.delta_on_hand, m.delta_reserved, m.order_id, m.generation, m.event_id, m.reason, m.at,
    case when s.manual then 'manual' when m.order_id is not null then 'order' end as reservation_kind
from stock_movements m left join sagas s using (order_id)
where m.item = :item and (cast(:before as bigint) is null or m.id < cast(:before as bigint))
order by m.id desc limit :limit
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
    movement: Movement,
    *,
    order_id: UUID | None = None,
    generation: int | None = None,
    event_id: UUID | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {
        "item": movement.item,
        "kind": movement.kind,
        "delta_on_hand": movement.delta_on_hand,
        "delta_reserved": movement.delta_reserved,
        "order_id": order_id,
        "generation": generation,
        "event_id": event_id,
        "reason": reason,
    }


def insert_movements(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_MOVEMENTS, rows, now=tx.now)


def movement_rows(tx: Transaction, item: str, *, limit: int, before: int | None) -> list[Mapping[str, Any]]:
    """Newest first."""
    return [dict(row._mapping) for row in tx.fetch(_MOVEMENTS, item=item, limit=limit, before=before)]


def _texts(ids: Iterable[UUID]) -> list[str]:
    return sorted({str(id_) for id_ in ids})
