"""A connection to the broker for one use by somebody who waits: opened, used, closed, and never hanging.

Owns: the time limits of a blocking pika connection. Must not know: queues.
Runs in plain threads, without eventlet. Nothing is kept between two uses, so nothing has to be healed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from shared.errors import BrokerUnavailable
from shared.messaging.pika_frames import read_tolerantly

CONNECT_LIMIT_S = 2.0
HEARTBEAT_S = 10


class BriefConnection:
    """One channel. Every wait ends within ``limit_s`` of the last :meth:`go_on`, with BrokerUnavailable."""

    def __init__(self, connection: Any, limit_s: float) -> None:
        self._connection = connection
        self._limit_s = limit_s
        # pika calls its own `call_later` only between two calls; a frozen broker keeps us inside one. Its loop's
        # timers run there too.
        self._loop = connection._impl.ioloop
        self._timer = self._loop.call_later(limit_s, self._give_up)
        self.channel: Any = connection.channel()

    def go_on(self) -> None:
        """Something was done: the limit counts anew."""
        self._loop.remove_timeout(self._timer)
        self._timer = self._loop.call_later(self._limit_s, self._give_up)

    def new_channel(self) -> None:
        """The broker has closed the old one, which is its answer to a mistake."""
        self.channel = self._connection.channel()

    def renew_channel(self) -> None:
        """What it held and did not acknowledge goes back into its place."""
        self.channel.close()
        self.new_channel()

    def read(self, seconds: float) -> None:
        """Let arrive what arrives, for at most so long."""
        self._connection.process_data_events(time_limit=seconds)

    def _give_up(self) -> NoReturn:
        raise BrokerUnavailable(f"the broker did not answer within {self._limit_s:g} s")


@contextlib.contextmanager
def brief_connection(addresses: Sequence[str], *, limit_s: float, name: str) -> Iterator[BriefConnection]:
    """To the first broker that answers. Raises BrokerUnavailable, also for whatever breaks while it is used.

    Unacknowledged messages go back into their queue when it closes.
    """
    connection = _open(addresses, limit_s, name)
    try:
        read_tolerantly(connection)
        brief = BriefConnection(connection, limit_s)
        yield brief
        brief.go_on()
        connection.close()
    except (AMQPError, OSError) as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
    finally:
        _drop(connection)


def _open(addresses: Sequence[str], limit_s: float, name: str) -> Any:
    deadline = time.monotonic() + limit_s
    errors = []
    for address in addresses:
        parameters = pika.URLParameters(address)
        parameters.heartbeat = HEARTBEAT_S
        parameters.client_properties = {"connection_name": name}
        limit = max(0.1, min(CONNECT_LIMIT_S, deadline - time.monotonic()))
        parameters.socket_timeout = parameters.stack_timeout = limit
        parameters.blocked_connection_timeout = limit_s
        try:
            return pika.BlockingConnection(parameters)
        except (AMQPError, AMQPConnectorException, OSError) as error:
            errors.append(f"{parameters.host}: {type(error).__name__}")
    raise BrokerUnavailable("no broker can be reached: " + "; ".join(errors))


def _drop(connection: Any) -> None:
    """Closed or not, never waiting for the broker's answer: a frozen one gives none."""
    transport: Any = getattr(connection._impl, "_transport", None)
    sock = getattr(transport, "_sock", None)
    with contextlib.suppress(Exception):
        transport.abort()
    with contextlib.suppress(Exception):
        connection._cleanup()
    if sock is not None:
        sock.close()
