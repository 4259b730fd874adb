"""Whatever arrives in a queue, it ends applied or in the dead letters; the service lives and good events pass."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pika
import pytest
from harness.broker import Broker, DeadLetter
from harness.databases import Databases
from harness.payloads import new_order_id, order_created
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

QUEUE = "inventory_service.ORDER_CREATED"
EVENT = "ORDER_CREATED"
Message = tuple[bytes, dict[str, Any]]


@pytest.fixture(scope="module")
def inventory(processes: Processes) -> ServiceProcess:
    return processes.start_ready("inventory_service")


def _good() -> dict[str, Any]:
    return order_created(new_order_id(), "no-such-item")


def _body(**changes: Any) -> Message:
    return json.dumps({**_good(), **changes}).encode(), {}


def _raw(body: bytes) -> Message:
    return body, {}


def _without(field: str) -> Message:
    payload = _good()
    del payload[field]
    return json.dumps(payload).encode(), {}


def _headed(**headers: Any) -> Message:
    return json.dumps(_good()).encode(), {"headers": headers}


def _with(**properties: Any) -> Message:
    return json.dumps(_good()).encode(), properties


LINE = {"item": "no-such-item", "sellerId": "shop", "price": "1.00"}

UNDECODABLE: dict[str, Message] = {
    "bad JSON": _raw(b'{"id": '),
    "empty body": _raw(b""),
    "not an object": _raw(b"[1, 2]"),
    "a text": _raw(b'"hello"'),
    "null": _raw(b"null"),
    "invalid UTF-8": _raw(b'{"id": "\xff\xfe"}'),
    "UTF-16": _raw(json.dumps(_good()).encode("utf-16")),
    "byte order mark": _raw(b"\xef\xbb\xbf" + json.dumps(_good()).encode()),
    "lone surrogate": _raw(b'{"id": "\\ud800"}'),
    "NaN": _raw(json.dumps({**_good(), "x": float("nan")}).encode()),
    "infinity": _raw(b'{"x": 1e400}'),
    "huge number": _raw(b'{"id": ' + b"9" * 5_000 + b"}"),
    "NUL character": _body(userId="a\x00b"),
    "NUL character in a field nobody reads": _body(unknown={"deep": ["\x00"]}),
    "deep nesting": _raw(b"[" * 100_000),
    "deep nesting that is closed": _raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "nesting that could not be written again": _raw(
        json.dumps(_good()).encode()[:-1] + b', "x": ' + b"[" * 500 + b"]" * 500 + b"}"
    ),
    "more than a megabyte": _body(unknown="x" * 1_100_000),
    "foreign content type": _with(content_type="application/x-python-serialize"),
    "pickle": (b"\x80\x04N.", {"content_type": "application/x-python-serialize", "content_encoding": "binary"}),
    "foreign encoding": _with(content_encoding="utf-16"),
    "unknown encoding": _with(content_encoding="no-such-encoding"),
    "compression header": (zlib.compress(b"{}"), {"headers": {"compression": "application/x-gzip"}}),
    "compression of an unknown kind": _headed(compression="no-such-kind"),
}
INVALID_ENVELOPE: dict[str, Message] = {
    "schema_version is a text": _headed(schema_version="1"),
    "schema_version is a list": _headed(schema_version=[1]),
    "schema_version is true": _headed(schema_version=True),
    "schema_version is 0": _headed(schema_version=0),
    "schema_version is huge": _headed(schema_version=2**62),
    "causation_id is no uuid": _headed(causation_id="the last one"),
    "causation_id is a number": _headed(causation_id=7),
    "causation_id is long": _headed(causation_id="x" * 10_000),
    "occurred_at is no time": _headed(occurred_at="yesterday"),
    "occurred_at is before time": _headed(occurred_at="0001-01-01T00:00:00+14:00"),
    "traceparent is a table": _headed(traceparent={"a": 1}),
    "message_id is as long as can be": _with(message_id="x" * 255),
    "correlation_id is as long as can be": _with(correlation_id="x" * 255),
    "NUL in correlation_id": _with(correlation_id="a\x00b"),
    "type of another event": _with(type="ORDER_CANCELLED"),
}
INVALID_PAYLOAD: dict[str, Message] = {
    "empty object": _raw(b"{}"),
    "no id": _without("id"),
    "no items": _without("items"),
    "no price": _without("price"),
    "id is no uuid": _body(id="7"),
    "id is a number": _body(id=7),
    "items is empty": _body(items=[]),
    "items is a text": _body(items="cup"),
    "items holds null": _body(items=[None]),
    "quantity is a text": _body(items=[{**LINE, "quantity": "1"}]),
    "quantity is a fraction": _body(items=[{**LINE, "quantity": 1.5}]),
    "quantity is 0": _body(items=[{**LINE, "quantity": 0}]),
    "quantity is negative": _body(items=[{**LINE, "quantity": -1}]),
    "quantity is absurd": _body(items=[{**LINE, "quantity": 10**18}]),
    "quantity is beyond 64 bits": _body(items=[{**LINE, "quantity": 10**30}]),
    "item is very long": _body(items=[{**LINE, "item": "x" * 10_000, "quantity": 1}]),
    "price is a number": _body(price=10.0),
    "price is no money": _body(price="ten"),
    "price is absurd": _body(price="1e30"),
    "price is NaN": _body(price="NaN"),
    "price is negative": _body(price="-10.00"),
    "currency is unknown": _body(currency="euro"),
    "payment mode is unknown": _body(paymentMode="barter"),
}
UNKNOWN_VERSION: dict[str, Message] = {"a newer version": _headed(schema_version=2)}

BY_CODE = {
    "undecodable": UNDECODABLE,
    "invalid_envelope": INVALID_ENVELOPE,
    "invalid_payload": INVALID_PAYLOAD,
    "unknown_schema_version": UNKNOWN_VERSION,
}
CORPUS = [
    pytest.param(message, code, id=name) for code, messages in BY_CODE.items() for name, message in messages.items()
]


def _publish_between_good_ones(broker: Broker, message: Message) -> list[str]:
    """A good event, the message, a good event; the good ones' order ids."""
    before, after = _good(), _good()
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
    payload = _good()
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
    before, after, body = _good(), _good(), json.dumps(_good()).encode()
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
    payload, message_id = _good(), str(uuid4())
    broker.publish_event(EVENT, b"{}", message_id=message_id)
    broker.publish_event(EVENT, payload, message_id=message_id)

    wait_until(_all_answered(databases, [payload["id"]]), "the good one was applied")
    assert _only_dead_letter(broker).body == b"{}"
