"""What a soak looks at every minute.

Owns: where the figures come from. Must not know: what is too much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql

from ops.errors import StackError
from ops.management import ManagementApi
from ops.processes import age_s, owned_processes

from .fault import Arena
from .soak_verdict import AGE
from .strokes import administrator_of

DATABASES = ("order_service", "inventory_service", "payment_service", "psp")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_SESSIONS = "select datname, count(*) from pg_stat_activity where datname = any(%s) group by datname"
_TABLES = """
select relname, n_dead_tup, pg_total_relation_size(relid) / 1048576.0 from pg_stat_user_tables
where relname in ('outbox', 'inbox', 'orders', 'sagas', 'stock', 'reservations', 'payments', 'payment_attempts')
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """``of``: which process, database or table; ``kind``: what is counted, with its unit."""

    of: str
    kind: str
    value: float


def sample(arena: Arena) -> list[Figure]:
    """Everything that can be had just now; what is dead at this moment is left out."""
    found = list(_processes(arena))
    for more in (_broker, _sessions, _tables):
        with suppress(StackError, psycopg2.Error):
            found += list(more(arena))
    return found


def _processes(arena: Arena) -> Iterator[Figure]:
    """Each with its children: the gateway's workers, the broker's helpers, the sessions of PostgreSQL."""
    sums: dict[tuple[str, str], float] = {}
    ages: dict[str, float] = {}
    for process in owned_processes(arena.stack.folder):
        with suppress(OSError):
            for kind, value in _of(process.pid):
                sums[process.name, kind] = sums.get((process.name, kind), 0.0) + value
            ages[process.name] = max(ages.get(process.name, 0.0), age_s(process.pid))
    for (name, kind), value in sums.items():
        yield Figure(of=name, kind=kind, value=value)
    for name, age in ages.items():
        yield Figure(of=name, kind=AGE, value=age)


def _of(pid: int) -> list[tuple[str, float]]:
    proc = Path("/proc") / str(pid)
    pages = int((proc / "statm").read_text().split()[1])
    return [
        ("rss_mb", pages * _PAGE_MB),
        ("files", float(len(os.listdir(proc / "fd")))),
        ("threads", float(len(os.listdir(proc / "task")))),
    ]


def _broker(arena: Arena) -> Iterator[Figure]:
    api = ManagementApi(arena.environment["ADMIN_MANAGEMENT_URL"])
    totals = api.request("GET", "/api/overview")["object_totals"]
    for kind in ("connections", "channels", "queues"):
        yield Figure(of="broker", kind=kind, value=float(totals[kind]))
    messages = sum(q.get("messages", 0) for q in api.queues() if not q["name"].endswith(".dead"))
    yield Figure(of="broker", kind="messages", value=float(messages))


def _sessions(arena: Arena) -> Iterator[Figure]:
    with closing(administrator_of(arena, "postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(_SESSIONS, (list(DATABASES),))
        for database, count in cursor.fetchall():
            yield Figure(of=database, kind="sessions", value=float(count))


def _tables(arena: Arena) -> Iterator[Figure]:
    for database in DATABASES:
        with closing(administrator_of(arena, database)) as connection, connection.cursor() as cursor:
            cursor.execute(_TABLES)
            for table, dead, size_mb in cursor.fetchall():
                # Counted: a PostgreSQL that was killed has forgotten how many there were.
                cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table)))
                live, of = cursor.fetchone()[0], f"{database}.{table}"
                yield Figure(of=of, kind="rows", value=float(live))
                yield Figure(of=of, kind="dead_rows", value=float(dead))
                yield Figure(of=of, kind="bytes_per_row", value=float(size_mb) * 2**20 / max(live, 1))
