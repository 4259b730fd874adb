"""Fills all databases at once. Owns: the order of the steps, connections, time. Must not know: columns, indexes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg2

from benchmarks.preload import copying
from benchmarks.preload.indexes import without_indexes
from benchmarks.preload.tables import COPIED, NOT_COPIED, Table
from ops.books import DATABASES
from ops.databases import driver_url

SPREAD_OVER = timedelta(days=30)
_DATABASES_AT_ONCE = 2
_MARKS = {"slot": "%(slot)s", "back": "%(back)s"}
_FASTER = (
    # Lost with a crash of this benchmark, and then the benchmark starts anew.
    "set synchronous_commit = off",
    "set maintenance_work_mem = '512MB'",
    "set statement_timeout = 0",
)
_TABLES = "select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
_STOCK = """
update stock s set on_hand = m.on_hand, reserved = m.reserved
from (select item, sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved from stock_movements group by item) m
where m.item = s.item
"""


class Preload:
    """Copies of everything that the orders of now left behind; no service may be running while one of these works.

    ``most`` is how many copies there will be in the end: they lie evenly in the last days, the newest first.
    """

    def __init__(self, environment: Mapping[str, str], *, most: int) -> None:
        self._environment = environment
        self._step = SPREAD_OVER / most
        self._newest_ms = int(time.time() * 1000)
        self._copies = 0
        self._statements: dict[str, list[tuple[Table, str]]] = {}

    def prepare(self) -> None:
        """Put the rows to be copied aside."""
        self._in_each(self._prepare)

    def grow_to(self, copies: int) -> float:
        """Make as many as are missing; the seconds it took, with indexes, statistics and all."""
        started = time.perf_counter()
        # Older ones first, as if they had come in the order of time.
        numbers = range(copies, self._copies, -1)
        self._in_each(lambda name, cursor: self._fill(name, cursor, numbers))
        self._copies = copies
        return time.perf_counter() - started

    def forget(self) -> None:
        """Remove what was put aside."""
        self._in_each(lambda _name, cursor: drop_templates(cursor))

    def _in_each(self, work: Callable[[str, Any], None]) -> None:
        def with_cursor(name: str) -> None:
            with session(self._environment[DATABASES[name]]) as cursor:
                work(name, cursor)

        # The biggest comes first.
        with ThreadPoolExecutor(_DATABASES_AT_ONCE) as threads:
            list(threads.map(with_cursor, COPIED))

    def _prepare(self, name: str, cursor: Any) -> None:
        check_complete(cursor, COPIED[name])
        self._statements[name] = [(table, prepare_copy(cursor, table, _MARKS)) for table in COPIED[name]]

    def _fill(self, name: str, cursor: Any, numbers: range) -> None:
        with without_indexes(cursor, [table.name for table in COPIED[name]]):
            for number in numbers:
                given = copying.parameters(newest_ms=self._newest_ms, number=number, step=self._step)
                for table, statement in self._statements[name]:
                    if table.kept is None or number * self._step < table.kept:
                        cursor.execute(statement, given)
        if name == "inventory":
            cursor.execute(_STOCK)
        cursor.execute("vacuum (analyze)")


@contextmanager
def session(url: str) -> Iterator[Any]:
    """A cursor whose statements are transactions of their own."""
    with closing(psycopg2.connect(driver_url(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in _FASTER:
                cursor.execute(statement)
            yield cursor


def check_complete(cursor: Any, copied: tuple[Table, ...]) -> None:
    """Raises ValueError for a table with rows that nobody thought of."""
    known = {table.name for table in copied} | NOT_COPIED
    cursor.execute(_TABLES)
    for name in {row[0] for row in cursor.fetchall()} - known:
        cursor.execute(f"select exists (select from {name})")  # noqa: S608
        if cursor.fetchone()[0]:
            raise ValueError(f"the preload does not know the table {name}: is it to be copied?")


def prepare_copy(
    cursor: Any, table: Table, marks: Mapping[str, str], *, instead: Mapping[str, str] | None = None
) -> str:
    """Put the rows to be copied aside; the statement that copies them (see :func:`copying.copy_statement`)."""
    cursor.execute(f"create schema if not exists {copying.SCHEMA}")
    columns = columns_of(cursor, table)
    cursor.execute(copying.template_statement(table.name, table.rows, columns))
    return copying.copy_statement(table.name, columns, marks, instead or {})


def drop_templates(cursor: Any) -> None:
    cursor.execute(f"drop schema if exists {copying.SCHEMA} cascade")


def columns_of(cursor: Any, table: Table) -> list[copying.Column]:
    """All that are not made by the database itself, and what is in them."""
    cursor.execute(copying.COLUMNS, (table.name,))
    columns = []
    for name, type_ in cursor.fetchall():
        cursor.execute(copying.look_statement(name, table.name, table.rows))
        columns.append(copying.Column(name=name, type=type_, kind=copying.kind_of(type_, *cursor.fetchone())))
    return columns
