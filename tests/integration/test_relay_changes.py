"""A relay that is told of changes: what is told early, late, twice or not at all is published all the same, in order.

Real broker and database; the engine is the test's own, so that it can tell what the log would tell in a bad moment.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from harness.broker import CHOREOGRAPHY, Broker
from harness.databases import Databases
from harness.told_engine import ROWS, ToldEngines, changes_of
from harness.waiting import wait_until

from shared.messaging.pipelined_publisher import PipelinedPublisher
from shared.metrics import REGISTRY
from shared.relay import Relay, RelaySettings
from shared.relaying.choosing import from_changes

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

SERVICE, EXCHANGE = "inventory_service", "inventory_service.events"
EVENT, QUEUE = "INVENTORY_REJECTED", "order_service.INVENTORY_REJECTED"
INSERT = """
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
select %s, %s, %s, 'c', 1, json_build_object('aggregate', %s::text, 'number', %s::int), now()
"""
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s and pid <> pg_backend_pid()"
UNPUBLISHED = "select count(*) from outbox where published_at is null"
LOOKS_AGAIN = """
select count(*) from pg_stat_activity where datname = %s and query like '%%pg_xact_status%%' and pid <> pg_backend_pid()
"""


def taken(way: str) -> float:
    return REGISTRY.get_sample_value("ordersaga_relay_events_taken_total", {"way": way}) or 0.0


def row(aggregate: str, number: int = 0) -> tuple[Any, ...]:
    return (str(uuid4()), EVENT, aggregate, aggregate, number)


@pytest.fixture
def engines() -> ToldEngines:
    return ToldEngines()


@pytest.fixture
def relay(stack_environment: Mapping[str, str], engines: ToldEngines) -> Iterator[Relay]:
    """Runs in a thread, not yet started: :func:`started`."""
    events = CHOREOGRAPHY.events
    publisher = PipelinedPublisher(stack_environment["AMQP_URI"], EXCHANGE, lambda name: bool(events[name].consumers))
    url = stack_environment["INVENTORY_DATABASE_URL"]
    relay = Relay(RelaySettings(service=SERVICE, database_url=url, retention_s=3600), publisher, from_changes(engines))
    thread = threading.Thread(target=relay.run)
    relay.start = thread.start  # type: ignore[attr-defined]
    yield relay
    relay.stop()
    if thread.ident is not None:
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def streaming(relay: Any) -> Relay:
    relay.start()
    _wait_until_streaming(relay)
    return relay


def _wait_until_streaming(relay: Any) -> None:
    wait_until(lambda: relay._source.is_caught_up, "the relay follows the log")


def _record(databases: Databases, aggregate: str, number: int = 0) -> None:
    databases.query(SERVICE, INSERT, *row(aggregate, number))


def _tell(engines: ToldEngines, databases: Databases, *aggregates: str) -> None:
    """As one batch, rows by id."""
    engines.newest.tell(changes_of(databases.query(SERVICE, ROWS, list(aggregates))))


def _wait_until_acknowledged(engines: ToldEngines, batches: int) -> None:
    """``batches``: besides the heartbeat that it began with."""
    wait_until(lambda: engines.newest.acknowledged == 1 + batches, "all that was told is acknowledged")


def _arrived(broker: Broker) -> list[tuple[str, int]]:
    bodies = [json.loads(letter.body) for letter in broker.take(QUEUE)]
    return [(body["aggregate"], body["number"]) for body in bodies]


def _unpublished(databases: Databases) -> int:
    return int(databases.value(SERVICE, UNPUBLISHED))


def test_what_is_told_is_published_marked_and_then_acknowledged(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given several rows each of several aggregates in one batch, then each one's arrive in the order recorded."""
    before = taken("change")
    for number in range(5):
        for aggregate in ("a", "b"):
            _record(databases, aggregate, number)
    _tell(engines, databases, "a", "b")

    _wait_until_acknowledged(engines, 1)
    assert _unpublished(databases) == 0
    arrived = _arrived(broker)
    for aggregate in ("a", "b"):
        assert [found for found in arrived if found[0] == aggregate] == [(aggregate, n) for n in range(5)]
    assert taken("change") == before + 10


def test_what_was_recorded_before_is_published_first(
    broker: Broker, databases: Databases, engines: ToldEngines, relay: Any
) -> None:
    """Given rows that the log never had, then they go before those that it tells of."""
    for number in range(3):
        _record(databases, "a", number)
    relay.start()
    _wait_until_streaming(relay)
    _record(databases, "a", 3)
    _tell(engines, databases, "a")

    _wait_until_acknowledged(engines, 1)
    assert _arrived(broker) == [("a", number) for number in range(4)]


def test_what_is_told_again_is_not_published_again(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given a batch twice, and a row that was purged meanwhile, then both are acknowledged and nobody gets it twice."""
    _record(databases, "a")
    _record(databases, "gone")
    told = changes_of(databases.query(SERVICE, ROWS, ["a", "gone"]))
    engines.newest.tell(told)
    _wait_until_acknowledged(engines, 1)
    databases.query(SERVICE, "delete from outbox where aggregate_id = 'gone'")
    engines.newest.tell([*told, *told])

    _wait_until_acknowledged(engines, 2)
    assert sorted(_arrived(broker)) == [("a", 0), ("gone", 0)]


def test_a_change_that_is_told_before_others_can_see_it_waits(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given a row whose transaction has not quite ended, then it is published and marked when it has, once.

    Otherwise it would be published, and nothing marked, as an update does not see it either.
    """
    with databases.transaction(SERVICE) as cursor:
        cursor.execute(INSERT, row("early"))
        cursor.execute(ROWS, (["early"],))
        engines.newest.tell(changes_of(cursor.fetchall()))
        wait_until(lambda: databases.value(SERVICE, LOOKS_AGAIN, SERVICE), "the relay asks whether it has ended")
        assert (engines.newest.acknowledged, broker.depth(QUEUE)) == (1, 0)
        cursor.connection.commit()

    _wait_until_acknowledged(engines, 1)
    assert _unpublished(databases) == 0
    assert _arrived(broker) == [("early", 0)]


def test_a_refused_row_is_not_overtaken_by_what_is_told_later(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given a missing binding, then changes of that aggregate are acknowledged and wait in the table, in their order;
    when the binding is back they go by themselves, and later changes move the aggregate again."""
    broker.unbind(QUEUE, EXCHANGE, EVENT)
    try:
        _record(databases, "stuck", 0)
        _tell(engines, databases, "stuck")
        _wait_until_acknowledged(engines, 1)
        assert databases.value(SERVICE, "select refusals > 0 from outbox")
        for number in (1, 2):
            _record(databases, "stuck", number)
        _tell(engines, databases, "stuck")
        _wait_until_acknowledged(engines, 2)
        assert _unpublished(databases) == 3
    finally:
        broker.bind(QUEUE, EXCHANGE, EVENT)
    wait_until(lambda: _unpublished(databases) == 0, "all are published", timeout_s=60)
    wait_until(lambda: not streaming._source._hand.held, "the aggregate is free again")

    before = taken("change")
    _record(databases, "stuck", 3)
    _tell(engines, databases, "stuck")
    _wait_until_acknowledged(engines, 3)
    assert taken("change") == before + 1
    assert _arrived(broker) == [("stuck", number) for number in range(4)]


def test_a_row_that_is_to_go_again_does_so_although_nobody_tells(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given an operator's repair, which updates a row, then the relay looks for itself."""
    _record(databases, "a")
    _tell(engines, databases, "a")
    _wait_until_acknowledged(engines, 1)
    databases.query(SERVICE, "update outbox set published_at = null")
    databases.query(SERVICE, "select pg_notify('outbox_again', '')")

    wait_until(lambda: broker.depth(QUEUE) == 2, "it arrives once more")
    wait_until(lambda: _unpublished(databases) == 0, "it is marked")


def test_an_engine_that_ends_is_missed_by_nobody(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given an engine that fails with a batch untold, then the table is polled until another one streams."""
    engines.newest.fail()
    wait_until(lambda: not streaming._source.is_caught_up, "the relay falls back")
    _record(databases, "meanwhile")
    wait_until(lambda: _unpublished(databases) == 0, "it is published by polling")
    wait_until(lambda: len(engines.made) == 2, "another engine is made")
    _wait_until_streaming(streaming)
    _record(databases, "afterwards")
    _tell(engines, databases, "meanwhile", "afterwards")

    _wait_until_acknowledged(engines, 1)
    assert _arrived(broker) == [("meanwhile", 0), ("afterwards", 0)]


def test_a_relay_that_loses_its_session_lets_go_of_its_batch(
    broker: Broker, databases: Databases, engines: ToldEngines, streaming: Relay
) -> None:
    """Given a session that is cut, and with it the election, then the engine ends; the next one tells it again."""
    first = engines.newest
    databases.query(SERVICE, CUT, SERVICE)
    _record(databases, "a")
    first.tell(changes_of(databases.query(SERVICE, ROWS, ["a"])))
    wait_until(lambda: len(engines.made) == 2, "another engine is made")
    assert first.acknowledged == 1
    _wait_until_streaming(streaming)
    _tell(engines, databases, "a")

    _wait_until_acknowledged(engines, 1)
    assert _arrived(broker) == [("a", 0)]
