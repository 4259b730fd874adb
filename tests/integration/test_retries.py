"""Transient errors are tried again later, permanent ones never; both harm no other event and no other consumer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pika
import pytest
from harness.broker import CHOREOGRAPHY, Broker
from harness.databases import Databases
from harness.payloads import new_order_id, order_created, payment_success
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

from ops.management import ManagementApi
from shared.messaging.batch_consumer import BATCH_SIZE

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("inventory", "clean")]

QUEUE = "inventory_service.ORDER_CREATED"
FIRST_DELAY_S = CHOREOGRAPHY.retry_delays_s[0]
RETRY = f"inventory_service.retry.{FIRST_DELAY_S}s"
LAST_RETRY = f"inventory_service.retry.{CHOREOGRAPHY.retry_delays_s[-1]}s"
ANSWERED = "select count(distinct aggregate_id) from outbox where aggregate_id = any(%s)"


@pytest.fixture(scope="module")
def inventory(processes: Processes) -> ServiceProcess:
    return processes.start_ready("inventory_service")


@pytest.fixture
def broken_inventory(databases: Databases) -> None:
    """The service may not write its reservations' sagas: an error nobody foresaw, until it is mended."""
    databases.query("inventory_service", "alter table sagas rename to sagas_away")


def _mend(databases: Databases) -> None:
    databases.query("inventory_service", "alter table if exists sagas_away rename to sagas")


@pytest.fixture(autouse=True)
def _mended(databases: Databases) -> object:
    _mend(databases)
    yield
    _mend(databases)


def _waits_for_its_next_try(broker: Broker) -> bool:
    """Whichever try that is: it is in the first queue for a second only."""
    return any(broker.depth(f"inventory_service.retry.{delay_s}s") for delay_s in CHOREOGRAPHY.retry_delays_s)


def _answered(databases: Databases, *order_ids: str) -> bool:
    return bool(databases.value("inventory_service", ANSWERED, list(order_ids)) == len(order_ids))


@pytest.mark.usefixtures("broken_inventory")
def test_an_event_that_failed_is_tried_again_and_applied(broker: Broker, databases: Databases) -> None:
    """Given a broken database that is mended, then the event comes back through the retry queue and is applied."""
    order_id = new_order_id()
    message_id = broker.publish_event("ORDER_CREATED", order_created(order_id, "no-such-item"))

    wait_until(lambda: _waits_for_its_next_try(broker), "the event waits in a retry queue")
    _mend(databases)

    wait_until(lambda: _answered(databases, order_id), "the event was applied")
    cause = "select causation_id::text from outbox where aggregate_id = %s"
    assert databases.value("inventory_service", cause, order_id) == message_id
    assert broker.all_dead() == {}


def test_a_lock_held_too_long_is_a_failed_attempt(broker: Broker, databases: Databases) -> None:
    """Given a row that another transaction holds beyond the lock timeout, then the event is applied after it ends."""
    order_id = new_order_id()
    databases.query("inventory_service", "insert into sagas values (%s, 'OPEN', 0, false)", order_id)
    with databases.transaction("inventory_service") as cursor:
        cursor.execute("select 1 from sagas where order_id = %s for update", (order_id,))
        broker.publish_event("ORDER_CREATED", order_created(order_id, "no-such-item"))
        wait_until(lambda: _waits_for_its_next_try(broker), "the event waits in a retry queue")
        assert not _answered(databases, order_id)

    wait_until(lambda: _answered(databases, order_id), "the event was applied")
    assert broker.all_dead() == {}


@pytest.mark.usefixtures("broken_inventory")
def test_the_attempts_are_counted_in_the_message(broker: Broker) -> None:
    """Given an event that failed before, then it waits in the queue of its next delay, with attempts and reason."""
    attempts = len(CHOREOGRAPHY.retry_delays_s) - 1
    headers = {"schema_version": 1, "x-attempts": attempts, "causation_id": new_order_id(), "mine": "kept"}
    payload = order_created(new_order_id(), "no-such-item")
    message_id = broker.publish_event("ORDER_CREATED", payload, headers=headers, correlation_id="c-1")

    wait_until(lambda: broker.depth(LAST_RETRY), "the event waits in the last retry queue")
    [waiting] = broker.take(LAST_RETRY)
    assert waiting.headers["x-attempts"] == attempts + 1
    assert waiting.headers["x-origin-queue"] == QUEUE
    assert waiting.headers["x-error-code"] == "unexpected_error"
    assert {name: waiting.headers[name] for name in ("causation_id", "mine")} == {
        name: headers[name] for name in ("causation_id", "mine")
    }
    assert (waiting.properties.message_id, waiting.properties.correlation_id) == (message_id, "c-1")
    assert waiting.properties.delivery_mode == 2


@pytest.mark.usefixtures("broken_inventory")
def test_after_the_last_attempt_it_is_a_dead_letter(broker: Broker) -> None:
    """Given an event that has used up its attempts, then it is dead-lettered as retries_exhausted."""
    headers = {"schema_version": 1, "x-attempts": len(CHOREOGRAPHY.retry_delays_s)}
    broker.publish_event("ORDER_CREATED", order_created(new_order_id(), "no-such-item"), headers=headers)

    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    assert letter.headers["x-error-code"] == "retries_exhausted"
    assert "sagas" in letter.headers["x-error"]
    assert letter.headers["x-origin-queue"] == QUEUE
    assert letter.headers["x-origin-exchange"] == "order_service.events"


@pytest.mark.usefixtures("broken_inventory")
def test_a_redelivered_dead_letter_starts_where_it_was_redriven(broker: Broker, databases: Databases) -> None:
    """Given a dead letter that an operator publishes again without its attempts, then it is a new chance."""
    order_id = new_order_id()
    headers = {"schema_version": 1, "x-attempts": len(CHOREOGRAPHY.retry_delays_s)}
    broker.publish_event("ORDER_CREATED", order_created(order_id, "no-such-item"), headers=headers)
    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    _mend(databases)

    letter.properties.headers = {**letter.headers, "x-attempts": 0}
    broker.publish("", QUEUE, letter.body, letter.properties)

    wait_until(lambda: _answered(databases, order_id), "it was applied")


def test_one_bad_event_harms_no_other_of_its_batch(broker: Broker, databases: Databases) -> None:
    """Given one event whose saga row is corrupt among many, then only that one fails; the others are applied."""
    good = [new_order_id() for _ in range(2 * BATCH_SIZE)]
    bad = new_order_id()
    databases.query("inventory_service", "insert into sagas values (%s, 'NONSENSE', 0, false)", bad)
    for number, order_id in enumerate([*good[:BATCH_SIZE], bad, *good[BATCH_SIZE:]]):
        headers = {"schema_version": 1, "x-attempts": 3, "number": number}
        broker.publish_event("ORDER_CREATED", order_created(order_id, "no-such-item"), headers=headers)

    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    assert letter.headers["number"] == BATCH_SIZE
    assert "NONSENSE" in letter.headers["x-error"]
    wait_until(lambda: _answered(databases, *good), "all others were applied")


@pytest.mark.usefixtures("broken_inventory")
def test_a_retry_returns_to_its_own_queue_alone(broker: Broker, databases: Databases) -> None:
    """Given an event with two consumers that one of them failed on, then the other gets no second copy."""
    other = "order_service.PAYMENT_SUCCESS"
    order_id = new_order_id()
    broker.publish_event("PAYMENT_SUCCESS", payment_success(order_id))
    wait_until(lambda: _waits_for_its_next_try(broker), "the event waits in a retry queue")
    _mend(databases)

    inbox = "select count(*) from inbox where event_type = 'PAYMENT_SUCCESS'"
    wait_until(lambda: databases.value("inventory_service", inbox), "it was applied")
    assert broker.depth(other) == 1
    assert broker.depth("inventory_service.PAYMENT_SUCCESS") == 0


def test_what_the_broker_itself_rejects_is_dead_lettered_too(
    broker: Broker, stack_environment: Mapping[str, str]
) -> None:
    """Given a consumer that only rejects, then the message is in the dead letters, at least once."""
    queue = "payment_service.INVENTORY_RESERVED"
    broker.publish("inventory_service.events", "INVENTORY_RESERVED", b"rejected")
    with pika.BlockingConnection(pika.URLParameters(stack_environment["AMQP_URI"])) as connection:
        channel = connection.channel()
        method = wait_until(lambda: _get(channel, queue), "it arrived")
        channel.basic_reject(method.delivery_tag, requeue=False)

    wait_until(lambda: broker.depth(f"{queue}.dead"), "there is a dead letter")
    assert [letter.body for letter in broker.dead(queue)] == [b"rejected"]


def _get(channel: Any, queue: str) -> Any:
    method, _, _ = channel.basic_get(queue)
    return method


def test_a_retry_queue_that_refuses_costs_nothing(
    broker: Broker, databases: Databases, inventory: ServiceProcess, stack_environment: Mapping[str, str]
) -> None:
    """Given a full retry queue, so that the broker answers with a nack, then the event stays and is applied later."""
    api = ManagementApi(stack_environment["ADMIN_MANAGEMENT_URL"])
    policy = "/api/policies/%2F/full-retry"
    full = {"pattern": r"^inventory_service\.retry\.", "definition": {"max-length": 0}, "priority": 9}
    order_id = new_order_id()
    databases.query("inventory_service", "alter table sagas rename to sagas_away")
    api.request("PUT", policy, {**full, "apply-to": "queues"})
    try:
        wait_until(lambda: _is_full(broker), "the retry queue refuses")
        broker.publish_event("ORDER_CREATED", order_created(order_id, "no-such-item"))
        wait_until(lambda: "event_not_moved" in inventory.output(), "the retry was refused")
        assert inventory.is_alive
    finally:
        _mend(databases)
        api.request("DELETE", policy)

    wait_until(lambda: _answered(databases, order_id), "the event was applied")
    assert inventory.is_alive


def _is_full(broker: Broker) -> bool:
    try:
        broker.publish("", RETRY, b"probe")
    except pika.exceptions.NackError:
        return True
    return False
