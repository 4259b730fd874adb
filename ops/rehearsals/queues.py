"""Owns: how many messages are ready in each queue of the choreography, exactly. Must not know: what they are for.

A passive declaration knows it at once, where the management API lags seconds behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from ops.errors import StackError
from shared.choreography import dead_letter_queue, load_choreography, retry_exchange
from shared.messaging.addresses import split_addresses


def names() -> Iterator[str]:
    choreography = load_choreography()
    for queue, _event in choreography.work_queues():
        yield queue
        yield dead_letter_queue(queue)
    for service in choreography.services:
        yield from (retry_exchange(service, delay_s) for delay_s in choreography.retry_delays_s)


def ready(amqp_uri: str) -> dict[str, int]:
    """Name → messages; a queue that is not declared is left out. Raises StackError."""
    errors = []
    for address in split_addresses(amqp_uri):
        try:
            with closing(pika.BlockingConnection(pika.URLParameters(address))) as connection:
                return {name: count for name in names() if (count := _count(connection, name)) is not None}
        except (AMQPError, OSError) as error:
            errors.append(f"{type(error).__name__}: {error}")
    raise StackError(f"the broker does not answer: {'; '.join(errors)}")


def _count(connection: pika.BlockingConnection, name: str) -> int | None:
    channel = connection.channel()
    try:
        return int(channel.queue_declare(name, passive=True).method.message_count)
    except ChannelClosedByBroker:
        return None
    finally:
        if channel.is_open:
            channel.close()
