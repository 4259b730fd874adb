"""Owns: when the successor of a process that was ended on purpose does its work. Must not know: how it was ended.

A replacement of all replicas, one after the other, is one without a gap only if nobody goes before his successor is
there: a service imports for seconds before it takes its first request.
"""

from __future__ import annotations

from collections.abc import Callable

import pika
from pika.exceptions import AMQPError

from ops.applications import GATEWAY, PSP, SERVICES
from ops.rabbitmq import normal_uri
from ops.readiness import why_not_ready, why_psp_not_ready
from ops.state import FINANCE, StackState
from shared.choreography import rpc_queue
from shared.messaging.addresses import split_addresses

Ready = Callable[[], bool]


def readiness_of_successor(name: str, state: StackState) -> Ready:
    """To be asked for before ``name`` (a replica's, such as order_service-2) is ended, and then until it is true.

    Of a relay nothing is waited for: its events wait in the outbox.
    """
    kind = name.rstrip("0123456789").rstrip("-")
    if kind == GATEWAY:
        return lambda: why_not_ready(state) is None
    if kind == PSP:
        return lambda: why_psp_not_ready(state) is None
    wanted = _answering(kind, state) if kind in (*SERVICES, FINANCE) else None
    if wanted is None:
        return lambda: True
    return lambda: (_answering(kind, state) or 0) >= max(1, wanted)


def _answering(service: str, state: StackState) -> int | None:
    """How many replicas wait for requests, which is the last thing that a service begins; None if nobody can say."""
    for address in split_addresses(state.amqp_uri()):
        parameters = pika.URLParameters(normal_uri(address))
        parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 3.0
        try:
            with pika.BlockingConnection(parameters) as connection:
                declared = connection.channel().queue_declare(rpc_queue(service), passive=True)
                return int(declared.method.consumer_count)
        except (AMQPError, OSError):
            continue
    return None
