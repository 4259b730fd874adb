"""Publishes single messages and returns only when the broker has them safe. For retries and dead letters.

Owns: one lazily opened connection with publisher confirms. Must not know: what it publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import eventlet
from amqp.basic_message import Message
from amqp.exceptions import MessageNacked
from eventlet.semaphore import Semaphore

from shared.errors import BrokerUnavailable, PermanentError
from shared.messaging.connection import CONNECTION_ERRORS, abandon, connect, open_channel

CONFIRM_TIMEOUT_S = 10
LARGEST_PROPERTIES_BYTES = 131_072 - 64  # a frame as RabbitMQ and py-amqp agree on it, less what is around them


class ConfirmingPublisher:
    """One message at a time, mandatory, confirmed. Rare by nature, so a round trip each is fine."""

    def __init__(self, amqp_uri: str) -> None:
        self._amqp_uri = amqp_uri
        self._connection: Any = None
        self._channel: Any = None
        self._one_at_a_time = Semaphore(1)

    def publish(
        self,
        body: bytes | str,
        *,
        exchange: str,
        routing_key: str,
        properties: Mapping[str, Any],
        headers: Mapping[str, Any],
    ) -> None:
        """Raises BrokerUnavailable when the message is not known to be in a queue (it may be: expect a duplicate).

        Raises PermanentError when its properties or headers cannot be sent at all.
        """
        try:
            message = Message(body, application_headers=dict(headers), **properties)
            properties_bytes = len(message._serialize_properties())
        except Exception as error:
            raise PermanentError(f"the message cannot be encoded: {error}") from error
        if properties_bytes > LARGEST_PROPERTIES_BYTES:
            raise PermanentError(f"{properties_bytes} bytes of properties do not fit into a frame")
        with self._one_at_a_time:
            self._publish(message, exchange, routing_key)

    def _publish(self, message: Any, exchange: str, routing_key: str) -> None:
        # eventlet's Timeout is a BaseException by default; handing it ours makes it one that callers catch.
        timeout = eventlet.Timeout(CONFIRM_TIMEOUT_S, BrokerUnavailable("no confirm from the broker"))
        try:
            self._open_channel().basic_publish_confirm(
                message, exchange=exchange, routing_key=routing_key, mandatory=True
            )
        except BrokerUnavailable:
            self.close()
            raise
        except (*CONNECTION_ERRORS, MessageNacked) as error:
            self.close()
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            timeout.cancel()

    def _open_channel(self) -> Any:
        # An idle connection nobody reads from is closed by the broker's heartbeat: check before use.
        if self._channel is None or self._channel.connection is None or not self._still_open():
            self.close()
            self._connection = connect(self._amqp_uri, heartbeat=0)
            self._channel = open_channel(self._connection)
        return self._channel

    def _still_open(self) -> bool:
        try:
            self._connection.drain_events(timeout=0.001)
        except TimeoutError:
            return True
        except CONNECTION_ERRORS:
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            abandon(self._connection)
        self._connection = self._channel = None
