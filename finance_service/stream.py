"""Reading a RabbitMQ stream over AMQP 0.9.1: from a place on, many messages at once.

Owns: one pika connection with one consumer, gathering what arrives, acknowledging it (which is no more than asking for
more: a stream keeps its messages). Must not know: what the messages mean, where the place is kept.
Runs in a plain process, without eventlet.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker

from finance_service.domain import Arrived
from shared.errors import BrokerUnavailable, TopologyMissing
from shared.messaging.addresses import split_addresses
from shared.messaging.pika_frames import read_tolerantly

FIRST, LAST = "first", "last"
PREFETCH = 1_000
HEARTBEAT_S = 10
CONNECT_LIMIT_S = 5.0
_OFFSET = "x-stream-offset"
_NOT_FOUND = 404


class StreamReader:
    """Every error leaves it closed; :meth:`open` opens it again."""

    def __init__(self, amqp_uri: str, stream: str) -> None:
        self._amqp_uri, self._stream = amqp_uri, stream
        self._connection: Any = None
        self._channel: Any = None
        self._arrived: deque[tuple[int, Arrived]] = deque()
        self._tags: dict[int, int] = {}

    @property
    def is_open(self) -> bool:
        return self._channel is not None and bool(self._channel.is_open)

    def open(self, offset: int | str) -> None:
        """Begin at ``offset``; where that is gone, with the oldest message there is; where it is not yet, wait for it.

        FIRST is the oldest message, LAST those that were written together last.

        Raises BrokerUnavailable, TopologyMissing.
        """
        self.close()
        with self._errors():
            self._connection = _connect(self._amqp_uri)
            read_tolerantly(self._connection)
            self._channel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=PREFETCH)
            self._channel.basic_consume(self._stream, self._take, arguments={_OFFSET: offset})

    def read(self, most: int, patience_s: float, gather_s: float) -> list[Arrived]:
        """Up to ``most`` messages: what comes within ``gather_s`` of the first; none within ``patience_s``: none."""
        began = time.monotonic()
        with self._errors():
            while not self._arrived:
                left_s = began + patience_s - time.monotonic()
                if left_s <= 0:
                    return []
                self._wait(left_s)
            gathered = time.monotonic() + gather_s
            while len(self._arrived) < most and (left_s := gathered - time.monotonic()) > 0:
                self._wait(left_s)
        return self._first(most)

    def _wait(self, seconds: float) -> None:
        self._connection.process_data_events(time_limit=seconds)
        if not self.is_open or not self._channel.consumer_tags:
            # A stream that was deleted, or whose leader moved, ends its consumers.
            raise BrokerUnavailable("the stream's consumer was cancelled")

    def _first(self, most: int) -> list[Arrived]:
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        self._tags |= {arrived.offset: tag for tag, arrived in taken}
        return [arrived for _, arrived in taken]

    def acknowledge(self, arrived: Sequence[Arrived]) -> None:
        """All of them are applied, or of no use."""
        tags = [self._tags.pop(one.offset) for one in arrived if one.offset in self._tags]
        if tags:
            with self._errors():
                self._channel.basic_ack(max(tags), multiple=True)

    def _take(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        headers = properties.headers or {}
        offset = headers.get(_OFFSET)
        if isinstance(offset, int):
            arrived = Arrived(offset=offset, message_id=properties.message_id, body=body)
            self._arrived.append((method.delivery_tag, arrived))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BrokerUnavailable:
            self.close()
            raise
        except ChannelClosedByBroker as error:
            self.close()
            if error.reply_code == _NOT_FOUND:
                raise TopologyMissing(f"{self._stream} does not exist: `ordersaga topology` declares it") from error
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        except (AMQPError, OSError) as error:
            self.close()
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Drop the connection without waiting for the broker."""
        connection, self._connection, self._channel = self._connection, None, None
        self._arrived.clear()
        self._tags.clear()
        if connection is None:
            return
        transport: Any = getattr(connection._impl, "_transport", None)
        sock = getattr(transport, "_sock", None)
        with contextlib.suppress(Exception):
            connection.close()
        with contextlib.suppress(Exception):
            transport.abort()
        if sock is not None:
            sock.close()


def _connect(amqp_uri: str) -> Any:
    errors = []
    for address in split_addresses(amqp_uri):
        parameters = pika.URLParameters(address)
        parameters.heartbeat = HEARTBEAT_S
        parameters.client_properties = {"connection_name": "finance feed"}
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_LIMIT_S
        parameters.blocked_connection_timeout = 2 * HEARTBEAT_S
        try:
            return pika.BlockingConnection(parameters)
        except (AMQPError, AMQPConnectorException, OSError) as error:
            errors.append(f"{parameters.host}: {type(error).__name__}")
    raise BrokerUnavailable("no broker can be reached: " + "; ".join(errors))
