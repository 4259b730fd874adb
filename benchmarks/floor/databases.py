"""The rows of a saga, written by pgbench into databases with the same tables.

Owns: copying a few real orders there, and the scripts that write more like them. Must not know: the services.

A transaction writes a hundred orders: one insert per table, and one update per table for every time that a saga comes
back to its rows. That is the least that PostgreSQL has to do for these rows with these indexes, and be it only once.
"""

from __future__ import annotations

import io
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.bench import Bench, CannotMeasure
from benchmarks.preload import copying
from benchmarks.preload.preload import columns_of, prepare_copy, session
from benchmarks.preload.tables import COPIED, Table
from ops.books import DATABASES
from ops.databases import create_databases, driver_url
from ops.folder import PROJECT_FOLDER
from ops.postgres import find_binaries
from payment_service.psp_book import create_book
from shared.migrations import upgrade

BATCH = 100
CLIENTS = 2
_MARKS = {"slot": ":slot", "back": "'0 seconds'"}
_TIMEOUT_S = 300
_CHOSEN = f"select id::text from orders where status in ('CONFIRMED', 'CANCELLED') order by id desc limit {BATCH}"  # noqa: S608
_EVENTS = "select event_id::text from order_events where order_id = any(cast(%s as uuid[]))"
_ATTEMPTS = "select id::text from payment_attempts where order_id = any(cast(%s as uuid[]))"
_IS_CHOSEN = {
    "orders": "id = any(cast(%(orders)s as uuid[]))",
    "outbox": "aggregate_id = any(%(orders)s)",
    "inbox": "event_id = any(cast(%(events)s as uuid[]))",
    "charges": "key = any(%(attempts)s)",
    "audit_log": "false",
}
_USUAL = "order_id = any(cast(%(orders)s as uuid[]))"


def create(bench: Bench) -> dict[str, str]:
    """Databases that hold a hundred orders of the stack, all their rows; name (as in Books) → URL."""
    passwords = {f"floor_{name}": secrets.token_hex(16) for name in COPIED}
    administrator = bench.stack.administrator()["ADMIN_DATABASE_URL"]
    create_databases(administrator, passwords, passwords)
    server = administrator.rpartition("@")[2].partition("/")[0]
    urls = {
        name: f"postgresql+psycopg2://floor_{name}:{passwords[f'floor_{name}']}@{server}/floor_{name}"
        for name in COPIED
    }
    for name in ("order", "inventory", "payment"):
        upgrade(PROJECT_FOLDER / f"{name}_service" / "migrations", urls[name])
    create_book(urls["psp"])
    _copy_orders(bench, urls)
    return urls


def _copy_orders(bench: Bench, urls: Mapping[str, str]) -> None:
    orders = [row[0] for row in bench.books.rows("order", _CHOSEN)]
    chosen = {
        "orders": orders,
        "events": [row[0] for row in bench.books.rows("order", _EVENTS, (orders,))],
        "attempts": [row[0] for row in bench.books.rows("payment", _ATTEMPTS, (orders,))],
    }
    if len(orders) != BATCH:
        raise CannotMeasure(f"there are only {len(orders)} orders to take rows from")
    for name, tables in COPIED.items():
        with _connected(bench.environment[DATABASES[name]]) as source, _connected(urls[name]) as target:
            for table in tables:
                _copy_table(source, target, table, chosen)


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """A cursor whose work is committed at the end."""
    with closing(psycopg2.connect(driver_url(url))) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _copy_table(source: Any, target: Any, table: Table, chosen: Mapping[str, Any]) -> None:
    columns = ", ".join(column.name for column in columns_of(source, table))
    rows = source.mogrify(_IS_CHOSEN.get(table.name, _USUAL), chosen).decode()
    data = io.StringIO()
    source.copy_expert(f"copy (select {columns} from {table.name} where {rows}) to stdout", data)  # noqa: S608
    data.seek(0)
    target.copy_expert(f"copy {table.name} ({columns}) from stdin", data)


def script(cursor: Any, name: str, rows_per_order: Mapping[str, Mapping[str, float]]) -> str:
    """For pgbench: one transaction of a hundred orders. ``rows_per_order`` is what a saga was seen to do."""
    lines = ["select lpad(to_hex(nextval('bench.slots')), 12, '0') as slot \\gset", "begin;"]
    for table in COPIED[name]:
        seen = rows_per_order.get(f"{name}.{table.name}")
        if not seen or not seen["inserted"]:
            continue
        lines.append(prepare_copy(cursor, table, _MARKS) + ";")
        lines += [_update_statement(cursor, table)] * round(seen["updated"] / seen["inserted"])
    # A place in time of its own for every transaction, as for copies of the preload.
    cursor.execute("create sequence bench.slots start 1000000")
    return "\n".join([*lines, "commit;", ""])


def _update_statement(cursor: Any, table: Table) -> str:
    """Write the new rows once more, as a saga does that comes back to them; no value that is indexed changes."""
    columns = columns_of(cursor, table)
    key = next(column for column in columns if column.kind in ("id", "text"))
    keys = f"select {copying.value(key, columns, _MARKS)} from {copying.SCHEMA}.{table.name}"  # noqa: S608
    return f"update {table.name} set {key.name} = {key.name} where {key.name} in ({keys});"  # noqa: S608


def orders_per_s(bench: Bench, urls: Mapping[str, str], orders: int) -> float:
    """All four databases at once, until the last one has written its rows."""
    rows_per_order = bench.details["saga"]["rows_per_order"]
    transactions = max(orders // BATCH // CLIENTS, 1)
    commands = []
    for name, url in urls.items():
        with session(url) as cursor:
            path = bench.stack.folder / f"floor-{name}.sql"
            path.write_text(script(cursor, name, rows_per_order), encoding="utf-8")
            cursor.execute("vacuum (analyze)")
        commands.append(_command(path, transactions, url))
    started_s = time.perf_counter()
    running = [_start(command) for command in commands]
    for process in running:
        output, _ = process.communicate(timeout=_TIMEOUT_S)
        if process.returncode:
            raise CannotMeasure(f"pgbench: {output[-500:]}")
    return transactions * CLIENTS * BATCH / (time.perf_counter() - started_s)


def _command(path: Path, transactions: int, url: str) -> list[str]:
    binaries = find_binaries()
    if binaries is None:
        raise CannotMeasure("there is no pgbench here")
    # Debian keeps it beside the server for some versions, and on the PATH for all.
    beside = binaries / "pgbench"
    options = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-t", str(transactions), "-f", str(path)]
    return [str(beside) if beside.exists() else "pgbench", *options, driver_url(url)]


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
