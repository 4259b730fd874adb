"""What the databases did meanwhile: commits, rows written, write-ahead log.

Owns: PostgreSQL's own counters. Must not know: why anything was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ops.books import DATABASES, Books

_COUNTERS = """
select xact_commit, tup_inserted, tup_updated, tup_deleted from pg_stat_database where datname = current_database()
"""
_NAMES = ("commits", "rows inserted", "rows updated", "rows deleted")
_WAL_BYTES = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
Counters = Mapping[str, Mapping[str, int]]


def read(books: Books) -> Counters:
    """Database → counter → value so far. Sessions report once a second, so the last second may be missing."""
    counters = {name: dict(zip(_NAMES, map(int, books.rows(name, _COUNTERS)[0]), strict=True)) for name in DATABASES}
    return {**counters, "cluster": {"WAL bytes": books.number("order", _WAL_BYTES)}}


def per_order(before: Counters, after: Counters, orders: int) -> dict[str, Any]:
    return {
        database: {name: round((value - before[database][name]) / orders, 2) for name, value in counters.items()}
        for database, counters in after.items()
    }


def now(books: Books) -> datetime:
    """The database's clock, which stamps the orders."""
    moment: datetime = books.rows("order", "select clock_timestamp()")[0][0]
    return moment
