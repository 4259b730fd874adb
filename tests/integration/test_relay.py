"""The relay: nothing recorded is lost, nothing overtakes, whoever dies."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from harness.broker import CHOREOGRAPHY, Broker
from harness.databases import Databases
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

from ops.stack import Stack
from shared.messaging.pipelined_publisher import PipelinedPublisher, Window
from shared.relay import Relay, RelaySettings
from shared.relaying.sources import WINDOW, PollingSource, SourceMaker

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

SERVICE, EXCHANGE = "inventory_service", "inventory_service.events"
EVENT, QUEUE = "INVENTORY_REJECTED", "order_service.INVENTORY_REJECTED"
INSERT = """
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
select %s, %s, %s, %s, 1, %s, now()
"""
MANY = """
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
select gen_random_uuid(), %s, 'a' || n, 'c', 1, '{}', now() from generate_series(1, 5000) n
"""
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s and pid <> pg_backend_pid()"
UNPUBLISHED = "select count(*) from outbox where published_at is null"


class _Crash(Exception):
    """The process dies here."""


class CrashingPublisher(PipelinedPublisher):
    """Publishes for real, then dies before anything can be marked."""

    def publish(self, rows: Any) -> Window:
        super().publish(rows)
        raise _Crash


def _record(databases: Databases, aggregate: str, number: int = 0, *, event: str = EVENT, **row: str) -> str:
    event_id = str(uuid4())
    payload = json.dumps({"aggregate": aggregate, "number": number})
    databases.query(SERVICE, INSERT, event_id, event, aggregate, row.get("correlation_id", "c"), payload)
    return event_id


MakeRelay = Callable[..., Relay]


@pytest.fixture
def make_source() -> SourceMaker:
    """Of a relay that is made in this process."""
    return PollingSource


@pytest.fixture
def make_relay(stack_environment: Mapping[str, str], make_source: SourceMaker) -> MakeRelay:
    """A relay in this process, not started; ``publisher``: the kind of publisher that it has."""
    url, uri = stack_environment["INVENTORY_DATABASE_URL"], stack_environment["AMQP_URI"]
    events = CHOREOGRAPHY.events

    def make(publisher: type[PipelinedPublisher] = PipelinedPublisher) -> Relay:
        settings = RelaySettings(service=SERVICE, database_url=url, retention_s=3600)
        return Relay(settings, publisher(uri, EXCHANGE, lambda name: bool(events[name].consumers)), make_source)

    return make


@contextmanager
def _running(relay: Relay) -> Iterator[Relay]:
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(20)
        assert not thread.is_alive()


def _arrived(broker: Broker, queue: str = QUEUE) -> list[dict[str, Any]]:
    return [json.loads(letter.body) for letter in broker.take(queue)]


def _all_published(databases: Databases) -> bool:
    return bool(databases.value(SERVICE, UNPUBLISHED) == 0)


@pytest.fixture
def relay_process(processes: Processes, relay_settings: Mapping[str, str]) -> Iterator[ServiceProcess]:
    process = processes.start_ready(SERVICE, "relay", **relay_settings)
    yield process
    if process.is_alive:
        assert process.terminate() == 0


def test_an_event_arrives_with_its_whole_envelope(
    broker: Broker, databases: Databases, relay_process: ServiceProcess
) -> None:
    """Given a row in the outbox, then payload and metadata arrive as recorded, persistent."""
    event_id = _record(databases, "a", 1, correlation_id="order-1")
    wait_until(lambda: _all_published(databases), "it is published")

    [message] = broker.take(QUEUE)
    properties = message.properties
    assert json.loads(message.body) == {"aggregate": "a", "number": 1}
    assert (properties.message_id, properties.type, properties.app_id) == (event_id, EVENT, SERVICE)
    assert (properties.correlation_id, properties.delivery_mode) == ("order-1", 2)
    assert message.headers["schema_version"] == 1


def test_a_crash_between_publish_and_mark_publishes_again(
    broker: Broker, databases: Databases, make_relay: MakeRelay
) -> None:
    """Given a relay that died after the broker confirmed, then its successor publishes the same ids once more."""
    event_ids = {_record(databases, f"a{number}") for number in range(3)}
    crashing = make_relay(CrashingPublisher)
    with pytest.raises(_Crash):
        crashing.run()
    crashing._step_down()
    crashing._publisher.close()
    first = {message.properties.message_id for message in broker.take(QUEUE)}
    assert databases.value(SERVICE, UNPUBLISHED) == 3

    with _running(make_relay()):
        wait_until(lambda: _all_published(databases), "all are published")
    assert first == event_ids == {message.properties.message_id for message in broker.take(QUEUE)}


def test_the_standby_takes_over_from_a_killed_relay(
    broker: Broker,
    databases: Databases,
    processes: Processes,
    relay_process: ServiceProcess,
    relay_settings: Mapping[str, str],
) -> None:
    """Given an active relay and one on standby, when the active one is killed, then the other goes on."""
    standby = processes.start(SERVICE, "relay", **relay_settings)
    wait_until(lambda: _relay_sessions(databases) == 2, "the standby asks for the lock")
    assert "relay_active" not in standby.output()
    _record(databases, "before")
    wait_until(lambda: _all_published(databases), "the active one publishes")

    relay_process.kill()
    _record(databases, "after")

    wait_until(lambda: _all_published(databases), "the standby publishes")
    assert "relay_active" in standby.output()
    assert [event["aggregate"] for event in _arrived(broker)] == ["before", "after"]
    assert standby.terminate() == 0


def _relay_sessions(databases: Databases) -> int:
    statement = "select count(*) from pg_stat_activity where datname = %s and usename = %s and pid <> pg_backend_pid()"
    return int(databases.value(SERVICE, statement, SERVICE, SERVICE))


def test_an_unroutable_event_is_parked_and_stops_nobody_else(
    broker: Broker, databases: Databases, relay_process: ServiceProcess
) -> None:
    """Given a missing binding, then that aggregate waits in its order, the others flow, and nothing is lost."""
    broker.unbind(QUEUE, EXCHANGE, EVENT)
    try:
        stuck = [_record(databases, "stuck", number) for number in range(3)]
        other = "payment_service.INVENTORY_REFUNDED"
        behind = _record(databases, "stuck", 3, event="INVENTORY_REFUNDED")
        for number in range(20):
            _record(databases, f"free-{number}", event="INVENTORY_REFUNDED")
        wait_until(lambda: broker.depth(other) == 20, "other aggregates flow")
        statement = "select event_id::text, refusals > 0 from outbox where published_at is null order by id"

        def only_they_wait() -> bool:
            """A message is in its queue a moment before its row is marked."""
            rows = databases.query(SERVICE, statement)
            return [row[0] for row in rows] == [*stuck, behind] and bool(rows[0][1])

        def logged() -> list[dict[str, Any]]:
            return [json.loads(line) for line in relay_process.output().splitlines() if '"events_refused"' in line]

        wait_until(only_they_wait, "the first one was refused, and only what is behind it waits too")
        lines = wait_until(logged, "it is logged")
        assert {(line["level"], *line["orders"], *line["event_ids"]) for line in lines} == {
            ("error", "stuck", stuck[0])
        }
    finally:
        broker.bind(QUEUE, EXCHANGE, EVENT)

    wait_until(lambda: _all_published(databases), "all are published", timeout_s=60)
    assert [event["number"] for event in _arrived(broker)] == [0, 1, 2]


def test_the_order_of_an_aggregate_is_kept(broker: Broker, databases: Databases, relay_process: ServiceProcess) -> None:
    """Given several events each of many aggregates, then each aggregate's arrive in the order recorded."""
    for number in range(20):
        for aggregate in range(10):
            _record(databases, f"a{aggregate}", number)
    wait_until(lambda: _all_published(databases), "all are published")

    arrived = _arrived(broker)
    for aggregate in range(10):
        assert [e["number"] for e in arrived if e["aggregate"] == f"a{aggregate}"] == list(range(20))


def test_a_transaction_that_commits_late_is_not_skipped(
    broker: Broker, databases: Databases, relay_process: ServiceProcess
) -> None:
    """Given a row with a lower id that becomes visible after a later one was published, then it is published too."""
    with databases.transaction(SERVICE) as cursor:
        cursor.execute(INSERT, (str(uuid4()), EVENT, "late", "c", '{"aggregate": "late"}'))
        _record(databases, "early")
        wait_until(lambda: broker.depth(QUEUE) == 1, "the later id is published")
        cursor.connection.commit()

    wait_until(lambda: _all_published(databases), "all are published")
    assert [event["aggregate"] for event in _arrived(broker)] == ["early", "late"]


def test_an_event_that_cannot_be_encoded_stops_nobody_else(
    broker: Broker, databases: Databases, relay_process: ServiceProcess
) -> None:
    """Given a row whose correlation id is longer than AMQP allows, then it alone is refused."""
    _record(databases, "too-long", correlation_id="é" * 200)
    _record(databases, "fine")

    wait_until(lambda: broker.depth(QUEUE) == 1, "the other one arrives")
    refused = "select count(*) from outbox where published_at is null and refusals > 0"
    wait_until(lambda: databases.value(SERVICE, refused) == 1, "the first one is refused")
    assert relay_process.is_alive


def test_an_event_nobody_consumes_is_published_once(databases: Databases, relay_process: ServiceProcess) -> None:
    """Given an event without consumers in the contract, then it is published, not refused as unroutable."""
    _record(databases, "a", event="INVENTORY_ADJUSTED")

    wait_until(lambda: _all_published(databases), "it is published")
    assert databases.value(SERVICE, "select refusals from outbox") == 0


def test_a_notification_wakes_the_relay(broker: Broker, databases: Databases, relay_process: ServiceProcess) -> None:
    """Given a relay with nothing to do, when a row is recorded with its notification, then it is published."""
    for number in range(5):
        _record(databases, f"a{number}")
        databases.query(SERVICE, "select pg_notify('outbox', '')")
        wait_until(lambda: _all_published(databases), "it is published")
    assert broker.depth(QUEUE) == 5


def test_the_relay_outlives_its_database_and_its_broker(
    stack: Stack, broker: Broker, databases: Databases, relay_process: ServiceProcess
) -> None:
    """Given kill -9 of the broker and a cut database session, then the same relay process goes on publishing."""
    _record(databases, "first")
    wait_until(lambda: _all_published(databases), "the first is published")

    stack.kill("rabbitmq")
    _record(databases, "while the broker is away")
    stack.up(infrastructure_only=True)
    wait_until(lambda: _all_published(databases), "published after the broker's return")

    databases.query(SERVICE, CUT, SERVICE)
    _record(databases, "after the session was cut")
    wait_until(lambda: _all_published(databases), "published on a new session")

    assert relay_process.is_alive
    arrived = {event["aggregate"] for event in _arrived(broker)}
    assert arrived == {"first", "while the broker is away", "after the session was cut"}


def test_old_published_rows_are_purged(databases: Databases, make_relay: MakeRelay) -> None:
    """Given published rows beyond their retention and a young one, then only the young one stays."""
    for age in ("2 hours", "3 hours", "1 minute"):
        _record(databases, age)
        statement = "update outbox set published_at = now() - cast(%s as interval) where aggregate_id = %s"
        databases.query(SERVICE, statement, age, age)

    with _running(make_relay()):
        wait_until(lambda: databases.value(SERVICE, "select count(*) from outbox") == 1, "old rows are gone")
    assert databases.value(SERVICE, "select aggregate_id from outbox") == "1 minute"


def test_sigterm_ends_a_relay_in_the_middle_of_its_work(
    broker: Broker,
    databases: Databases,
    relay_process: ServiceProcess,
    processes: Processes,
    relay_settings: Mapping[str, str],
) -> None:
    """Given thousands of rows, when the relay is told to end, then it ends with 0 and another one does the rest."""
    databases.query(SERVICE, MANY, EVENT)
    relay_process.send(signal.SIGTERM)
    assert relay_process.wait_end() == 0

    successor = processes.start(SERVICE, "relay", **relay_settings)
    wait_until(lambda: _all_published(databases), "all are published")
    # What was on its way when it ended may come twice.
    ids = [message.properties.message_id for message in broker.take(QUEUE)]
    assert len(set(ids)) == 5000
    assert len(ids) <= 5000 + 2 * WINDOW
    assert successor.terminate() == 0


def test_two_relays_at_once_do_not_publish_twice(databases: Databases, make_relay: MakeRelay) -> None:
    """Given the election lock held by one session, then another one does not get it."""
    with _running(make_relay()):
        held = "select count(*) from pg_locks where locktype = 'advisory' and granted"
        wait_until(lambda: databases.value(SERVICE, held) == 1, "one relay is elected")
        second = make_relay()
        second._database.connect()
        try:
            assert second._is_elected() is False
        finally:
            second._database.disconnect()
