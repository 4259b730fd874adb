"""Connectors as processes: everything committed comes into the stream, whoever is killed; commands; figures."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import psycopg2
import pytest
from harness.broker import Broker
from harness.change_data import NEEDS_DEBEZIUM, Stream
from harness.databases import Databases
from harness.ports import free_port
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until
from prometheus_client.parser import text_string_to_metric_families

from ops.change_data import send_command, status_of
from ops.databases import driver_url
from ops.replication import close_replication, open_replication
from ops.stack import Stack
from shared.change_data.captured import CAPTURED
from shared.table_figures import SLOT_FIGURES

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("empty_tables")]

ORDER = CAPTURED["order"]
# A start under load: Java's classes, the slot, the first heartbeat.
STARTED_WITHIN_S = 120.0
INSERT = "insert into order_items (order_id, item, seller_id, quantity, price) values (%s, 'cup', 'shop', %s, 9.90)"
UPDATE = "update order_items set quantity = %s where order_id = %s"


class Connector:
    """One connector process, its settings the same in each of its lives."""

    def __init__(self, processes: Processes, urls: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        settings = {**urls, "CDC_FOLDER": str(folder), "CDC_HEARTBEAT_S": "0.5", "METRICS_PORT": str(self.port)}
        self.process: ServiceProcess = processes.start("cdc", ORDER.service, **settings)

    def wait_streaming(self) -> None:
        wait_until(lambda: self.state() == "streaming", "the connector streams", timeout_s=STARTED_WITHIN_S)

    def state(self) -> str | None:
        try:
            return str(self.probe("/health/ready")["state"])
        except OSError:
            assert self.process.is_alive, self.process.output()[-2000:]
            return None

    def probe(self, path: str) -> dict[str, Any]:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return dict(json.load(answer))
        except OSError as error:
            if hasattr(error, "read"):
                return dict(json.loads(error.read()))
            raise

    def figure(self, name: str, **labels: str) -> float | None:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
        return next((s.value for s in samples if s.name == name and labels.items() <= s.labels.items()), None)


@pytest.fixture
def connector(
    processes: Processes, replication: Mapping[str, str], stream: Stream, databases: Databases, tmp_path: Path
) -> Iterator[Connector]:
    """It streams; its slot is gone afterwards, so that the next one begins anew."""
    started = Connector(processes, replication, tmp_path / "order_cdc")
    started.wait_streaming()
    yield started
    processes.stop()
    close_replication(databases.environment["ADMIN_DATABASE_URL"], ["order_service"])
    open_replication(databases.environment["ADMIN_DATABASE_URL"], {"order_service": _password(replication)})


def _password(urls: Mapping[str, str]) -> str:
    return urls["ORDER_REPLICATION_URL"].split("://")[1].split("@")[0].partition(":")[2]


class Load:
    """Rows that are made and changed as fast as it goes; what was committed of each."""

    def __init__(self, databases: Databases) -> None:
        self.committed: dict[str, int] = {}
        self._databases = Databases(databases.environment)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stopping.is_set():
            row = str(uuid4())
            self._databases.query("order_service", INSERT, row, 1)
            self.committed[row] = 1
            for quantity in (2, 3, 4):
                self._databases.query("order_service", UPDATE, quantity, row)
                self.committed[row] = quantity

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join(30)
            self._databases.close()


def check_nothing_is_missing(stream: Stream, committed: Mapping[str, int]) -> None:
    """Every version of every row came, and a version never came for the first time before one that it follows."""
    stream.read_until(lambda: _newest(stream) == dict(committed), "the newest version of each row", timeout_s=120)
    for row, changes in stream.by_row("order_items", "order_id").items():
        versions = [change["after"]["quantity"] for change in changes]
        first_seen = list(dict.fromkeys(versions))
        assert first_seen == list(range(1, committed[row] + 1)), (row, versions)
        lsns = {version: {c["lsn"] for c in changes if c["after"]["quantity"] == version} for version in first_seen}
        assert all(len(found) == 1 for found in lsns.values()), "a change that comes again is the same one"


def _newest(stream: Stream) -> dict[str, int]:
    return {
        row: max(c["after"]["quantity"] for c in cs) for row, cs in stream.by_row("order_items", "order_id").items()
    }


class TestStream:
    def test_a_change_is_told_with_all_that_is_known_of_it(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        row = str(uuid4())
        databases.query("order_service", INSERT, row, 3)
        databases.query("order_service", "delete from order_items where order_id = %s", row)
        stream.read_until(lambda: len(stream.of("order_items", order_id=row)) == 2, "both changes")
        inserted, deleted = stream.of("order_items", order_id=row)
        lsn, transaction_id, at = (inserted[name] for name in ("lsn", "transactionId", "committedAt"))
        assert inserted == {
            "database": "order",
            "table": "order_items",
            "operation": "c",
            "before": None,
            "after": {"order_id": row, "item": "cup", "seller_id": "shop", "quantity": 3, "price": "9.90"},
            "lsn": lsn,
            "transactionId": transaction_id,
            "committedAt": at,
            "isSnapshot": False,
        }
        assert at.endswith("Z")
        assert (deleted["operation"], deleted["after"]) == ("d", None)
        assert deleted["before"] == {"order_id": row, "item": "cup"}
        properties = next(p for p in stream.properties if p.type == "order.order_items")
        assert properties.message_id == f"order:{lsn}:order_items:0"
        assert (properties.content_type, properties.app_id) == ("application/json", "order_cdc")

    def test_heartbeats_say_up_to_when_everything_came(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        before = len(stream.heartbeats)
        stream.read_until(lambda: len(stream.heartbeats) > before + 1, "two heartbeats")
        beat = stream.heartbeats[-1]
        assert set(beat) == {"database", "heartbeat", "lsn", "committedAt"}
        assert beat["committedAt"] > stream.heartbeats[-2]["committedAt"]

    def test_what_is_personal_stays_in_the_database(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        row = str(uuid4())
        databases.query(
            "order_service",
            """insert into orders (id, user_id, seller_id, status, price, currency, payment_method, payment_mode,
                                   shipping_address, correlation_id, stock, stock_generation, money, created_at,
                                   updated_at)
               values (%s, 'anna', 'shop', 'PENDING', 10, 'EUR', 'tok_secret', 'auto', '{"city": "Ulm"}', 'c', 'NONE',
                       0, 'NONE', now(), now())""",
            row,
        )
        stream.read_until(lambda: stream.of("orders", id=row), "the order")
        [order] = stream.of("orders", id=row)
        assert not {"shipping_address", "payment_method"} & set(order["after"])
        assert order["after"]["price"] == "10.00"


class TestNothingIsLost:
    def test_killed_again_and_again_in_the_middle_of_a_load(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        load = Load(databases)
        with load.running():
            for _ in range(3):
                seen = len(stream.changes)
                stream.read_until(lambda seen=seen: len(stream.changes) > seen + 20, "changes", timeout_s=120)  # type: ignore[misc]
                connector.process.restart_killed()
            seen = len(stream.changes)
            stream.read_until(lambda: len(stream.changes) > seen + 20, "changes", timeout_s=120)
        check_nothing_is_missing(stream, load.committed)

    def test_the_broker_is_restarted_meanwhile(
        self, connector: Connector, stream: Stream, databases: Databases, stack: Stack
    ) -> None:
        load = Load(databases)
        with load.running():
            stream.read_until(lambda: len(stream.changes) > 20, "changes")
            stack.kill("rabbitmq")
            stack.up(infrastructure_only=True)
            seen = len(stream.changes)
            stream.read_until(lambda: len(stream.changes) > seen + 20, "changes", timeout_s=120)
        check_nothing_is_missing(stream, load.committed)
        assert (connector.figure("ordersaga_cdc_interruptions_total", what="broker") or 0) > 0

    def test_its_connection_to_the_database_is_cut(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        load = Load(databases)
        with load.running():
            stream.read_until(lambda: len(stream.changes) > 20, "changes")
            administrator = databases.environment["ADMIN_DATABASE_URL"]
            _terminate_readers(administrator)
            seen = len(stream.changes)
            stream.read_until(lambda: len(stream.changes) > seen + 20, "changes", timeout_s=120)
        check_nothing_is_missing(stream, load.committed)
        assert (connector.figure("ordersaga_cdc_interruptions_total", what="database") or 0) > 0

    def test_ended_gently_it_is_gone_soon_and_goes_on_where_it_was(
        self, connector: Connector, stream: Stream, databases: Databases
    ) -> None:
        databases.query("order_service", INSERT, "00000000-0000-0000-0000-000000000001", 1)
        stream.read_until(lambda: len(stream.changes) == 1, "the change")
        began = time.monotonic()
        assert connector.process.terminate() == 0
        assert time.monotonic() - began < 20
        databases.query("order_service", INSERT, "00000000-0000-0000-0000-000000000002", 1)
        connector.process.start()
        stream.read_until(
            lambda: stream.of("order_items", order_id="00000000-0000-0000-0000-000000000002"),
            "what was committed meanwhile",
            timeout_s=120,
        )


def _terminate_readers(administrator_url: str) -> None:
    connection = psycopg2.connect(driver_url(administrator_url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'order_service_cdc'")
    finally:
        connection.close()


class TestCommands:
    def test_paused_it_keeps_its_place_also_after_a_kill_until_it_is_resumed(
        self, connector: Connector, stream: Stream, databases: Databases, stack_environment: Mapping[str, str]
    ) -> None:
        uri = stack_environment["AMQP_URI"]
        send_command(uri, ORDER, "pause")
        wait_until(lambda: connector.state() == "paused", "it is paused", timeout_s=60)
        row = str(uuid4())
        databases.query("order_service", INSERT, row, 1)
        assert connector.figure("ordersaga_cdc_paused") == 1

        def let_go() -> Any:
            """PostgreSQL may learn of it a moment later."""
            status = status_of(ORDER, f"127.0.0.1:{connector.port}", stack_environment["ORDER_DATABASE_URL"])
            return status if status.slot and not status.slot["isRead"] and status.slot["lagBytes"] > 0 else None

        assert wait_until(let_go, "its slot is kept, and read by nobody").process == "paused"

        connector.process.restart_killed()
        wait_until(lambda: connector.state() == "paused", "it is still paused", timeout_s=60)
        assert stream.of("order_items", order_id=row) == []

        send_command(uri, ORDER, "resume")
        stream.read_until(lambda: stream.of("order_items", order_id=row), "the change", timeout_s=120)
        wait_until(lambda: connector.figure("ordersaga_cdc_paused") == 0, "it says so")

    def test_a_snapshot_reads_all_rows_but_the_outbox_and_goes_on(
        self, connector: Connector, stream: Stream, databases: Databases, stack_environment: Mapping[str, str]
    ) -> None:
        rows = sorted(str(uuid4()) for _ in range(20))
        for row in rows:
            databases.query("order_service", INSERT, row, 1)
        databases.query(
            "order_service",
            """insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload,
                                   occurred_at)
               values (gen_random_uuid(), 'ORDER_CREATED', 'a', 'c', 1, '{}', now())""",
        )
        stream.read_until(lambda: len(stream.changes) == 21, "21 changes")
        send_command(stack_environment["AMQP_URI"], ORDER, "snapshot")
        stream.read_until(lambda: len(stream.changes) >= 41, "20 rows again", timeout_s=120)
        read = stream.changes[21:41]
        assert sorted(change["after"]["order_id"] for change in read) == rows
        assert {(c["operation"], c["isSnapshot"], c["transactionId"]) for c in read} == {("r", True, None)}
        # What was not acknowledged when the snapshot was asked for comes once more behind them.
        ids = [p.message_id for p in stream.properties if ":order_items:" in (p.message_id or "")][:40]
        assert len(set(ids)) == len(ids)
        databases.query("order_service", INSERT, str(uuid4()), 5)
        stream.read_until(lambda: stream.of("order_items", quantity=5), "the log goes on", timeout_s=60)

    def test_what_is_no_command_is_put_aside(
        self, connector: Connector, broker: Broker, stack_environment: Mapping[str, str]
    ) -> None:
        for body in (b"{", b"[]", b'{"command": "explode"}'):
            broker.publish("", ORDER.commands_queue, body)
        wait_until(lambda: connector.process.output().count("command_unknown") == 3, "it says so")
        send_command(stack_environment["AMQP_URI"], ORDER, "pause")
        wait_until(lambda: connector.state() == "paused", "it still listens", timeout_s=60)


class TestFigures:
    def test_changes_lag_and_the_slot(self, connector: Connector, stream: Stream, databases: Databases) -> None:
        row = str(uuid4())
        databases.query("order_service", INSERT, row, 1)
        databases.query("order_service", UPDATE, 2, row)
        stream.read_until(lambda: len(stream.changes) == 2, "both changes")
        counted = "ordersaga_cdc_changes_total"
        wait_until(lambda: connector.figure(counted, table="order_items", operation="u") == 1, "an update is counted")
        assert connector.figure(counted, table="order_items", operation="c") == 1
        assert connector.figure("ordersaga_cdc_lag_seconds") is not None
        wait_until(lambda: (connector.figure("ordersaga_cdc_lag_bytes") or 10**9) < 10**6, "it keeps up")

    def test_a_frozen_one_is_seen_by_its_slot(self, connector: Connector, databases: Databases) -> None:
        """The services tell of it, who do not depend on it."""
        retained = next(f for f in SLOT_FIGURES if f.name.endswith("retained_bytes")).statement.text
        connector.process.send(signal.SIGSTOP)
        try:
            before = dict(databases.query("order_service", retained))["order_cdc"]
            databases.query("order_service", "select pg_logical_emit_message(true, 'noise', repeat('x', 5000000))")
            after = dict(databases.query("order_service", retained))["order_cdc"]
            assert after - before >= 5_000_000
        finally:
            connector.process.send(signal.SIGCONT)
