"""Publishes the events of an outbox, a window at once, and says which of them the broker has safe. For the relay.

Owns: how an outbox row travels. Must not know: where rows come from, or how they are confirmed (pipelined_channel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pika

from shared.envelope import properties_of
from shared.messaging.pipelined_channel import Message, PipelinedChannel, Window
from shared.outbox import OutboxRow

__all__ = ["PipelinedPublisher", "Window"]


class PipelinedPublisher(PipelinedChannel):
    """To one exchange."""

    def __init__(self, amqp_uri: str, exchange: str, has_consumer: Callable[[str], bool]) -> None:
        super().__init__(amqp_uri)
        self._exchange = exchange
        self._has_consumer = has_consumer

    def publish(self, rows: Sequence[OutboxRow]) -> Window:
        """Publish all of ``rows``, wait until each is settled. Raises BrokerUnavailable: then any may be published."""
        return self.publish_all(self._messages(rows))

    def _messages(self, rows: Sequence[OutboxRow]) -> Iterator[Message]:
        """One by one: what stands behind ``yield`` happens when the one before is sent."""
        for row in rows:
            properties, headers = properties_of(row.envelope)
            yield Message(
                id=row.id,
                exchange=self._exchange,
                routing_key=row.envelope.type,
                body=row.body,
                properties=pika.BasicProperties(delivery_mode=2, headers=headers, **properties),
                # An event nobody consumes yet would be returned for ever.
                mandatory=self._has_consumer(row.envelope.type),
            )
            # crash point: relay.sending
