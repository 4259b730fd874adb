"""``python -m benchmarks.relay_ways``: the two ways of relaying an outbox, side by side, and nothing else.

Owns: latency of single events, throughput of many, cost of the relay's process, by each way. Must not know: how either
works. Not a phase of `make bench`: it needs the extra `cdc`.

Latency is from the beginning of the transaction that records an event until the statement that marks it as published,
both by the database's clock. For throughput the relay is stopped (SIGSTOP) while events are recorded in many small
transactions, and goes on when all are there; the first window is left out. Nobody consumes.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from ops.databases import driver_url
from ops.distribution import percentile
from ops.folder import StackFolder
from ops.replication import close_replication, open_replication
from ops.stack import Stack
from ops.state import StackState, load_state
from ops.waiting import holds_within
from shared.change_data.captured import replication_role

SERVICE = "inventory_service"
# Has no consumer: no queue grows.
EVENT = "INVENTORY_ADJUSTED"
PER_TRANSACTION = 5
READY = {"polling": '"relay_active"', "cdc": '"relay_streaming"'}
_RECORD = f"""
with recorded as (
    insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
    select gen_random_uuid(), '{EVENT}', gen_random_uuid()::text, 'c', 1,
           json_build_object('item', 'mug', 'quantity', n, 'reason', repeat('x', 300)), now()
    from generate_series(1, %s) n
)
select pg_notify('outbox', '')
"""  # noqa: S608
_UNPUBLISHED = "select count(*) from outbox where published_at is null"
_LATENCIES = "select extract(epoch from published_at - occurred_at) * 1000 from outbox"
_RATE = """
with windows as (select published_at, count(*) as events from outbox group by 1)
select sum(events) - (select events from windows order by published_at limit 1),
       extract(epoch from max(published_at) - min(published_at)) from windows
"""


class Way:
    """One relay, ready, and the service's database."""

    def __init__(self, name: str, pid: int, cursor: Any) -> None:
        self.name, self._cursor = name, cursor
        self._pid = pid

    def latencies_ms(self, events: int) -> Sequence[float]:
        self._empty()
        for _ in range(events):
            self._record(1)
            self._wait_until_published()
        self._cursor.execute(_LATENCIES)
        return [float(value) for (value,) in self._cursor.fetchall()]

    def per_second(self, events: int) -> tuple[float, float]:
        """And CPU of the relay's process in microseconds for each."""
        self._empty()
        os.kill(self._pid, signal.SIGSTOP)
        for _ in range(events // PER_TRANSACTION):
            self._record(PER_TRANSACTION)
        before_s = self._cpu_s()
        os.kill(self._pid, signal.SIGCONT)
        self._wait_until_published()
        spent_s = self._cpu_s() - before_s
        self._cursor.execute(_RATE)
        counted, seconds = self._cursor.fetchone()
        return float(counted) / float(seconds), spent_s * 1e6 / events

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024  # type: ignore[index]

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _empty(self) -> None:
        self._cursor.execute("delete from outbox")

    def _record(self, events: int) -> None:
        self._cursor.execute(_RECORD, (events,))

    def _wait_until_published(self) -> None:
        def is_empty() -> bool:
            self._cursor.execute(_UNPUBLISHED)
            return bool(self._cursor.fetchone()[0] == 0)

        if not holds_within(is_empty, timeout_s=300, pause_s=0.01):
            raise SystemExit(f"{self.name}: not everything was published within 300 s")


@contextmanager
def _running(name: str, state: StackState, folder: Path) -> Iterator[Way]:
    log = folder / "logs" / f"relay-by-{name}.log"
    environment = {
        "AMQP_URI": state.amqp_uri(),
        "INVENTORY_DATABASE_URL": state.database_url(SERVICE),
        "INVENTORY_REPLICATION_URL": state.replication_url(SERVICE),
        "CDC_FOLDER": str(folder / "relay-ways"),
        "OUTBOX_RELAY": name,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-m", SERVICE, "relay"], env={**os.environ, **environment}, stdout=output, stderr=output
        )
    connection = psycopg2.connect(driver_url(state.database_url(SERVICE)))
    connection.autocommit = True
    try:
        if not holds_within(lambda: READY[name] in log.read_text(), timeout_s=180, pause_s=0.1):
            raise SystemExit(f"the relay is not ready, see {log}")
        with connection.cursor() as cursor:
            yield Way(name, process.pid, cursor)
    finally:
        connection.close()
        process.terminate()
        process.wait(30)


def _measure(way: Way, sizes: Mapping[str, int]) -> str:
    # First: the next sweep of the table, which would be no reading of the log, is half a minute away.
    per_second, spent_us = way.per_second(sizes["many"])
    latencies = sorted(way.latencies_ms(sizes["single"]))
    shown = ", ".join(f"p{share} {percentile(latencies, share):.1f}" for share in (50, 95, 99))
    cost = f"{spent_us:.0f} µs of CPU each, {way.resident_mb():.0f} MB"
    return f"{way.name:8} {per_second:.0f} events/s, {cost}; one event, ms: {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stack", default=".stack-ways", type=Path, help="folder of a stack; its outbox is emptied")
    parser.add_argument("--single", default=300, type=int, help="events, one after the other")
    parser.add_argument("--many", default=20_000, type=int, help="events at once")
    arguments = parser.parse_args()
    stack = Stack(arguments.stack.resolve(), report=print)
    stack.up(infrastructure_only=True)
    state = load_state(StackFolder(root=stack.folder))
    if state is None:
        raise SystemExit(f"there is no stack in {stack.folder}")
    administrator = stack.administrator()["ADMIN_DATABASE_URL"]
    open_replication(administrator, {SERVICE: state.passwords[replication_role(SERVICE)]})
    try:
        for name in READY:
            with _running(name, state, stack.folder) as way:
                sys.stdout.write(f"{_measure(way, vars(arguments))}\n")
                sys.stdout.flush()
    finally:
        close_replication(administrator, [SERVICE])
        stack.down()


if __name__ == "__main__":
    main()
