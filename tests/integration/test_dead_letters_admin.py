"""Dead letters on a real broker: looking harms nothing, and moving loses nothing, wherever it stops."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pika
import pytest
from flask.testing import FlaskClient
from harness.audit import AuditServices
from harness.broker import CHOREOGRAPHY, Broker
from harness.freezing import frozen_broker
from harness.login import client_of
from harness.payloads import new_order_id, order_created
from harness.processes import ROOT
from harness.waiting import wait_until

from gateway.admin.desk import register_desk
from ops.stack import Stack
from shared.errors import BrokerUnavailable, DeadLettersNotFound
from shared.messaging.brief_connection import brief_connection
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_messages")]

QUEUE = "inventory_service.ORDER_CREATED"
DEAD = f"{QUEUE}.dead"
OTHER_QUEUE = "order_service.PAYMENT_FAILED"
WORK_QUEUES = [name for name, _ in CHOREOGRAPHY.work_queues()]
FAILED = {
    "schema_version": 1,
    "causation_id": "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e",
    "x-attempts": 3,
    "x-error": "RetriesExhausted: failed 4 times",
    "x-error-code": "retries_exhausted",
    "x-failed-at": "2026-01-01T12:00:00+00:00",
    "x-origin-queue": QUEUE,
    "x-origin-exchange": "order_service.events",
}
LIMIT_S, PATIENT_LIMIT_S = 3.0, 20.0
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture(scope="module")
def dead_letters(stack_environment: Mapping[str, str], empty_stack: None) -> DeadLetters:
    return DeadLetters(stack_environment["AMQP_URI"], WORK_QUEUES, limit_s=PATIENT_LIMIT_S)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker with a lot to do is waited for longer than people would like to."""
    monkeypatch.setattr("shared.messaging.window.QUIET_S", 5.0)
    monkeypatch.setattr("shared.messaging.window.LONGEST_S", 15.0)
    monkeypatch.setattr("shared.messaging.dropping.BACK_WITHIN_S", 5.0)
    monkeypatch.setattr("shared.messaging.brief_connection.CONNECT_LIMIT_S", 10.0)


@pytest.fixture
def no_messages(stack: Stack, broker: Broker) -> None:
    broker.purge_all()


def _bury(broker: Broker, *ids: str, headers: Mapping[str, Any] = FAILED, **properties: Any) -> None:
    """Dead letters of QUEUE with these event ids, as a service's settlement leaves them."""
    all_properties = {"type": "ORDER_CREATED", "content_type": "application/json", "delivery_mode": 2, **properties}
    for id_ in ids:
        broker.publish(
            "",
            DEAD,
            json.dumps({"number": id_}).encode(),
            pika.BasicProperties(message_id=id_, headers=dict(headers), **all_properties),
        )


def _numbers(count: int) -> list[str]:
    return [f"event-{number:04}" for number in range(count)]


def _ids(letters: list[Any]) -> list[str]:
    return [letter.properties.message_id for letter in letters]


def _depth_is(broker: Broker, queue: str, depth: int) -> None:
    wait_until(lambda: broker.depth(queue) == depth, f"{queue} has {depth} messages")


class TestLooking:
    @pytest.mark.parametrize(("there", "limit"), [(0, 5), (3, 5), (60, 40), (101, 100)])
    def test_the_oldest_are_shown_and_stay_in_their_places(
        self, broker: Broker, dead_letters: DeadLetters, there: int, limit: int
    ) -> None:
        _bury(broker, *_numbers(there))

        _depth_is(broker, DEAD, there)
        # More often than RabbitMQ 4 delivers a message by default, each as soon as the one before has ended.
        for _ in range(3 if there > 60 else 22):
            seen = dead_letters.peek(QUEUE, limit)
            assert [letter.event_id for letter in seen] == _numbers(there)[:limit]
            assert broker.depth(DEAD) == there

        assert _ids(broker.take(DEAD)) == _numbers(there)

    def test_more_or_fewer_in_turn_change_nothing_either(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, *_numbers(130))

        for limit in (5, 1, 100, 3, 50):
            _depth_is(broker, DEAD, 130)
            assert [letter.event_id for letter in dead_letters.peek(QUEUE, limit)] == _numbers(limit)
        _depth_is(broker, DEAD, 130)
        dead_letters.redrive(QUEUE, 2)
        _depth_is(broker, DEAD, 128)
        dead_letters.peek(QUEUE, 1)
        _depth_is(broker, DEAD, 128)

        assert _ids(broker.take(DEAD)) == _numbers(130)[2:]

    def test_a_letter_says_what_happened_to_it(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, "event-1", correlation_id="req-1")

        [letter] = dead_letters.peek(QUEUE, 1)

        assert json.loads(letter.body) == {"number": "event-1"}
        assert (letter.event_id, letter.type, letter.correlation_id) == ("event-1", "ORDER_CREATED", "req-1")
        assert (letter.reason, letter.attempts) == ("retries_exhausted", 3)
        assert letter.error == FAILED["x-error"]
        assert (letter.origin_queue, letter.origin_exchange) == (QUEUE, "order_service.events")

    def test_one_that_the_broker_set_aside_has_its_reason_too(self, broker: Broker, dead_letters: DeadLetters) -> None:
        broker.publish_event("ORDER_CREATED", order_created(new_order_id(), "cup"), message_id="event-1")
        _depth_is(broker, QUEUE, 1)
        broker._with_channel(
            lambda channel: channel.basic_reject(channel.basic_get(QUEUE)[0].delivery_tag, requeue=False)
        )
        _depth_is(broker, DEAD, 1)

        [letter] = dead_letters.peek(QUEUE, 1)

        assert (letter.reason, letter.origin_queue, letter.event_id) == ("rejected", None, "event-1")

    def test_depths_are_of_every_work_queue(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, "event-1", "event-2")

        depths = dead_letters.depths()

        assert depths == {name: 2 if name == QUEUE else 0 for name in WORK_QUEUES}
        assert dead_letters.depth(QUEUE) == 2

    def test_a_queue_that_is_not_declared_has_no_depth(self, stack_environment: Mapping[str, str]) -> None:
        some = DeadLetters(stack_environment["AMQP_URI"], ["nobody.NOTHING", QUEUE], limit_s=LIMIT_S)

        assert some.depths() == {"nobody.NOTHING": None, QUEUE: 0}
        with pytest.raises(DeadLettersNotFound):
            some.depth("nobody.NOTHING")

    @pytest.mark.parametrize("queue", ["nobody.NOTHING", DEAD, "", "rpc-order_service", "*"])
    def test_only_work_queues_are_looked_at(self, dead_letters: DeadLetters, queue: str) -> None:
        for look in (dead_letters.depth, lambda q: dead_letters.peek(q, 1), lambda q: dead_letters.discard(q, 1)):
            with pytest.raises(DeadLettersNotFound):
                look(queue)


class TestBackToWork:
    def test_the_oldest_go_back_in_order(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, *_numbers(5))

        moved = dead_letters.redrive(QUEUE, 3)

        assert (moved.events, moved.stopped) == (_numbers(3), None)
        assert _ids(broker.take(QUEUE)) == _numbers(3)
        assert _ids(broker.take(DEAD)) == _numbers(5)[3:]

    def test_it_begins_anew_with_all_its_attempts(self, broker: Broker, dead_letters: DeadLetters) -> None:
        deaths = {"x-death": [{"queue": QUEUE, "count": 1}], "x-first-death-reason": "rejected"}
        copies = {"CC": [OTHER_QUEUE], "BCC": [OTHER_QUEUE], "traceparent": "00-a-b-01"}
        _bury(
            broker,
            "event-1",
            headers={**FAILED, **deaths, **copies},
            correlation_id="req-1",
            app_id="order_service",
            timestamp=1_767_268_800,
            expiration="60000",
        )
        broker.take(OTHER_QUEUE)

        dead_letters.redrive(QUEUE, 1)

        [letter] = broker.take(QUEUE)
        sent = letter.properties
        assert (sent.message_id, sent.type, sent.correlation_id) == ("event-1", "ORDER_CREATED", "req-1")
        assert (sent.app_id, sent.timestamp, sent.delivery_mode) == ("order_service", 1_767_268_800, 2)
        assert (sent.content_type, sent.expiration, sent.user_id) == ("application/json", None, None)
        assert {name: value for name, value in letter.headers.items() if name != "x-delivery-count"} == {
            "schema_version": 1,
            "causation_id": FAILED["causation_id"],
            "traceparent": "00-a-b-01",
            "x-origin-exchange": "order_service.events",
        }
        assert letter.body == b'{"number": "event-1"}'
        assert broker.take(OTHER_QUEUE) == []

    def test_it_goes_where_it_failed_whatever_queue_it_was_found_in(
        self, broker: Broker, dead_letters: DeadLetters
    ) -> None:
        _bury(broker, "event-1", headers={**FAILED, "x-origin-queue": OTHER_QUEUE})
        _bury(broker, "event-2", headers={})

        moved = dead_letters.redrive(QUEUE, 10)

        assert moved.events == ["event-1", "event-2"]
        assert _ids(broker.take(OTHER_QUEUE)) == ["event-1"]
        assert _ids(broker.take(QUEUE)) == ["event-2"]

    @pytest.mark.parametrize("origin", ["nobody.NOTHING", DEAD, "rpc-order_service", "order_service.retry.1s"])
    def test_it_stops_at_one_that_belongs_nowhere(self, broker: Broker, dead_letters: DeadLetters, origin: str) -> None:
        _bury(broker, "event-1")
        _bury(broker, "event-2", headers={**FAILED, "x-origin-queue": origin})
        _bury(broker, "event-3")

        moved = dead_letters.redrive(QUEUE, 3)

        assert moved.events == ["event-1"]
        assert moved.stopped is not None
        assert moved.stopped.code == "unknown_origin"
        _depth_is(broker, DEAD, 2)
        assert _ids(broker.take(DEAD)) == ["event-2", "event-3"]

    def test_it_stops_when_the_queue_takes_no_more(
        self, broker: Broker, stack_environment: Mapping[str, str], dead_letters: DeadLetters
    ) -> None:
        full = "nobody.FULL"
        some = DeadLetters(stack_environment["AMQP_URI"], [full], limit_s=LIMIT_S)
        bounded = {"x-max-length": 1, "x-overflow": "reject-publish"}
        broker._with_channel(lambda channel: channel.queue_declare(full, arguments=bounded))
        broker._with_channel(lambda channel: channel.queue_declare(f"{full}.dead"))
        for id_ in _numbers(3):
            broker.publish("", f"{full}.dead", b"{}", pika.BasicProperties(message_id=id_))
        try:
            moved = some.redrive(full, 3)
            _depth_is(broker, f"{full}.dead", 2)
            left = _ids(broker.take(f"{full}.dead"))
        finally:
            for queue in (full, f"{full}.dead"):
                broker._with_channel(lambda channel, queue=queue: channel.queue_delete(queue))

        assert moved.events == ["event-0000"]
        assert moved.stopped is not None
        assert moved.stopped.code == "refused"
        assert left == ["event-0001", "event-0002"]

    def test_it_stops_when_its_queue_is_gone(self, broker: Broker, stack_environment: Mapping[str, str]) -> None:
        _bury(broker, "event-1", headers={"x-origin-queue": "nobody.GONE"})
        some = DeadLetters(stack_environment["AMQP_URI"], [QUEUE, "nobody.GONE"], limit_s=LIMIT_S)

        moved = some.redrive(QUEUE, 1)

        assert moved.stopped is not None
        assert (moved.events, moved.stopped.code) == ([], "unroutable")
        _depth_is(broker, DEAD, 1)

    def test_killed_in_the_middle_it_loses_nothing(self, broker: Broker, stack_environment: Mapping[str, str]) -> None:
        ids = _numbers(400)
        _bury(broker, *ids)
        # Slowly: it must not be done before it is killed.
        program = (
            "import os, time; from shared.messaging import dead_letters as moving; send = moving.send_back; "
            "moving.send_back = lambda *said: (time.sleep(0.01), send(*said)); "
            f"moving.DeadLetters(os.environ['AMQP_URI'], [{QUEUE!r}]).redrive({QUEUE!r}, 1000)"
        )
        for already in (1, 60, 150):
            mover = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **stack_environment})
            wait_until(lambda already=already: broker.depth(QUEUE) >= already, "some were moved")
            mover.send_signal(signal.SIGKILL)
            mover.wait()

        there = broker.depth(QUEUE)
        assert 150 <= there < len(ids)
        wait_until(lambda: broker.depth(DEAD) + there >= len(ids), "what was in its hand is back")
        moved, left = _ids(broker.take(QUEUE)), _ids(broker.take(DEAD))
        assert sorted({*moved, *left}) == ids
        # At most the one in its hand, each time.
        assert len(moved) + len(left) - len(ids) <= 3
        assert moved == sorted(moved)
        assert left == sorted(left)

    def test_no_more_go_than_there_are(self, broker: Broker, dead_letters: DeadLetters) -> None:
        """Given more asked for than there are, twice, then each goes once."""
        _bury(broker, *_numbers(20))

        first = dead_letters.redrive(QUEUE, 15)
        _depth_is(broker, DEAD, 5)
        second = dead_letters.redrive(QUEUE, 15)

        assert (len(first.events), len(second.events)) == (15, 5)
        assert _ids(broker.take(QUEUE)) == _numbers(20)


class TestDiscarding:
    def test_the_oldest_are_gone(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, *_numbers(5))

        moved = dead_letters.discard(QUEUE, 2)

        assert (moved.events, moved.stopped) == (_numbers(2), None)
        assert broker.depth(QUEUE) == 0
        assert _ids(broker.take(DEAD)) == _numbers(5)[2:]

    def test_of_many_none_comes_back(self, broker: Broker, dead_letters: DeadLetters) -> None:
        """More than the broker takes acknowledgements for at once: it forgets those that it has put off."""
        _bury(broker, *_numbers(150))
        _depth_is(broker, DEAD, 150)

        moved = dead_letters.discard(QUEUE, 120)

        assert (moved.events, moved.stopped) == (_numbers(120), None)
        _depth_is(broker, DEAD, 30)
        assert _ids(broker.take(DEAD)) == _numbers(150)[120:]

    def test_of_many_between_others_none_comes_back(self, broker: Broker, dead_letters: DeadLetters) -> None:
        _bury(broker, *_numbers(200))
        _depth_is(broker, DEAD, 200)
        odd = dead_letters.each(QUEUE, lambda letter: fingerprint(letter) if _number_of(letter) % 2 else None)
        _depth_is(broker, DEAD, 200)

        moved = dead_letters.discard_these(QUEUE, odd)

        assert (sorted(moved.events, key=str), moved.stopped) == (_numbers(200)[1::2], None)
        _depth_is(broker, DEAD, 100)
        assert sorted(_ids(broker.take(DEAD))) == _numbers(200)[::2]


def _number_of(letter: Letter) -> int:
    return int(str(letter.event_id).rpartition("-")[2])


class RawHeaders(pika.BasicProperties):
    """A header table as bytes, for what no client library would write."""

    def __init__(self, table: bytes) -> None:
        super().__init__()
        self._table = table

    def encode(self) -> list[bytes]:
        only_headers = 0x2000
        return [struct.pack(">HI", only_headers, len(self._table)), self._table]


def _nested(levels: int) -> bytes:
    table = b""
    for _ in range(levels):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return table


class TestPropertiesThatCannotBeRead:
    @pytest.mark.parametrize(
        "table", [b"\x04whenT" + struct.pack(">Q", 2**62), _nested(1_500)], ids=["a far time", "a deep table"]
    )
    def test_it_is_shown_and_stays_until_it_is_discarded(
        self, broker: Broker, dead_letters: DeadLetters, table: bytes
    ) -> None:
        broker.publish("", DEAD, b"poison", RawHeaders(table))
        _bury(broker, "event-1")

        letters = dead_letters.peek(QUEUE, 2)
        _depth_is(broker, DEAD, 2)
        redriven = dead_letters.redrive(QUEUE, 2)
        _depth_is(broker, DEAD, 2)
        discarded = dead_letters.discard(QUEUE, 1)

        assert [(letter.body, letter.is_unreadable) for letter in letters] == [
            (b"poison", True),
            (b'{"number": "event-1"}', False),
        ]
        assert redriven.stopped is not None
        assert (redriven.events, redriven.stopped.code) == ([], "unreadable")
        assert (discarded.events, discarded.stopped) == ([None], None)
        assert _ids(broker.take(DEAD)) == ["event-1"]


class TestOverHttp:
    @pytest.fixture
    def client(self, stack_environment: Mapping[str, str], empty_stack: None) -> FlaskClient:
        client = client_of(AuditServices())
        impatient = DeadLetters(stack_environment["AMQP_URI"], WORK_QUEUES, limit_s=LIMIT_S)
        register_desk(client.application, impatient)
        return client

    def test_look_redrive_discard(self, broker: Broker, client: FlaskClient) -> None:
        _bury(broker, *_numbers(4))
        place = f"/api/v1/admin/dead-letters/{QUEUE}"

        overview = client.get("/api/v1/admin/dead-letters").get_json()
        letters = client.get(f"{place}?limit=2").get_json()["letters"]
        _depth_is(broker, DEAD, 4)
        redriven = [client.post(f"{place}/redrive", json={"count": 1}, headers=KEY) for _ in range(2)]
        _depth_is(broker, DEAD, 3)
        wanted = {"count": 2, "note": "no order waits for them"}
        discarded = client.post(f"{place}/discard", json=wanted, headers={"Idempotency-Key": "k-2"})

        assert overview["depth"] == 4
        assert [(letter["eventId"], letter["reason"]) for letter in letters] == [
            (id_, "retries_exhausted") for id_ in _numbers(2)
        ]
        assert [response.get_json()["eventIds"] for response in redriven] == [["event-0000"]] * 2
        assert discarded.get_json()["eventIds"] == ["event-0001", "event-0002"]
        assert _ids(broker.take(QUEUE)) == ["event-0000"]
        assert _ids(broker.take(DEAD)) == ["event-0003"]

    @pytest.mark.parametrize("queue", ["nobody.NOTHING", DEAD, "rpc-order_service"])
    def test_other_queues_are_not_found(self, client: FlaskClient, queue: str) -> None:
        place = f"/api/v1/admin/dead-letters/{queue}"
        answers = [
            client.get(place),
            client.post(f"{place}/redrive", json={"count": 1}, headers=KEY),
            client.post(f"{place}/discard", json={"count": 1, "note": "why"}, headers=KEY),
        ]

        assert [(a.status_code, a.get_json()["code"]) for a in answers] == [(404, "dead_letters_not_found")] * 3

    def test_a_broker_that_is_frozen_or_gone_is_503_in_time_and_the_next_request_finds_it_again(
        self, stack: Stack, broker: Broker, client: FlaskClient
    ) -> None:
        _bury(broker, "event-1")
        with frozen_broker(stack):
            frozen = _answers_in_time(client)
        place = f"/api/v1/admin/dead-letters/{QUEUE}"
        wait_until(lambda: client.get(place).status_code == 200, "it answers again")
        stack.kill("rabbitmq")
        gone = _answers_in_time(client)
        stack.up(infrastructure_only=True)

        assert frozen == gone == [(503, "broker_unavailable", "1")] * 3
        again = wait_until(lambda: client.get(place).get_json().get("letters"), "it is seen again")
        assert [letter["eventId"] for letter in again] == ["event-1"]


class TestFrozenWhileInUse:
    def test_whoever_is_in_the_middle_of_it_gets_an_answer_too(
        self, stack: Stack, broker: Broker, stack_environment: Mapping[str, str]
    ) -> None:
        """Given a broker that stops answering after the connection is open, then the limit ends the wait."""
        _bury(broker, "event-1")
        addresses = [stack_environment["AMQP_URI"]]
        began = time.monotonic()

        def use() -> None:
            with brief_connection(addresses, limit_s=LIMIT_S, name="test") as brief:
                assert brief.channel.basic_get(DEAD, auto_ack=False)[0] is not None
                with frozen_broker(stack):
                    brief.channel.basic_get(DEAD, auto_ack=False)

        with pytest.raises(BrokerUnavailable):
            use()

        # Without the limit it would be three heartbeats of pika.
        assert time.monotonic() - began < LIMIT_S + 10
        _depth_is(broker, DEAD, 1)


def _answers_in_time(client: FlaskClient) -> list[tuple[int, str, str]]:
    """(status, code, Retry-After) of each endpoint that needs the broker; AssertionError if one keeps it waiting."""
    place = f"/api/v1/admin/dead-letters/{QUEUE}"
    answers = []
    for ask in (
        lambda: client.get("/api/v1/admin/dead-letters"),
        lambda: client.get(place),
        lambda: client.post(f"{place}/redrive", json={"count": 1}, headers={"Idempotency-Key": "k-3"}),
    ):
        began = time.monotonic()
        response = ask()
        assert time.monotonic() - began < 2 * LIMIT_S
        answers.append((response.status_code, response.get_json()["code"], response.headers["Retry-After"]))
    return answers
