"""The relay's publisher: which rows of a window are safe with the broker, and which are not."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pika
import pytest
from pika.exceptions import AMQPError, ShortStringTooLong

from shared.envelope import Envelope
from shared.errors import BrokerUnavailable
from shared.messaging.pipelined_publisher import PipelinedPublisher
from shared.outbox import OutboxRow


def a_row(number: int, event_type: str = "ORDER_CREATED", correlation_id: str = "c") -> OutboxRow:
    envelope = Envelope(
        event_id=UUID(int=number),
        type=event_type,
        source="order_service",
        correlation_id=correlation_id,
        causation_id=None,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        schema_version=1,
    )
    return OutboxRow(id=number * 10, aggregate_id=str(number), envelope=envelope, body=b"{}")


class Broker:
    """Takes the place of pika's connection and channel; answers with the frames it was told to, one per poll."""

    def __init__(self, publisher: PipelinedPublisher, frames: list[Any]) -> None:
        self.publisher, self.frames = publisher, frames
        self.sent: list[tuple[str, str, bool]] = []
        publisher._connection, publisher._channel = SimpleNamespace(ioloop=self, close=lambda: None), self

    def basic_publish(self, exchange: str, routing_key: str, _body: bytes, properties: Any, mandatory: bool) -> None:
        assert properties.delivery_mode == 2
        if len(properties.correlation_id) > 255:
            raise ShortStringTooLong(properties.correlation_id)
        self.sent.append((exchange, routing_key, mandatory))

    def call_later(self, _seconds: float, _callback: Any) -> None: ...

    def remove_timeout(self, _timer: Any) -> None: ...

    def process_timeouts(self) -> None: ...

    def close(self) -> None: ...

    def poll(self) -> None:
        frame = self.frames.pop(0)
        if isinstance(frame, Exception):
            self.publisher._failed(frame)
        elif isinstance(frame, UUID):
            properties = SimpleNamespace(message_id=str(frame))
            self.publisher._returned(self, SimpleNamespace(reply_text="NO_ROUTE"), properties, b"{}")
        else:
            self.publisher._settled(SimpleNamespace(method=frame))


def ack(tag: int, multiple: bool = False) -> Any:
    return pika.spec.Basic.Ack(tag, multiple)


def nack(tag: int, multiple: bool = False) -> Any:
    return pika.spec.Basic.Nack(tag, multiple)


@pytest.fixture
def publisher() -> PipelinedPublisher:
    return PipelinedPublisher("amqp://nowhere", "order_service.events", lambda event: event != "ORDER_CONFIRMED")


@pytest.mark.parametrize(
    ("frames", "confirmed", "refused"),
    [
        ([ack(1), ack(2), ack(3)], [10, 20, 30], {}),
        ([ack(3), ack(1), ack(2)], [10, 20, 30], {}),
        ([ack(3, multiple=True)], [10, 20, 30], {}),
        ([ack(2, multiple=True), nack(3)], [10, 20], {30}),
        ([nack(2, multiple=True), ack(3)], [30], {10, 20}),
        ([UUID(int=2), ack(3, multiple=True)], [10, 30], {20}),
        ([ack(1), ack(1), ack(3, multiple=True)], [10, 20, 30], {}),
        ([UUID(int=99), ack(3, multiple=True)], [10, 20, 30], {}),
    ],
    ids=["one by one", "any order", "multiple", "nack", "nack multiple", "returned", "repeated", "returned stranger"],
)
def test_every_row_of_a_window_is_confirmed_or_refused(
    publisher: PipelinedPublisher, frames: list[Any], confirmed: list[int], refused: Any
) -> None:
    Broker(publisher, list(frames))
    window = publisher.publish([a_row(1), a_row(2), a_row(3)])
    assert (sorted(window.confirmed), set(window.refused)) == (confirmed, set(refused))


@pytest.mark.parametrize(("answer", "is_open"), [(ack, True), (nack, False)])
def test_a_channel_on_which_the_broker_refuses_is_not_used_again(
    publisher: PipelinedPublisher, answer: Any, is_open: bool
) -> None:
    Broker(publisher, [answer(1)])
    publisher.publish([a_row(1)])
    assert publisher.is_open is is_open


def test_tags_go_on_counting_and_windows_do_not_mix(publisher: PipelinedPublisher) -> None:
    broker = Broker(publisher, [UUID(int=1), ack(1), ack(2)])
    first, second = publisher.publish([a_row(1)]), publisher.publish([a_row(2)])
    assert (first.confirmed, list(first.refused), second.confirmed, second.refused) == ([], [10], [20], {})
    assert broker.frames == []


def test_a_process_that_is_to_end_does_not_wait_for_what_a_silent_broker_has_not_confirmed(
    publisher: PipelinedPublisher,
) -> None:
    """Given it is told so while it waits, then the window is given up and the connection with it: another publishes."""
    broker = Broker(publisher, [])
    looked: list[None] = []

    def silence() -> None:
        looked.append(None)
        publisher.hurry(0)

    broker.poll = silence  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailable):
        publisher.publish([a_row(1)])
    assert (len(looked), publisher.is_open) == (1, False)


def test_an_event_nobody_consumes_need_not_arrive_anywhere(publisher: PipelinedPublisher) -> None:
    broker = Broker(publisher, [ack(2, multiple=True)])
    publisher.publish([a_row(1), a_row(2, "ORDER_CONFIRMED")])
    assert broker.sent == [
        ("order_service.events", "ORDER_CREATED", True),
        ("order_service.events", "ORDER_CONFIRMED", False),
    ]


def test_a_row_that_cannot_be_sent_at_all_holds_up_no_other(publisher: PipelinedPublisher) -> None:
    Broker(publisher, [ack(2, multiple=True)])
    window = publisher.publish([a_row(1), a_row(2, correlation_id="x" * 256), a_row(3)])
    assert (window.confirmed, list(window.refused)) == ([10, 30], [20])


def test_a_connection_that_breaks_leaves_the_window_unknown(publisher: PipelinedPublisher) -> None:
    Broker(publisher, [ack(1), AMQPError("gone")])
    with pytest.raises(BrokerUnavailable, match="gone"):
        publisher.publish([a_row(1), a_row(2)])
    assert not publisher.is_open


def test_no_node_at_all_is_said_so() -> None:
    with pytest.raises(BrokerUnavailable, match="names no broker"):
        PipelinedPublisher("", "e", lambda _event: True).connect()
