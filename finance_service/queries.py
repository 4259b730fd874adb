"""The SQL of the finance service's tables: what the stream told, and how far it is read.

Owns: the statements that apply a batch, and the place where reading goes on. Must not know: the broker, why something
counts. What is asked by people stands in report_queries.py.

A row is replaced by a change that stands as far on in its database's log, or further: a message that comes again
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import TextClause, text

from finance_service.domain import CAPTURED, OVER, RECEIVABLE, Arrived, Place, Progress, RowChange, Table
from shared.database import Transaction, rows_json

_COLUMNS: Mapping[Table, Mapping[str, str]] = {
    Table.ORDERS: {
        "id": "uuid",
        "seller_id": "text",
        "status": "text",
        "price": "numeric",
        "currency": "text",
        "created_at": "timestamptz",
    },
    Table.PAYMENTS: {
        "order_id": "uuid",
        "seller_id": "text",
        "status": "text",
        "amount": "numeric",
        "currency": "text",
        "refunded": "numeric",
        "refunding": "numeric",
        "captured_at": "timestamptz",
    },
    Table.REFUNDS: {
        "id": "uuid",
        "order_id": "uuid",
        "amount": "numeric",
        "currency": "text",
        "status": "text",
        "ended_at": "timestamptz",
    },
    Table.LEDGER: {
        "id": "bigint",
        "order_id": "uuid",
        "account": "text",
        "amount": "numeric",
        "currency": "text",
        "at": "timestamptz",
    },
}
KEYS: Mapping[Table, str] = {
    Table.ORDERS: "id",
    Table.PAYMENTS: "order_id",
    Table.REFUNDS: "id",
    Table.LEDGER: "id",
}
# The first moment that is heard of stays, until the ledger says a better one.
_KEPT = {"captured_at": "coalesce(t.captured_at, excluded.captured_at)"}
# What its service has put away happened all the same.
_GONE = {Table.ORDERS: f"status not in ({', '.join(repr(status) for status in OVER)})"}


def _upsert(table: Table) -> TextClause:
    columns = {**_COLUMNS[table], "changed_at": "timestamptz", "lsn": "bigint"}
    names, key = ", ".join(columns), KEYS[table]
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    changed = ", ".join(f"{name} = {_KEPT.get(name, f'excluded.{name}')}" for name in columns if name != key)
    return text(f"""
insert into {table} as t ({names})
select {names} from json_to_recordset(cast(:rows as json)) as r({typed})
on conflict ({key}) do update set {changed}, is_gone = false where excluded.lsn >= t.lsn
returning 1
""")  # noqa: S608 -- names of our own


def _delete(table: Table) -> TextClause:
    key = KEYS[table]
    return text(f"""
update {table} t set is_gone = {_GONE.get(table, "true")}, changed_at = r.changed_at, lsn = r.lsn
from json_to_recordset(cast(:rows as json)) as r({key} {_COLUMNS[table][key]}, changed_at timestamptz, lsn bigint)
where t.{key} = r.{key} and r.lsn >= t.lsn
returning 1
""")  # noqa: S608 -- names of our own


_UPSERTS = {table: _upsert(table) for table in Table}
_DELETES = {table: _delete(table) for table in Table}
# Either may come first, also within one batch.
_CAPTURED_WHEN_THE_LEDGER_SAYS = text(f"""
update payments p set captured_at = l.at
from (select order_id, min(at) as at from ledger_entries
      where order_id = any(cast(:ids as uuid[])) and account = '{RECEIVABLE}' and amount > 0 and not is_gone
      group by order_id) l
where l.order_id = p.order_id and p.captured_at is distinct from l.at
""")  # noqa: S608 -- a name of our own
_SOURCES = text("""
insert into sources as s (database, as_of, lsn, snapshot_at, heard_at)
select database, as_of, lsn, case when has_snapshot then cast(:now as timestamptz) end, :now
from json_to_recordset(cast(:rows as json)) as r(database text, as_of timestamptz, lsn bigint, has_snapshot boolean)
on conflict (database) do update
set as_of = greatest(s.as_of, excluded.as_of), lsn = greatest(s.lsn, excluded.lsn),
    snapshot_at = coalesce(excluded.snapshot_at, s.snapshot_at), heard_at = excluded.heard_at
""")


def apply_changes(tx: Transaction, table: Table, changes: Sequence[RowChange]) -> int:
    """How many changes were not behind what was known. Of each row one change at most, and one deletion."""
    kept = [_row(table, change) for change in changes if change.row is not None]
    deleted = [_place_of(table, change) for change in changes if change.row is None]
    return _count(tx, _UPSERTS[table], kept) + _count(tx, _DELETES[table], deleted)


def _count(tx: Transaction, statement: TextClause, rows: Sequence[dict[str, Any]]) -> int:
    return len(tx.fetch(statement, rows=rows_json(list(rows)))) if rows else 0


def _row(table: Table, change: RowChange) -> dict[str, Any]:
    row = dict(change.row or {})
    if table is Table.PAYMENTS:
        # A payment changes with its capture; once the ledger's entry is here, its moment is taken.
        row["captured_at"] = row["updated_at"] if row["status"] in CAPTURED else None
    return {**{name: row[name] for name in _COLUMNS[table]}, **_place_of(table, change)}


def _place_of(table: Table, change: RowChange) -> dict[str, Any]:
    return {KEYS[table]: change.key, "changed_at": change.committed_at, "lsn": change.lsn}


def date_captures(tx: Transaction, order_ids: Iterable[str]) -> None:
    """Give payments the moment that the ledger says."""
    ids = sorted(set(order_ids))
    if ids:
        tx.execute(_CAPTURED_WHEN_THE_LEDGER_SAYS, ids=ids)


def save_progress(tx: Transaction, progress: Sequence[Progress]) -> None:
    rows = [
        {"database": one.database, "as_of": one.as_of, "lsn": one.lsn, "has_snapshot": one.has_snapshot}
        for one in progress
    ]
    tx.save(_SOURCES, rows, now=tx.now)


# The place in the stream

_PLACE = text("select next_offset, last_message_id from positions where stream = :stream")
_PLACE_FOR_UPDATE = text(f"{_PLACE.text} for update")
_MOVE = text("""
insert into positions as p (stream, next_offset, last_message_id, moved_at, messages, unreadable)
values (:stream, :next_offset, :last_message_id, :now, :messages, :unreadable)
on conflict (stream) do update
set next_offset = excluded.next_offset, last_message_id = excluded.last_message_id, moved_at = excluded.moved_at,
    messages = p.messages + excluded.messages, unreadable = p.unreadable + excluded.unreadable
""")
_LOSE = text("""
insert into positions as p (stream, next_offset, moved_at, losses, lost_at, lost_from, lost_to)
values (:stream, :next_offset, :now, 1, :now, :lost_from, :lost_to)
on conflict (stream) do update
set next_offset = excluded.next_offset, last_message_id = null, losses = p.losses + 1, moved_at = excluded.moved_at,
    lost_at = excluded.lost_at, lost_from = excluded.lost_from, lost_to = excluded.lost_to
""")


def place(tx: Transaction, stream: str) -> Place | None:
    """None: nothing was read of it."""
    return _place(tx.fetch(_PLACE, stream=stream))


def place_for_update(tx: Transaction, stream: str) -> Place | None:
    return _place(tx.fetch(_PLACE_FOR_UPDATE, stream=stream))


def _place(rows: Sequence[Any]) -> Place | None:
    return Place(next_offset=rows[0].next_offset, last_message_id=rows[0].last_message_id) if rows else None


def move(tx: Transaction, stream: str, last: Arrived, *, messages: int, unreadable: int) -> None:
    """Reading goes on behind ``last``."""
    tx.execute(
        _MOVE,
        stream=stream,
        next_offset=last.offset + 1,
        last_message_id=last.message_id,
        now=tx.now,
        messages=messages,
        unreadable=unreadable,
    )


def record_loss(tx: Transaction, stream: str, next_offset: int, lost_from: int | None, lost_to: int | None) -> None:
    """Reading goes on at ``next_offset``; what stood before it is gone for good."""
    tx.execute(_LOSE, stream=stream, next_offset=next_offset, lost_from=lost_from, lost_to=lost_to, now=tx.now)


_FORGET = text(
    "delete from orders; delete from payments; delete from refunds; delete from ledger_entries; "
    "delete from sources; delete from positions"
)


def forget_everything(tx: Transaction) -> None:
    tx.execute(_FORGET)
