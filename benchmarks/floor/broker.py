"""The messages of a saga, published and consumed bare: quorum queue, persistent, confirmed, acknowledged.

Owns: a publisher with a window of unconfirmed messages and a consumer that acknowledges many at once, a process each.
Must not know: events, the relay.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import pika

QUEUE = "benchmark.floor"
_WINDOW = 500
_ACKNOWLEDGED_AT_ONCE = 200
_TIMEOUT_S = 300.0


def messages_per_s(amqp_uri: str, messages: int, size: int) -> float:
    """From the first one until the last one is consumed. Raises TimeoutError."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_uri))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    try:
        return _run(amqp_uri, messages, size)
    finally:
        channel.queue_delete(QUEUE)
        connection.close()


def _run(amqp_uri: str, messages: int, size: int) -> float:
    new = multiprocessing.get_context("spawn")
    consumer = new.Process(target=consume, args=(amqp_uri, messages), daemon=True)
    publisher = new.Process(target=publish, args=(amqp_uri, messages, size), daemon=True)
    consumer.start()
    # Python's own start is not what is measured.
    time.sleep(1)
    started_s = time.perf_counter()
    publisher.start()
    for process in (publisher, consumer):
        process.join(_TIMEOUT_S)
    seconds = time.perf_counter() - started_s
    if publisher.exitcode or consumer.exitcode or consumer.is_alive() or publisher.is_alive():
        raise TimeoutError("the bare publisher and consumer did not come to an end")
    return messages / seconds


def consume(amqp_uri: str, messages: int) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_uri))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=2 * _ACKNOWLEDGED_AT_ONCE)
    for number, (method, _properties, _body) in enumerate(channel.consume(QUEUE), start=1):
        if number % _ACKNOWLEDGED_AT_ONCE == 0 or number == messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if number == messages:
            break
    connection.close()


def publish(amqp_uri: str, messages: int, size: int) -> None:
    publisher = _Publisher(messages, b"x" * size)
    connection = pika.SelectConnection(pika.URLParameters(amqp_uri), on_open_callback=publisher.opened)
    connection.ioloop.start()


class _Publisher:
    def __init__(self, messages: int, body: bytes) -> None:
        self._left, self._confirmed, self._sent = messages, 0, 0
        self._body = body
        self._properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
        self._connection: Any = None
        self._channel: Any = None

    def opened(self, connection: Any) -> None:
        self._connection = connection
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._settled, callback=lambda _frame: self._fill())

    def _fill(self) -> None:
        while self._left and self._sent - self._confirmed < _WINDOW:
            self._channel.basic_publish("", QUEUE, self._body, self._properties)
            self._sent, self._left = self._sent + 1, self._left - 1

    def _settled(self, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            raise RuntimeError("the broker refused a message")
        self._confirmed = frame.method.delivery_tag if frame.method.multiple else self._confirmed + 1
        self._fill()
        if not self._left and self._confirmed == self._sent:
            self._connection.close()
            self._connection.ioloop.stop()
