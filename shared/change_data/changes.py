"""Row changes as values, out of the JSON that Debezium makes of them.

Owns: what a change and a heartbeat are, and reading them. Must not know: Java, or how an engine is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

# Stands for a large value that an update left as it was: the write-ahead log does not have it.
_LEFT_AS_IT_WAS = "__debezium_unavailable_value"
_OPERATIONS = frozenset("cudr")
_MESSAGE = "m"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One row change as committed. ``operation``: c insert, u update, d delete, r read by a snapshot.

    ``after`` holds the row as JSON: decimals and uuids as strings, timestamps as RFC 3339 strings, a json column as its
    text. A large value that an update left as it was is not in it. ``before`` has the key alone, of a deleted row.
    ``lsn`` orders the changes of one row. That of a snapshot's rows is lower than that of every change they may lack.
    """

    database: str
    table: str
    operation: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    lsn: int
    transaction_id: int | None
    committed_at: datetime
    is_snapshot: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """Everything that was committed in ``database`` before ``at`` has come before this."""

    database: str
    lsn: int | None
    at: datetime


def read_record(database: str, key: bytes | None, value: bytes, snapshot_lsn: int | None) -> Change | Heartbeat | None:
    """What a record of Debezium says; None for what is neither, such as its own bookkeeping.

    ``snapshot_lsn``: what a snapshot's rows get for their position.
    """
    said = orjson.loads(value)
    operation = said.get("op")
    if operation == _MESSAGE:
        return Heartbeat(database=database, lsn=said["source"]["lsn"], at=_moment(said["source"]))
    if operation not in _OPERATIONS:
        return None
    source = said["source"]
    is_snapshot = operation == "r"
    return Change(
        database=database,
        table=source["table"],
        operation=operation,
        before=_key_of(key, said.get("before")),
        after=_known(said.get("after")),
        lsn=snapshot_lsn if is_snapshot and snapshot_lsn is not None else source["lsn"],
        transaction_id=None if is_snapshot else source.get("txId"),
        committed_at=_moment(source),
        is_snapshot=is_snapshot,
    )


def _moment(source: Mapping[str, Any]) -> datetime:
    microseconds = source.get("ts_us")
    return _EPOCH + timedelta(microseconds=source["ts_ms"] * 1000 if microseconds is None else microseconds)


def _known(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None or _LEFT_AS_IT_WAS not in row.values():
        return row
    return {name: value for name, value in row.items() if value != _LEFT_AS_IT_WAS}


def _key_of(key: bytes | None, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The log has no more than the key of a row that went; Debezium fills up the other columns with nothing."""
    if before is None or key is None:
        return None
    return dict(orjson.loads(key))
