"""The broker of the test stack: publishing by hand, looking into queues, reading dead letters.

Owns: a pika connection of the tests, opened anew after a restart. Must not know: what events mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import pika
from pika.exceptions import AMQPError

from shared.choreography import load_choreography
from shared.choreography.definitions import definitions

T = TypeVar("T")

CHOREOGRAPHY = load_choreography()
# A stream cannot be emptied, and is read by nobody who does not want to.
ALL_QUEUES = tuple(
    queue["name"] for queue in definitions(CHOREOGRAPHY)["queues"] if queue["arguments"].get("x-queue-type") != "stream"
)


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    body: bytes
    headers: Mapping[str, Any]
    properties: Any


class Broker:
    """Every publish is confirmed and mandatory: a test knows that its message is in a queue."""

    def __init__(self, amqp_uri: str) -> None:
        self._parameters = pika.URLParameters(amqp_uri)
        self._parameters.heartbeat = 0
        self._connection: Any = None
        self._channel: Any = None

    def _with_channel(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self._open())
        except AMQPError:
            self.close()
            return work(self._open())

    def _open(self) -> Any:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def close(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        self._connection = self._channel = None

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any = None) -> None:
        self._with_channel(
            lambda channel: channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        )

    def publish_event(
        self,
        event_type: str,
        payload: Mapping[str, Any] | bytes,
        *,
        message_id: str | None = "",
        headers: Mapping[str, Any] | None = None,
        **properties: Any,
    ) -> str | None:
        """An event as its publisher's relay would send it; returns its id. ``message_id`` None: without one."""
        id_ = str(uuid4()) if message_id == "" else message_id
        event = CHOREOGRAPHY.events[event_type]
        all_properties = {
            "message_id": id_,
            "type": event_type,
            "app_id": event.publisher,
            "content_type": "application/json",
            "delivery_mode": 2,
            "headers": {"schema_version": 1} if headers is None else dict(headers),
            **properties,
        }
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.publish(f"{event.publisher}.events", event_type, body, pika.BasicProperties(**all_properties))
        return id_

    def depth(self, queue: str) -> int:
        """Messages ready; a passive declare is exact, where the management API lags seconds behind."""
        return int(self._with_channel(lambda channel: channel.queue_declare(queue, passive=True).method.message_count))

    def take(self, queue: str) -> list[DeadLetter]:
        """Everything that is in ``queue`` now, removed from it."""
        return self._with_channel(lambda channel: _take_all(channel, queue))

    def dead(self, queue: str) -> list[DeadLetter]:
        return self.take(f"{queue}.dead")

    def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        self._with_channel(lambda channel: channel.queue_bind(queue, exchange, routing_key))

    def unbind(self, queue: str, exchange: str, routing_key: str) -> None:
        self._with_channel(lambda channel: channel.queue_unbind(queue, exchange, routing_key))

    def purge_all(self) -> None:
        self._with_channel(lambda channel: [channel.queue_purge(queue) for queue in ALL_QUEUES])

    def all_dead(self) -> dict[str, list[DeadLetter]]:
        """Dead letters of every queue that has some."""
        found = {queue: self.take(queue) for queue in ALL_QUEUES if queue.endswith(".dead") and self.depth(queue)}
        return {queue: letters for queue, letters in found.items() if letters}


def _take_all(channel: Any, queue: str) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return letters
        letters.append(DeadLetter(body=body, headers=properties.headers or {}, properties=properties))
