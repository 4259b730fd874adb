"""What the databases did meanwhile: commits, rows written, write-ahead log.

Owns: PostgreSQL's own counters. Must not know: why anything was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ops.books import DATABASES, Books

_COUNTERS = """
select xact_commit, tup_inserted, tup_updated, tup_deleted from pg_stat_database where datname = current_database()
"""
_NAMES = ("commits", "rows inserted", "rows updated", "rows deleted")
_TABLES = """
select relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del from pg_stat_user_tables
where schemaname = 'public' and n_tup_ins > 0
"""
_TABLE_NAMES = ("inserted", "updated", "updated in place", "deleted")
_WAL_BYTES = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
Counters = Mapping[str, Mapping[str, int]]


def read(books: Books) -> Counters:
    """Database → counter → value so far. Sessions report once a second, so the last second may be missing."""
    counters = {name: dict(zip(_NAMES, map(int, books.rows(name, _COUNTERS)[0]), strict=True)) for name in DATABASES}
    return {**counters, "cluster": {"WAL bytes": books.number("order", _WAL_BYTES)}}


def read_tables(books: Books) -> Counters:
    """ "database.table" → what happened to its rows so far."""
    return {
        f"{name}.{table}": dict(zip(_TABLE_NAMES, counts, strict=True))
        for name in DATABASES
        for table, *counts in books.rows(name, _TABLES)
    }


def per_order(before: Counters, after: Counters, orders: int) -> dict[str, dict[str, float]]:
    return {where: _difference(before.get(where, {}), counters, orders) for where, counters in after.items()}


def _difference(before: Mapping[str, int], after: Mapping[str, int], orders: int) -> dict[str, float]:
    return {name: round((value - before.get(name, 0)) / orders, 2) for name, value in after.items()}


def now(books: Books) -> datetime:
    """The database's clock, which stamps the orders."""
    moment: datetime = books.rows("order", "select clock_timestamp()")[0][0]
    return moment
