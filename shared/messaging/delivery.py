"""One delivered message and the ways to settle it.

Owns: acknowledging, rejecting, sanitising what came. Must not know: why a message is settled this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.messaging.connection import CONNECTION_ERRORS, abandon
from shared.messaging.headers import ATTEMPTS_HEADER, count_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message as py-amqp delivered it. Settling on a dead channel does nothing: the broker delivers again."""

    message: Any
    queue: str

    @property
    def is_live(self) -> bool:
        return self.message.channel.connection is not None

    @property
    def body(self) -> bytes | str:
        body: bytes | str = self.message.body
        return body

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.message.properties
        return properties

    @property
    def headers(self) -> Mapping[str, Any]:
        headers = self.message.properties.get("application_headers")
        return headers if isinstance(headers, dict) else {}

    @property
    def attempts(self) -> int:
        """Failed attempts so far. Our own header: x-death is not interpreted on republish by RabbitMQ 4."""
        return count_of(self.headers.get(ATTEMPTS_HEADER))

    @property
    def is_redelivered(self) -> bool:
        """Whether the broker may have delivered it before."""
        return bool(self.message.delivery_info.get("redelivered"))

    @property
    def exchange(self) -> str:
        return str(self.message.delivery_info.get("exchange", ""))

    def acknowledge(self, *, and_all_before: bool = False) -> None:
        """Done with this one; with ``and_all_before`` also with every earlier delivery of its channel."""
        self._settle(lambda channel, tag: channel.basic_ack(tag, multiple=and_all_before))

    def requeue(self) -> None:
        self._settle(lambda channel, tag: channel.basic_reject(tag, requeue=True))

    def reject(self) -> None:
        """To the dead-letter queue by the broker itself; without our reason, so only where we cannot publish."""
        self._settle(lambda channel, tag: channel.basic_reject(tag, requeue=False))

    def _settle(self, send: Callable[[Any, int], None]) -> None:
        """What could not be sent must not be covered by a later acknowledgement of the same channel."""
        channel = self.message.channel
        try:
            send(channel, self.message.delivery_tag)
        except CONNECTION_ERRORS:
            if channel.connection is not None:
                abandon(channel.connection)
