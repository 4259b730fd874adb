"""The one connection of a service process that everything is consumed on.

Owns: connecting for ever, heartbeats, handing deliveries to lanes, draining at the end, the watchdog's beat.
Must not know: what a lane does with its deliveries.

Own loop instead of Nameko's QueueConsumer, because that one acknowledges and loses a message whose handler failed,
closes the connection before the last handlers are done, and gives one prefetch for everything.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Protocol

import eventlet
from amqp.exceptions import NotFound
from nameko.constants import AMQP_URI_CONFIG_KEY
from nameko.extensions import SharedExtension

from shared.choreography import Choreography, load_choreography
from shared.errors import BrokerUnavailable, TopologyMissing
from shared.logs import get_logger
from shared.messaging import figures
from shared.messaging.confirming_publisher import ConfirmingPublisher
from shared.messaging.connection import CONNECTION_ERRORS, abandon, connect, open_channel
from shared.messaging.delivery import Delivery
from shared.messaging.watchdog import Watchdog

log = get_logger(__name__)

ITERATION_S = 0.5
SETUP_S = 8
DRAIN_S = 10
CLOSE_S = 2
RECONNECT_DELAYS_S = (0.1, 0.5, 1, 2, 5)
# KeyError: py-amqp was handed a frame for a channel it does not know; the stream cannot be trusted any more.
RECONNECT_ON: tuple[type[BaseException], ...] = (BrokerUnavailable, TopologyMissing, KeyError, *CONNECTION_ERRORS)


class Lane(Protocol):
    """One queue's worth of work, with its own channel so that its acknowledgements are in order."""

    queue: str
    prefetch: int
    takes_requests: bool

    def arrived(self, delivery: Delivery) -> None:
        """Called in the loop's thread: must not block."""

    def run(self) -> None:
        """Called once in a thread of its own; returns after :meth:`finish`."""

    def finish(self) -> None:
        """Take no new work; :meth:`is_idle` turns true when what is in hand is settled."""

    def is_idle(self) -> bool: ...


class MessageLoop(SharedExtension):
    """Consumes every lane's queue on one connection. Reconnects for ever; waits for a topology that is missing."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        self._consumer_tags: list[tuple[Any, str]] = []
        self._thread: Any = None
        self._stopping = False
        self._connected = False
        self._watchdog = Watchdog()
        super().__init__()

    def setup(self) -> None:
        self.amqp_uri: str = self.container.config[AMQP_URI_CONFIG_KEY]
        self.choreography: Choreography = load_choreography()
        self.publisher = ConfirmingPublisher(self.amqp_uri)

    @property
    def is_connected(self) -> bool:
        """Whether every lane's queue is consumed from, as far as is known."""
        return self._connected and not self._stopping

    @property
    def is_draining(self) -> bool:
        return self._stopping

    @property
    def silent_s(self) -> float:
        """How long ago the loop last went round."""
        return self._watchdog.silent_s

    def register(self, lane: Lane) -> None:
        self._lanes.append(lane)
        # Requests come last: a service that answers consumes all its events too, so readiness can be asked.
        self._lanes.sort(key=lambda lane: lane.takes_requests)

    def start(self) -> None:
        if self._thread is None:
            self._watchdog.start()
            for lane in self._lanes:
                self.container.spawn_managed_thread(lane.run, identifier=f"lane {lane.queue}")
            self._thread = self.container.spawn_managed_thread(self._run, identifier="message loop")

    def drain(self) -> None:
        """Stop consuming, let what is in hand finish and be acknowledged, then close. Any caller may wait here."""
        self._stopping = True
        if self._thread is not None:
            self._thread.wait()

    def stop(self) -> None:
        self.drain()
        self.publisher.close()
        self._watchdog.stop()

    def kill(self) -> None:
        self._stopping = True
        self._watchdog.stop()

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._serve_one_connection()
                failures = 0
            except RECONNECT_ON as error:
                failures = 0 if self._connected else failures + 1
                self._connected = False
                self._report(error)
                self._pause(RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)])
        self._finish_lanes()

    def _report(self, error: BaseException) -> None:
        figures.BROKER_LOSSES.inc()
        code = getattr(error, "code", type(error).__name__)
        log.warning("broker_connection_lost", code=code, error=str(error)[:300])

    def _serve_one_connection(self) -> None:
        self._watchdog.beat()
        connection = connect(self.amqp_uri)
        try:
            # RabbitMQ was seen to leave a declare or consume of a quorum queue unanswered just after it started, for
            # ever on that connection, and to answer at once on the next one.
            with eventlet.Timeout(SETUP_S, BrokerUnavailable(f"consumers were not set up within {SETUP_S} s")):
                self._consume_all(connection)
            self._connected = True
            log.info("consuming", queues=len(self._lanes))
            while not self._stopping:
                self._iterate(connection)
            self._drain_connection(connection)
        finally:
            abandon(connection)

    def _consume_all(self, connection: Any) -> None:
        self._consumer_tags = []
        for lane in self._lanes:
            channel = open_channel(connection)
            channel.basic_qos(0, lane.prefetch, False)
            try:
                tag = channel.basic_consume(lane.queue, callback=_deliver_to(lane))
            except NotFound as error:
                raise TopologyMissing(f"queue {lane.queue} does not exist; declare the topology") from error
            self._consumer_tags.append((channel, tag))

    def _iterate(self, connection: Any) -> None:
        """As many frames as come in ITERATION_S, or none in that time."""
        self._watchdog.beat()
        ends_at = time.monotonic() + ITERATION_S
        with contextlib.suppress(TimeoutError), connection.transport.having_timeout(ITERATION_S):
            while time.monotonic() < ends_at and not self._stopping:
                connection.blocking_read()
        connection.heartbeat_tick()

    def _drain_connection(self, connection: Any) -> None:
        """Cancelled consumers get nothing new; acknowledgements still go out on the open connection."""
        for channel, tag in self._consumer_tags:
            channel.basic_cancel(tag, nowait=True)
        self._finish_lanes()
        deadline = time.monotonic() + DRAIN_S
        while not all(lane.is_idle() for lane in self._lanes) and time.monotonic() < deadline:
            self._watchdog.beat()
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.05)
            connection.heartbeat_tick()
            eventlet.sleep(0)
        # A frozen broker never answers the close; abandon() follows in any case.
        with eventlet.Timeout(CLOSE_S, False):
            connection.close()

    def _finish_lanes(self) -> None:
        for lane in self._lanes:
            lane.finish()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            self._watchdog.beat()
            eventlet.sleep(0.1)


def _deliver_to(lane: Lane) -> Any:
    def callback(message: Any) -> None:
        lane.arrived(Delivery(message=message, queue=lane.queue))

    return callback
