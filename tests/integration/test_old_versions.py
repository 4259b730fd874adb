"""Events of older majors, wherever they waited: in a queue, in an outbox, among the dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.broker import CHOREOGRAPHY, Broker
from harness.databases import Databases
from harness.payloads import new_order_id
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

from shared.messaging.dead_letters import DeadLetters

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

CONSUMER = "tests.harness.evolving"
EVENT, QUEUE = "PAYMENT_PENDING", "order_service.PAYMENT_PENDING"
INSERT = """
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
values (%s, %s, %s, 'c-1', %s, %s, now())
"""


def of_version(version: int, order_id: str, **more: Any) -> dict[str, Any]:
    """The same thing, as each version says it."""
    said = {
        1: {"price": "10.00", "currency": "EUR"},
        2: {"amount": "10.00", "currency": "EUR"},
        3: {"due": {"amount": "10.00", "currency": "EUR"}},
    }
    return {"id": order_id, **said[version], **more}


def as_third(order_id: str, *, reminder: bool = False) -> str:
    due = {"amount": Decimal("10.00"), "currency": "EUR"}
    return repr({"order_id": UUID(order_id), "due": due, "reminder": reminder})


@pytest.fixture
def consumer(processes: Processes) -> Iterator[ServiceProcess]:
    """The newest view, with upcasters for the two before."""
    process = processes.start_ready(CONSUMER)
    yield process
    assert process.terminate() == 0


def publish(broker: Broker, version: int, payload: Mapping[str, Any]) -> None:
    broker.publish_event(EVENT, payload, headers={"schema_version": version})


def seen(process: ServiceProcess) -> list[dict[str, Any]]:
    lines = [line for line in process.output().splitlines() if '"event": "seen"' in line]
    return [json.loads(line) for line in lines]


def wait_seen(process: ServiceProcess, number: int) -> dict[str, dict[str, Any]]:
    """Order id → what the consumer was given of it."""
    wait_until(lambda: len(seen(process)) >= number, f"{number} events were seen")
    return {line["came"]["id"]: line for line in seen(process)}


def test_what_waits_in_the_queue_is_read_in_all_versions_that_have_an_upcaster(
    broker: Broker, consumer: ServiceProcess
) -> None:
    """Given events of three majors in one queue, then the handler gets all of them as the newest, and nothing else."""
    orders = {version: new_order_id() for version in (1, 2, 3)}
    for version, order_id in orders.items():
        publish(broker, version, of_version(version, order_id))

    got = wait_seen(consumer, 3)

    assert {order_id: line["body"] for order_id, line in got.items()} == {
        order_id: as_third(order_id) for order_id in orders.values()
    }
    # The timeline records what was said, not what it was read as.
    assert {line["version"]: line["came"] for line in got.values()} == {
        version: of_version(version, order_id) for version, order_id in orders.items()
    }
    assert broker.all_dead() == {}


def test_a_field_of_a_later_minor_is_ignored_and_one_that_is_missing_has_its_default(
    broker: Broker, consumer: ServiceProcess
) -> None:
    """Given a newer minor than the consumer knows, and an older one, then it reads both."""
    newer, older = new_order_id(), new_order_id()
    publish(broker, 3, of_version(3, newer, reminder=True, addedLater={"deep": [1]}))
    publish(broker, 3, of_version(3, older))

    got = wait_seen(consumer, 2)

    assert got[newer]["body"] == as_third(newer, reminder=True)
    assert got[older]["body"] == as_third(older)


@pytest.mark.parametrize("version", [4, 32_767])
def test_a_major_that_nobody_taught_it_goes_to_the_dead_letters(
    broker: Broker, consumer: ServiceProcess, version: int
) -> None:
    """Given a newer major, then it is set aside as it came, and the event after it is read."""
    strange, known = new_order_id(), new_order_id()
    publish(broker, version, of_version(3, strange))
    publish(broker, 3, of_version(3, known))

    assert list(wait_seen(consumer, 1)) == [known]
    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    assert letter.headers["x-error-code"] == "unknown_schema_version"
    assert f"version {version}; readable: (1, 2, 3)" in letter.headers["x-error"]
    assert (json.loads(letter.body), letter.headers["schema_version"]) == (of_version(3, strange), version)


def test_a_payload_that_is_not_what_its_version_says_harms_no_other(broker: Broker, consumer: ServiceProcess) -> None:
    """Given an event whose upcaster finds nothing to work on, then it is a dead letter that says so."""
    broken, whole = new_order_id(), new_order_id()
    publish(broker, 1, {"id": broken, "currency": "EUR"})
    publish(broker, 1, of_version(1, whole))

    assert list(wait_seen(consumer, 1)) == [whole]
    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    assert letter.headers["x-error-code"] == "invalid_payload"
    assert "version 1 does not become 3: KeyError: 'price'" in letter.headers["x-error"]


def test_what_waits_in_an_outbox_keeps_the_version_it_was_written_in(
    broker: Broker, databases: Databases, processes: Processes, consumer: ServiceProcess
) -> None:
    """Given rows of older majors in the publisher's outbox, then its relay sends them so, and they are read."""
    orders = {version: new_order_id() for version in (1, 2)}
    for version, order_id in orders.items():
        row = (str(uuid4()), EVENT, order_id, version, json.dumps(of_version(version, order_id)))
        databases.query("payment_service", INSERT, *row)

    relay = processes.start_ready("payment_service", "relay")

    got = wait_seen(consumer, 2)
    assert {line["version"]: line["body"] for line in got.values()} == {
        version: as_third(order_id) for version, order_id in orders.items()
    }
    assert relay.terminate() == 0


def test_a_dead_letter_of_an_old_version_is_redriven_like_any_other(
    broker: Broker, processes: Processes, stack_environment: Mapping[str, str]
) -> None:
    """Given a consumer that was deployed too late, so that the new major became a dead letter, then once it is there
    the letter is redriven and read; and so is one that is older than all."""
    early, old = new_order_id(), new_order_id()
    first = processes.start_ready(CONSUMER, VIEW_VERSION="1")
    publish(broker, 2, of_version(2, early))
    publish(broker, 1, {"id": old, "currency": "EUR"})
    wait_until(lambda: broker.depth(f"{QUEUE}.dead") == 2, "both are dead letters")
    assert first.terminate() == 0
    # What was wrong with the old one is mended by hand: its body, and nothing else.
    letters = {json.loads(letter.body)["id"]: letter for letter in broker.dead(QUEUE)}
    for order_id, body in ((early, letters[early].body), (old, json.dumps(of_version(1, old)).encode())):
        broker.publish("", f"{QUEUE}.dead", body, letters[order_id].properties)

    second = processes.start_ready(CONSUMER)
    work_queues = [name for name, _ in CHOREOGRAPHY.work_queues()]
    moved = DeadLetters(stack_environment["AMQP_URI"], work_queues).redrive(QUEUE, 2)

    assert (len(moved.events), moved.stopped) == (2, None)
    got = wait_seen(second, 2)
    assert (got[early]["body"], got[old]["body"]) == (as_third(early), as_third(old))
    assert (got[early]["version"], got[old]["version"]) == (2, 1)
    assert broker.all_dead() == {}
    assert second.terminate() == 0
