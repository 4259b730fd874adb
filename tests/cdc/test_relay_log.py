"""What only a relay that follows the log can do wrong: begin in the wrong place, lose its slot, be told twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import psycopg2
import pytest
from faults.crash_points import CrashOrders
from harness.broker import Broker
from harness.change_data import NEEDS_DEBEZIUM
from harness.databases import Databases
from harness.ports import free_port
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until
from prometheus_client.parser import text_string_to_metric_families

from ops.databases import driver_url
from ops.replication import drop_slots
from shared.change_data.captured import outbox_slot

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("clean")]

SERVICE, EVENT, QUEUE = "inventory_service", "INVENTORY_REJECTED", "order_service.INVENTORY_REJECTED"
SLOT = outbox_slot(SERVICE)
INSERT = """
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
select %s, %s, %s, 'c', 1, json_build_object('aggregate', %s::text, 'number', %s::int), now()
"""
UNPUBLISHED = "select count(*) from outbox where published_at is null"
WRITE_LOG = "select pg_logical_emit_message(false, 'filling', repeat('x', 100000)), pg_switch_wal()"


def _record(databases: Databases, aggregate: str, *numbers: int) -> None:
    for number in numbers:
        databases.query(SERVICE, INSERT, str(uuid4()), EVENT, aggregate, aggregate, number)


def _wait_until_published(databases: Databases) -> None:
    wait_until(lambda: databases.value(SERVICE, UNPUBLISHED) == 0, "all is published", timeout_s=120)


def _numbers(broker: Broker, aggregate: str) -> list[int]:
    """In the order in which they came, each when it came for the first time."""
    told = [json.loads(letter.body) for letter in broker.take(QUEUE)]
    return list(dict.fromkeys(event["number"] for event in told if event["aggregate"] == aggregate))


def _taken(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    taken = {s.labels["way"]: s.value for s in samples if s.name == "ordersaga_relay_events_taken_total"}
    return {way: count for way, count in taken.items() if count}


@pytest.fixture
def start(processes: Processes, relay_settings: Mapping[str, str]) -> Iterator[Any]:
    """A relay that follows the log, ready; ended at the end of the test."""
    started: list[ServiceProcess] = []

    def start(**settings: str) -> ServiceProcess:
        started.append(processes.start_ready(SERVICE, "relay", **{**relay_settings, **settings}))
        return started[-1]

    yield start
    for process in started:
        if process.is_alive:
            assert process.terminate() == 0


def test_rows_come_by_the_log_and_not_by_reading_the_table(databases: Databases, broker: Broker, start: Any) -> None:
    """Given several aggregates in turn, then each one's order is kept, and nothing had to be found by a sweep."""
    port = free_port()
    start(METRICS_PORT=str(port))
    for number in range(5):
        for aggregate in ("a", "b", "c"):
            _record(databases, aggregate, number)
    _wait_until_published(databases)
    assert _taken(port) == {"change": 15}
    assert _numbers(broker, "b") == list(range(5))


@pytest.mark.parametrize("point", ["relay.read", "relay.sending", "relay.published", "relay.marked"])
def test_a_relay_that_dies_anywhere_loses_nothing(
    databases: Databases, broker: Broker, start: Any, tmp_path: Path, point: str
) -> None:
    """Given kill -9 with a batch of changes in hand, then the next relay publishes what is left, in order."""
    orders = CrashOrders(folder=tmp_path)
    relay = start(**orders.settings(), ORDERSAGA_PROCESS="relay")
    orders.give(point, passes=1)
    _record(databases, "a", 0, 1, 2)
    wait_until(lambda: not relay.is_alive, "it dies", timeout_s=60)
    assert orders.death(point) is not None
    relay.was_killed = True
    _record(databases, "a", 3)

    start()
    _record(databases, "a", 4)
    _wait_until_published(databases)
    assert _numbers(broker, "a") == [0, 1, 2, 3, 4]


def test_either_way_takes_over_from_the_other(
    databases: Databases, broker: Broker, start: Any, processes: Processes
) -> None:
    """Given a relay that polls, one that follows the log, and one that polls again, then each does what is left."""
    expected = []
    for number, way in enumerate(("polling", "cdc", "polling", "cdc")):
        _record(databases, "a", 2 * number)
        relay = start(OUTBOX_RELAY=way)
        _record(databases, "a", 2 * number + 1)
        _wait_until_published(databases)
        assert relay.terminate() == 0
        expected += [2 * number, 2 * number + 1]
    assert _numbers(broker, "a") == expected


@contextmanager
def _administrator(environment: Mapping[str, str]) -> Iterator[Any]:
    connection = psycopg2.connect(driver_url(environment["ADMIN_DATABASE_URL"]), connect_timeout=5)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextmanager
def _little_log_kept(cursor: Any) -> Iterator[None]:
    cursor.execute("show max_slot_wal_keep_size")
    before = cursor.fetchone()[0]
    try:
        cursor.execute("alter system set max_slot_wal_keep_size = '1MB'")
        cursor.execute("select pg_reload_conf()")
        yield
    finally:
        cursor.execute(f"alter system set max_slot_wal_keep_size = '{before}'")
        cursor.execute("select pg_reload_conf()")


def test_a_slot_that_the_server_gave_up_is_made_anew_and_the_gap_is_filled(
    databases: Databases, broker: Broker, start: Any, stack_environment: Mapping[str, str]
) -> None:
    """Given a relay that was away until its log was gone, then what it missed goes first, from the table."""
    assert start().terminate() == 0
    with _administrator(stack_environment) as cursor, _little_log_kept(cursor):

        def is_lost() -> bool:
            cursor.execute(WRITE_LOG)
            cursor.execute("checkpoint")
            cursor.execute("select wal_status from pg_replication_slots where slot_name = %s", (SLOT,))
            return bool(cursor.fetchone()[0] == "lost")

        _record(databases, "a", 0, 1)
        wait_until(is_lost, "the slot is lost")
    port = free_port()
    relay = start(METRICS_PORT=str(port))
    assert '"slot_lost"' in relay.output()
    _record(databases, "a", 2)
    _wait_until_published(databases)
    assert _numbers(broker, "a") == [0, 1, 2]
    assert _taken(port)["change"] == 1


def test_a_slot_that_is_taken_away_stops_nobody(
    databases: Databases, broker: Broker, start: Any, stack_environment: Mapping[str, str]
) -> None:
    """Given a relay whose slot is dropped under it, then it polls until it has another one, and misses nothing."""
    relay = start()
    _record(databases, "a", 0)
    _wait_until_published(databases)
    drop_slots(stack_environment["ADMIN_DATABASE_URL"], SERVICE, [SLOT])
    _record(databases, "a", 1, 2)
    wait_until(lambda: relay.output().count('"relay_streaming"') == 2, "it streams again", timeout_s=120)
    assert '"relay_fell_back"' in relay.output()
    _record(databases, "a", 3)
    _wait_until_published(databases)
    assert _numbers(broker, "a") == [0, 1, 2, 3]


def test_an_event_that_is_to_go_again_does(databases: Databases, broker: Broker, start: Any) -> None:
    """Given an operator's repair, which is an update and not told by the log, then the event goes once more."""
    start()
    _record(databases, "a", 0)
    _wait_until_published(databases)
    databases.query(SERVICE, "update outbox set published_at = null")
    databases.query(SERVICE, "select pg_notify('outbox_again', '')")
    wait_until(lambda: broker.depth(QUEUE) == 2, "it comes once more")
    _wait_until_published(databases)
