"""Whatever arrives in a queue, it ends applied or in the dead letters; the service lives and good events pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pika
import pytest
from harness.broker import Broker, DeadLetter
from harness.databases import Databases
from harness.poison import BY_CODE, Message, good_payload
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

QUEUE = "inventory_service.ORDER_CREATED"
EVENT = "ORDER_CREATED"


@pytest.fixture(scope="module")
def inventory(processes: Processes) -> ServiceProcess:
    return processes.start_ready("inventory_service")


CORPUS = [
    pytest.param(message, code, id=name) for code, messages in BY_CODE.items() for name, message in messages.items()
]


def _publish_between_good_ones(broker: Broker, message: Message) -> list[str]:
    """A good event, the message, a good event; the good ones' order ids."""
    before, after = good_payload(), good_payload()
    body, properties = message
    broker.publish_event(EVENT, before)
    broker.publish_event(EVENT, body, **properties)
    broker.publish_event(EVENT, after)
    return [before["id"], after["id"]]


def _all_answered(databases: Databases, order_ids: list[str]) -> Callable[[], bool]:
    statement = "select count(distinct aggregate_id) from outbox where aggregate_id = any(%s)"
    return lambda: databases.value("inventory_service", statement, order_ids) == len(order_ids)


def _only_dead_letter(broker: Broker) -> DeadLetter:
    wait_until(lambda: broker.depth(f"{QUEUE}.dead"), "there is a dead letter")
    [letter] = broker.dead(QUEUE)
    return letter


@pytest.mark.parametrize(("message", "code"), CORPUS)
def test_poison_becomes_a_dead_letter_with_its_reason_and_harms_no_other(
    broker: Broker, databases: Databases, inventory: ServiceProcess, message: Message, code: str
) -> None:
    good = _publish_between_good_ones(broker, message)

    letter = _only_dead_letter(broker)
    assert letter.body == message[0]
    assert letter.headers["x-error-code"] == code
    assert letter.headers["x-error"]
    assert letter.headers["x-origin-queue"] == QUEUE
    assert letter.headers["x-origin-exchange"] == "order_service.events"
    assert letter.headers["x-failed-at"]
    wait_until(_all_answered(databases, good), "the good events were applied")
    assert inventory.is_alive


HARMLESS: dict[str, dict[str, Any]] = {
    "call_id_stack is a text": {"headers": {"nameko.call_id_stack": "not a list"}},
    "call_id_stack is a number": {"headers": {"nameko.call_id_stack": 7}},
    "call_id_stack is a table": {"headers": {"nameko.call_id_stack": {"a": 1}}},
    "x-attempts is a text": {"headers": {"x-attempts": "many"}},
    "x-attempts is negative": {"headers": {"x-attempts": -1}},
    "x-attempts is a list": {"headers": {"x-attempts": [1]}},
    "every type a header can have": {
        "headers": {
            "bytes": b"\xff\x00",
            "decimal": Decimal("1.5"),
            "moment": datetime(2026, 1, 1, tzinfo=UTC),
            "null": None,
            "list": [1, "a", None, {"b": 2**40}],
            "table": {"c": {"d": [True, -1]}},
            "long": -(2**62),
        }
    },
    "no headers": {"headers": {}},
    "no type, no content type": {"type": None, "content_type": None},
    "an id that is no uuid": {"message_id": "order 7, created"},
    "user-defined properties": {"priority": 9, "reply_to": "nobody", "cluster_id": "x", "expiration": "60000"},
}


@pytest.mark.parametrize("properties", HARMLESS.values(), ids=HARMLESS.keys())
def test_odd_but_harmless_messages_are_applied(
    broker: Broker, databases: Databases, inventory: ServiceProcess, properties: dict[str, Any]
) -> None:
    payload = good_payload()
    broker.publish_event(EVENT, payload, **properties)

    wait_until(_all_answered(databases, [payload["id"]]), "it was applied")
    assert inventory.is_alive
    assert broker.dead(QUEUE) == []


@pytest.mark.parametrize("properties", HARMLESS.values(), ids=HARMLESS.keys())
def test_odd_headers_do_not_keep_poison_from_the_dead_letters(
    broker: Broker, inventory: ServiceProcess, properties: dict[str, Any]
) -> None:
    broker.publish_event(EVENT, b"{}", **properties)

    assert _only_dead_letter(broker).body == b"{}"
    assert inventory.is_alive


def test_headers_too_large_to_be_extended_are_dead_lettered_by_the_broker(
    broker: Broker, databases: Databases, inventory: ServiceProcess
) -> None:
    """Given headers that just fit into a frame, so that no reason can be added, then nothing is lost all the same."""
    good = _publish_between_good_ones(broker, (b"{}", {"headers": {"pad": "x" * 130_500}}))

    letter = _only_dead_letter(broker)
    assert letter.body == b"{}"
    assert letter.headers["x-first-death-queue"] == QUEUE
    wait_until(_all_answered(databases, good), "the good events were applied")
    assert inventory.is_alive


class RawProperties(pika.BasicProperties):  # type: ignore[misc]  # pika is untyped
    """Properties as bytes, for what pika would not send: flags first, then the fields."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__()
        self._encoded = encoded

    def encode(self) -> list[bytes]:
        return [self._encoded]


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _table(fields: bytes) -> bytes:
    return len(fields).to_bytes(4, "big") + fields


def _nested_table(levels: int) -> bytes:
    fields = b""
    for _ in range(levels):
        fields = _short(b"a") + b"F" + _table(fields)
    return _table(fields)


MESSAGE_ID, HEADERS, TIMESTAMP = b"\x00\x80", b"\x20\x00", b"\x00\x40"
UNREADABLE: dict[str, bytes] = {
    "message_id is not UTF-8": MESSAGE_ID + _short(b"\xff\xfe"),
    "a header's time is beyond time": HEADERS + _table(_short(b"t") + b"T" + (2**63).to_bytes(8, "big")),
    "headers nested without end": HEADERS + _nested_table(3_000),
    "timestamp is beyond time": TIMESTAMP + (2**64 - 1).to_bytes(8, "big"),
}


@pytest.mark.parametrize("encoded", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_properties_that_the_client_library_cannot_read_are_dead_lettered(
    broker: Broker, databases: Databases, inventory: ServiceProcess, encoded: bytes
) -> None:
    """Given properties that make the AMQP library itself raise, then the message is set aside, not the service."""
    before, after, body = good_payload(), good_payload(), json.dumps(good_payload()).encode()
    broker.publish_event(EVENT, before)
    broker.publish("order_service.events", EVENT, body, RawProperties(encoded))
    broker.publish_event(EVENT, after)

    letter = _only_dead_letter(broker)
    assert letter.body == body
    assert letter.headers["x-error-code"] == "invalid_envelope"
    assert letter.headers["x-origin-queue"] == QUEUE
    wait_until(_all_answered(databases, [before["id"], after["id"]]), "the good events were applied")
    assert inventory.is_alive


def test_a_mixed_flood_loses_nothing(broker: Broker, databases: Databases, inventory: ServiceProcess) -> None:
    """Given all poison of the corpus between good events in one go, then every message is accounted for."""
    poison = [message for messages in BY_CODE.values() for message in messages.values()]
    good = [order_id for message in poison for order_id in _publish_between_good_ones(broker, message)]

    wait_until(_all_answered(databases, good), "all good events were applied")
    wait_until(lambda: broker.depth(f"{QUEUE}.dead") == len(poison), "all poison is dead-lettered")
    assert sorted(letter.body for letter in broker.dead(QUEUE)) == sorted(body for body, _ in poison)
    assert inventory.is_alive


def test_one_id_in_two_messages_of_one_batch_is_one_event(broker: Broker, databases: Databases) -> None:
    """Given the same message_id on a good and a bad message, then the good one is applied, the bad one set aside."""
    payload, message_id = good_payload(), str(uuid4())
    broker.publish_event(EVENT, b"{}", message_id=message_id)
    broker.publish_event(EVENT, payload, message_id=message_id)

    wait_until(_all_answered(databases, [payload["id"]]), "the good one was applied")
    assert _only_dead_letter(broker).body == b"{}"
