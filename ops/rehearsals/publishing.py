"""Owns: a message sent past the outbox, as a producer that is not ours would. Must not know: what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.exceptions import AMQPError

from ops.errors import StackError
from shared.messaging.addresses import split_addresses

_PERSISTENT = 2


@dataclass(frozen=True, kw_only=True)
class Message:
    """What goes to an exchange. ``payload``: the body, as JSON."""

    exchange: str
    event: str
    event_id: str
    correlation_id: str
    payload: Mapping[str, Any]
    headers: Mapping[str, Any] = field(default_factory=dict)


def publish(amqp_uri: str, message: Message) -> None:
    """Returns once the broker has it in a queue. Raises StackError."""
    parameters = pika.URLParameters(split_addresses(amqp_uri)[0])
    properties = pika.BasicProperties(
        message_id=message.event_id,
        correlation_id=message.correlation_id,
        type=message.event,
        content_type="application/json",
        delivery_mode=_PERSISTENT,
        headers=dict(message.headers),
    )
    try:
        with closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            body = json.dumps(message.payload).encode()
            channel.basic_publish(message.exchange, message.event, body, properties, mandatory=True)
    except (AMQPError, OSError) as error:
        raise StackError(f"{message.event} could not be published: {type(error).__name__}: {error}") from error
