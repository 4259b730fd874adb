"""What happens to events that failed: tried again, set aside, or given back to the broker. And batches of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import eventlet
import pytest
from nameko.exceptions import ContainerBeingKilled

from shared.chaos.memory import ChaosMemory
from shared.choreography import load_choreography
from shared.errors import (
    BrokenRule,
    BrokerUnavailable,
    DatabaseUnavailable,
    InvalidPayload,
    PermanentError,
    ProviderUnavailable,
    TransientError,
)
from shared.event_schema import EventSchema, order_id
from shared.messaging import batch_consumer
from shared.messaging import settlement as settlement_module
from shared.messaging.batch_consumer import BATCH_SIZE, BatchLane
from shared.messaging.delivery import Delivery
from shared.messaging.settlement import Settlement

QUEUE = "inventory_service.ORDER_CREATED"
DELAYS_S = (1, 5, 30)
ID = "00000000-0000-0000-0000-000000000001"


@dataclass
class Channel:
    """Writes down how messages were settled."""

    settled: list[tuple[Any, ...]] = field(default_factory=list)
    connection: Any = True

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self._settle("ack up to" if multiple else "ack", tag)

    def basic_reject(self, tag: int, requeue: bool) -> None:
        self._settle("requeue" if requeue else "reject", tag)

    def _settle(self, how: str, tag: int) -> None:
        if self.connection is None:
            raise OSError("the channel is gone")
        self.settled.append((how, tag))


@dataclass
class Publisher:
    """Takes messages, or fails as told."""

    error: Exception | None = None
    published: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, body: bytes, **message: Any) -> None:
        if self.error:
            raise self.error
        self.published.append({"body": body, **message})


def a_delivery(
    channel: Channel,
    tag: int = 1,
    body: bytes | str = b'{"id": "' + ID.encode() + b'"}',
    headers: dict[str, Any] | None = None,
    **properties: Any,
) -> Delivery:
    message = SimpleNamespace(
        body=body,
        properties={"message_id": f"m{tag}", **properties, "application_headers": headers or {}},
        delivery_info={"exchange": "order_service.events", "routing_key": "ORDER_CREATED"},
        delivery_tag=tag,
        channel=channel,
    )
    return Delivery(message=message, queue=QUEUE)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement_module, "REQUEUE_PAUSE_S", 0)


@pytest.fixture
def settlement(publisher: Publisher) -> Settlement:
    return Settlement("inventory_service", publisher, DELAYS_S)  # type: ignore[arg-type]


class TestSettlement:
    @pytest.mark.parametrize("error", [BrokenRule("no"), InvalidPayload("no"), PermanentError("no")])
    def test_a_permanent_error_is_a_dead_letter_at_once(
        self, settlement: Settlement, publisher: Publisher, channel: Channel, error: PermanentError
    ) -> None:
        settlement.settle_failed(a_delivery(channel), error)

        (letter,) = publisher.published
        assert (letter["exchange"], letter["routing_key"]) == ("", f"{QUEUE}.dead")
        assert letter["headers"]["x-error-code"] == error.code
        assert channel.settled == [("ack", 1)]

    @pytest.mark.parametrize("error", [TransientError("busy"), ProviderUnavailable("?"), KeyError("a bug"), OSError()])
    @pytest.mark.parametrize(("attempts", "delay_s"), list(enumerate(DELAYS_S)))
    def test_any_other_error_waits_longer_each_time(
        self,
        settlement: Settlement,
        publisher: Publisher,
        channel: Channel,
        error: Exception,
        attempts: int,
        delay_s: int,
    ) -> None:
        settlement.settle_failed(a_delivery(channel, headers={"x-attempts": attempts}), error)

        (retry,) = publisher.published
        assert retry["exchange"] == f"inventory_service.retry.{delay_s}s"
        assert retry["routing_key"] == QUEUE
        assert retry["headers"]["x-attempts"] == attempts + 1
        assert channel.settled == [("ack", 1)]

    @pytest.mark.parametrize("attempts", [len(DELAYS_S), len(DELAYS_S) + 1, 10**9])
    def test_after_the_last_delay_it_is_a_dead_letter(
        self, settlement: Settlement, publisher: Publisher, channel: Channel, attempts: int
    ) -> None:
        settlement.settle_failed(a_delivery(channel, headers={"x-attempts": attempts}), TransientError("busy"))

        (letter,) = publisher.published
        assert letter["routing_key"] == f"{QUEUE}.dead"
        assert letter["headers"]["x-error-code"] == "retries_exhausted"
        assert "TransientError: busy" in letter["headers"]["x-error"]

    @pytest.mark.parametrize("attempts", ["2", -1, True, 1.5, None, [], {}])
    def test_a_forged_count_of_attempts_counts_as_none(
        self, settlement: Settlement, publisher: Publisher, channel: Channel, attempts: Any
    ) -> None:
        settlement.settle_failed(a_delivery(channel, headers={"x-attempts": attempts}), TransientError("busy"))
        assert publisher.published[0]["headers"]["x-attempts"] == 1

    @pytest.mark.parametrize("error", [TransientError("busy"), BrokenRule("no")])
    def test_when_publishing_fails_the_broker_gets_it_back(
        self, settlement: Settlement, publisher: Publisher, channel: Channel, error: Exception
    ) -> None:
        publisher.error = BrokerUnavailable("gone")
        settlement.settle_failed(a_delivery(channel), error)
        assert channel.settled == [("requeue", 1)]

    @pytest.mark.parametrize("error", [TransientError("busy"), BrokenRule("no")])
    def test_what_cannot_be_encoded_again_is_dead_lettered_by_the_broker(
        self, settlement: Settlement, publisher: Publisher, channel: Channel, error: Exception
    ) -> None:
        publisher.error = PermanentError("cannot be encoded")
        settlement.settle_failed(a_delivery(channel), error)
        assert channel.settled == [("reject", 1)]

    def test_settling_on_a_channel_that_is_gone_does_nothing(self, settlement: Settlement, channel: Channel) -> None:
        channel.connection = None
        settlement.settle_failed(a_delivery(channel), BrokenRule("no"))
        assert channel.settled == []

    def test_the_message_keeps_its_body_and_identity(
        self, settlement: Settlement, publisher: Publisher, channel: Channel
    ) -> None:
        delivery = a_delivery(
            channel,
            headers={"causation_id": "c", "schema_version": 1},
            correlation_id="corr",
            expiration="5",
            user_id="someone",
            delivery_mode=1,
        )
        settlement.settle_failed(delivery, BrokenRule("no"))

        (letter,) = publisher.published
        assert letter["body"] == delivery.body
        assert letter["properties"] == {"message_id": "m1", "correlation_id": "corr", "delivery_mode": 2}
        assert (letter["headers"]["causation_id"], letter["headers"]["schema_version"]) == ("c", 1)

    def test_headers_say_what_happened_where_and_when(
        self, settlement: Settlement, publisher: Publisher, channel: Channel
    ) -> None:
        settlement.settle_failed(a_delivery(channel), BrokenRule("not allowed"))

        headers = publisher.published[0]["headers"]
        assert headers["x-error"] == "BrokenRule: not allowed"
        assert headers["x-error-code"] == "broken_rule"
        assert headers["x-origin-queue"] == QUEUE
        assert headers["x-origin-exchange"] == "order_service.events"
        assert headers["x-failed-at"].endswith("+00:00")

    def test_an_error_of_any_kind_has_a_code_and_a_bounded_text(
        self, settlement: Settlement, publisher: Publisher, channel: Channel
    ) -> None:
        error = KeyError("x" * 5000)
        error.code = "a library's own"  # type: ignore[attr-defined]
        settlement.settle_failed(a_delivery(channel), error)
        headers = publisher.published[0]["headers"]
        assert headers["x-error-code"] == "unexpected_error"
        assert len(headers["x-error"]) == 1000

    def test_the_brokers_own_trail_is_not_sent_back_to_it(
        self, settlement: Settlement, publisher: Publisher, channel: Channel
    ) -> None:
        """RabbitMQ would take our retries for a cycle, and drop the message."""
        trail = {"x-death": [{}], "x-first-death-queue": "q", "x-last-death-reason": "expired"}
        settlement.settle_failed(a_delivery(channel, headers=trail), TransientError("busy"))
        assert not [key for key in publisher.published[0]["headers"] if "death" in key]

    def test_the_first_origin_is_kept_and_older_errors_are_not(
        self, settlement: Settlement, publisher: Publisher, channel: Channel
    ) -> None:
        before = {"x-origin-exchange": "order_service.events", "x-error": "old", "x-attempts": 1}
        delivery = a_delivery(channel, headers=before)
        delivery.message.delivery_info["exchange"] = ""
        settlement.settle_failed(delivery, TransientError("new"))
        headers = publisher.published[0]["headers"]
        assert (headers["x-origin-exchange"], headers["x-error"]) == ("order_service.events", "TransientError: new")


class Body(EventSchema):
    order_id = order_id()


class Container:
    """Runs the service's method at once, as Nameko's container does in a worker."""

    service_name = "inventory_service"

    def __init__(self, method: Callable[[list[Any]], None]) -> None:
        self._method = method
        self.is_being_killed = False

    def spawn_worker(self, _entrypoint: Any, args: Any, _kwargs: Any, *, context_data: Any, handle_result: Any) -> None:
        if self.is_being_killed:
            raise ContainerBeingKilled
        try:
            result: Any = self._method(*args)
        except Exception as error:
            handle_result(None, None, (type(error), error, None))
        else:
            handle_result(None, result, None)


class Lane:
    """A BatchLane with everything around it, driven by hand."""

    def __init__(self) -> None:
        self.channel, self.publisher = Channel(), Publisher()
        self.calls: list[list[str]] = []
        self.fail: Callable[[list[str]], Exception | None] = lambda _ids: None
        self.container = Container(self._method)
        self.chaos = ChaosMemory()
        entrypoint: Any = SimpleNamespace(
            container=self.container,
            event_type="ORDER_CREATED",
            schema=Body,
            chaos=SimpleNamespace(memory=self.chaos),
        )
        loop: Any = SimpleNamespace(publisher=self.publisher, choreography=load_choreography())
        self.lane = BatchLane(entrypoint, loop)
        self._thread = eventlet.spawn(self.lane.run)

    def _method(self, events: list[Any]) -> None:
        ids = [str(event.envelope.event_id.int) for event in events]
        self.calls.append(ids)
        error = self.fail(ids)
        if error:
            raise error

    def deliver(self, *tags: int, **options: Any) -> Lane:
        for tag in tags:
            options.setdefault("message_id", None)
            message = {**options, "message_id": options["message_id"] or str(UUID(int=tag))}
            self.lane.arrived(a_delivery(self.channel, tag, **message))
        return self

    def work(self) -> Lane:
        for _ in range(20):
            eventlet.sleep(0)
        return self

    def end(self) -> None:
        self.lane.finish()
        self._thread.wait()


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    monkeypatch.setattr(batch_consumer, "DATABASE_DELAYS_S", (0,))
    monkeypatch.setattr(batch_consumer, "GATHER_S", 0.0)
    lane = Lane()
    yield lane
    lane.end()


class TestBatchLane:
    def test_what_waits_is_handled_together_and_acknowledged_at_once(self, lane: Lane) -> None:
        lane.deliver(1, 2, 3).work()
        assert lane.calls == [["1", "2", "3"]]
        assert lane.channel.settled == [("ack up to", 3)]
        assert lane.lane.is_idle()

    def test_a_batch_has_a_limit(self, lane: Lane) -> None:
        lane.deliver(*range(1, BATCH_SIZE + 3)).work()
        assert [len(call) for call in lane.calls] == [BATCH_SIZE, 2]
        assert lane.channel.settled == [("ack up to", BATCH_SIZE), ("ack up to", BATCH_SIZE + 2)]
        assert lane.lane.prefetch >= BATCH_SIZE

    def test_a_batch_that_fails_is_run_one_at_a_time(self, lane: Lane) -> None:
        lane.fail = lambda ids: BrokenRule("no") if "2" in ids else None
        lane.deliver(1, 2, 3).work()
        assert lane.calls == [["1", "2", "3"], ["1"], ["2"], ["3"]]
        assert lane.channel.settled == [("ack", 1), ("ack", 2), ("ack", 3)]
        assert [m["routing_key"] for m in lane.publisher.published] == [f"{QUEUE}.dead"]

    def test_an_unexpected_error_is_retried(self, lane: Lane) -> None:
        lane.fail = lambda _ids: KeyError("a bug")
        lane.deliver(1).work()
        assert [m["exchange"] for m in lane.publisher.published] == ["inventory_service.retry.1s"]
        assert lane.calls == [["1"]]

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"body": b"{"}, "undecodable"),
            ({"body": b"{}"}, "invalid_payload"),
            ({"body": b'{"id": "none"}'}, "invalid_payload"),
            ({"headers": {"schema_version": 2}}, "unknown_schema_version"),
            ({"headers": {"schema_version": "x"}}, "invalid_envelope"),
            ({"type": "ORDER_CANCELLED"}, "invalid_envelope"),
            ({"content_encoding": "gzip"}, "undecodable"),
            ({"body": SimpleNamespace()}, "invalid_payload"),
        ],
    )
    def test_what_cannot_be_read_harms_no_other(self, lane: Lane, options: dict[str, Any], code: str) -> None:
        lane.deliver(1).deliver(2, **options).deliver(3).work()
        assert lane.calls == [["1", "3"]]
        assert [m["headers"]["x-error-code"] for m in lane.publisher.published] == [code]
        assert lane.channel.settled == [("ack", 2), ("ack up to", 3)]

    def test_a_batch_of_nothing_readable_calls_nobody(self, lane: Lane) -> None:
        lane.deliver(1, 2, body=b"[]").work()
        assert lane.calls == []
        assert lane.channel.settled == [("ack", 1), ("ack", 2)]

    def test_while_the_database_is_away_events_are_held_not_failed(self, lane: Lane) -> None:
        outages = iter([True, True, True, False])
        lane.fail = lambda _ids: DatabaseUnavailable("gone") if next(outages) else None
        lane.deliver(1, 2).work()
        assert lane.calls == [["1", "2"]] * 4
        assert lane.publisher.published == []
        assert lane.channel.settled == [("ack up to", 2)]

    def test_at_the_end_held_events_are_left_to_the_broker(self, lane: Lane) -> None:
        lane.fail = lambda _ids: DatabaseUnavailable("gone")
        lane.deliver(1, 2).work()
        assert not lane.lane.is_idle()
        lane.end()
        assert (lane.channel.settled, lane.publisher.published) == ([], [])
        assert lane.lane.is_idle()

    def test_a_process_that_is_killed_fails_nothing(self, lane: Lane) -> None:
        lane.container.is_being_killed = True
        lane.deliver(1).work()
        lane.end()
        assert (lane.calls, lane.channel.settled, lane.publisher.published) == ([], [], [])

    def test_deliveries_of_a_lost_connection_are_skipped(self, lane: Lane) -> None:
        """The broker delivers them again."""
        lane.channel.connection = None
        lane.deliver(1)
        lane.channel = Channel()
        lane.deliver(1).work()
        assert lane.calls == [["1"]]
        assert lane.channel.settled == [("ack up to", 1)]

    def test_after_the_end_nothing_new_is_begun(self, lane: Lane) -> None:
        lane.end()
        lane.deliver(1).work()
        assert lane.calls == []
