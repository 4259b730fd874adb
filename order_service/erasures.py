"""Forgetting what is personal about a customer's finished orders, a batch at a time.

Owns: what is erased, in which tables, and how far an erasure has come. Orders, their money and their movements stay;
so does the customer's id, which is in the ledger of others too.
Must not know: who may ask for it (erasure_requests.py).

Where an address is: in the order's row or its archived document, and for a day in the answers kept for repeated
requests. Events bear none; their payment token is erased here, and from the outbox it goes with its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared import audit
from shared.database import Sessions, Transaction, in_rounds
from shared.identity import Identity, Role

AT_ONCE = 200
MOST_ROUNDS = 10
# Those that answer with the whole order.
SCOPES = ["cancel_order", "approve_order", "decline_order", "fulfil_order"]
_COLUMNS = "id, user_id, note, requested_by, requested_at, erased, skipped, finished_at"
_INSERT = text("""
insert into erasures (id, user_id, note, requested_by, requested_at) values (:id, :user_id, :note, :by, :now)
""")
_FIND = text(f"select {_COLUMNS} from erasures where id = :id")  # noqa: S608
_NEXT_FOR_UPDATE = text(f"""
select {_COLUMNS}, place, in_archive from erasures where finished_at is null
order by id limit 1 for update skip locked
""")  # noqa: S608
_PROGRESS = text("""
update erasures
set place = cast(:place as uuid), in_archive = :in_archive, erased = erased + :erased, skipped = skipped + :skipped,
    finished_at = case when :is_finished then cast(:now as timestamptz) end
where id = :id
""")
_ORDERS_FOR_UPDATE = text("""
select id, (status = 'FULFILLED' or settled_at is not null) as is_over from orders
where user_id = :user_id and (cast(:place as uuid) is null or id > cast(:place as uuid))
order by id limit :limit for update
""")
_ERASE_ORDERS = text("""
update orders set shipping_address = null, payment_method = null
where id = any(cast(:ids as uuid[])) and (shipping_address is not null or payment_method is not null)
returning id
""")
_ERASE_EVENTS = text("""
update order_events set payload = (payload::jsonb - 'paymentMethod')::json
where order_id = any(cast(:ids as uuid[])) and event_type in ('ORDER_CREATED', 'ORDER_APPROVED')
""")
_ERASE_ANSWERS = text("""
update idempotency_keys set answer = jsonb_set(answer, '{shippingAddress}', 'null')
where scope = any(cast(:scopes as text[])) and answer ->> 'id' = any(cast(:ids as text[]))
  and answer -> 'shippingAddress' <> 'null'
""")
_ARCHIVED_FOR_UPDATE = text("""
select id from archived_orders
where user_id = :user_id and (cast(:place as uuid) is null or id > cast(:place as uuid))
order by id limit :limit for update
""")
_ERASE_ARCHIVED = text("""
update archived_orders set document = jsonb_set(document, '{shippingAddress}', 'null')
where id = any(cast(:ids as uuid[])) and document -> 'shippingAddress' <> 'null' returning id
""")


def begin(tx: Transaction, erasure_id: UUID, user_id: str, note: str, by: str) -> None:
    tx.execute(_INSERT, id=erasure_id, user_id=user_id, note=note, by=by, now=tx.now)


def find(tx: Transaction, erasure_id: UUID) -> Mapping[str, Any] | None:
    rows = tx.fetch(_FIND, id=erasure_id)
    return dict(rows[0]._mapping) if rows else None


def erase_what_was_asked(sessions: Sessions) -> None:
    """Rounds of :func:`erase_some`; the next tick goes on."""
    in_rounds(sessions, erase_some, full=1, most_rounds=MOST_ROUNDS)


def erase_some(tx: Transaction) -> int:
    """One batch of one erasure; 0 if none is under way, or other replicas see to them.

    First the customer's orders, then those that were put away: what moves in between is met there.
    """
    found = tx.fetch(_NEXT_FOR_UPDATE)
    if not found:
        return 0
    erasure = found[0]
    if erasure.in_archive:
        _erase_archived(tx, erasure)
    else:
        _erase_orders(tx, erasure)
    return 1


def _erase_orders(tx: Transaction, erasure: Any) -> None:
    rows = tx.fetch(_ORDERS_FOR_UPDATE, user_id=erasure.user_id, place=erasure.place, limit=AT_ONCE)
    over = [str(row.id) for row in rows if row.is_over]
    erased = len(tx.fetch(_ERASE_ORDERS, ids=over)) if over else 0
    _erase_traces(tx, over)
    is_last = len(rows) < AT_ONCE
    _go_on(
        tx,
        erasure,
        place=None if is_last else rows[-1].id,
        in_archive=is_last,
        erased=erased,
        skipped=len(rows) - len(over),
    )


def _erase_archived(tx: Transaction, erasure: Any) -> None:
    rows = tx.fetch(_ARCHIVED_FOR_UPDATE, user_id=erasure.user_id, place=erasure.place, limit=AT_ONCE)
    ids = [str(row.id) for row in rows]
    erased = len(tx.fetch(_ERASE_ARCHIVED, ids=ids)) if ids else 0
    _erase_traces(tx, ids)
    is_last = len(rows) < AT_ONCE
    place = erasure.place if is_last else rows[-1].id
    _go_on(tx, erasure, place=place, in_archive=True, erased=erased, is_finished=is_last)
    if is_last:
        _record_end(tx, erasure, erased)


def _erase_traces(tx: Transaction, ids: list[str]) -> None:
    if ids:
        tx.execute(_ERASE_EVENTS, ids=ids)
        tx.execute(_ERASE_ANSWERS, ids=ids, scopes=SCOPES)


def _go_on(
    tx: Transaction,
    erasure: Any,
    *,
    place: UUID | None,
    in_archive: bool,
    erased: int,
    skipped: int = 0,
    is_finished: bool = False,
) -> None:
    tx.execute(
        _PROGRESS,
        id=erasure.id,
        place=place,
        in_archive=in_archive,
        erased=erased,
        skipped=skipped,
        is_finished=is_finished,
        now=tx.now,
    )


def _record_end(tx: Transaction, erasure: Any, erased: int) -> None:
    operator = Identity(subject=erasure.requested_by, roles=frozenset({Role.ADMIN}))
    counts = {"erased": erasure.erased + erased, "skipped": erasure.skipped}
    after = {"erasureId": str(erasure.id), **counts}
    audit.record(tx, operator, "user_erased", "user", erasure.user_id, request_id=None, after=after)
