"""Opening and abandoning AMQP connections.

Owns: heartbeat, timeouts, trying one node of the broker after the other. Must not know: queues.
"""

from __future__ import annotations

import contextlib
from typing import Any

from amqp.exceptions import AMQPError
from amqp.transport import TCPTransport
from kombu.connection import Connection

from shared.errors import BrokerUnavailable
from shared.messaging.addresses import split_addresses
from shared.messaging.frames import tolerant_frame_handler

HEARTBEAT_S = 10  # 2 s was seen to flap under load
CONNECT_TIMEOUT_S = 5
READ_AHEAD_BYTES = 16_384
make_connection: Any = Connection  # kombu is untyped

# Everything a dead or dying connection raises: the protocol's errors, the socket's, and py-amqp's own
# AttributeError when the connection object was collected under our feet.
CONNECTION_ERRORS: tuple[type[BaseException], ...] = (AMQPError, OSError, EOFError, AttributeError)


def connect(amqp_uri: str, **transport_options: Any) -> Any:
    """An open py-amqp connection to the first node that answers. Raises BrokerUnavailable."""
    errors = []
    for node in split_addresses(amqp_uri):
        connection: Any = make_connection(
            node,
            heartbeat=HEARTBEAT_S,
            connect_timeout=CONNECT_TIMEOUT_S,
            transport_options={"frame_handler": tolerant_frame_handler, **transport_options},
        )
        try:
            return _reading_ahead(_only_read_by_its_loop(connection.transport.establish_connection()))
        except CONNECTION_ERRORS as error:
            errors.append(f"{connection.host}: {type(error).__name__} {error}")
    raise BrokerUnavailable("; ".join(errors) or "AMQP_URI names no broker")


def _only_read_by_its_loop(connection: Any) -> Any:
    """Where the broker tells of blocked connections, py-amqp reads from the socket before each publish.

    A reply published by a worker would then take frames, or halves of them, from under the message loop.
    """
    connection.client_properties = {
        **connection.client_properties,
        "capabilities": {**connection.client_properties.get("capabilities", {}), "connection.blocked": False},
    }
    return connection


def _reading_ahead(connection: Any) -> Any:
    """py-amqp asks the socket nine times for one message; it keeps well what it got too much, and then need not ask."""
    transport = connection.transport
    if type(transport) is TCPTransport:
        receive = transport.sock.recv
        transport._quick_recv = lambda _wanted: receive(READ_AHEAD_BYTES)
    return connection


def open_channel(connection: Any) -> Any:
    """A channel that hands over bodies as bytes: decoding is ours, where an error can be dead-lettered."""
    channel = connection.channel()
    channel.auto_decode = False
    return channel


def abandon(connection: Any) -> None:
    """Drop a connection that may be broken: close the socket, never wait for the broker.

    ``Connection.close()`` waits for the broker's close-ok, which never comes from a frozen one.
    """
    # Not the public attribute: on a connection that is closed already it would connect anew.
    transport = getattr(connection, "_transport", None)
    sock = getattr(transport, "sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.close()
    with contextlib.suppress(*CONNECTION_ERRORS):
        connection.collect()
