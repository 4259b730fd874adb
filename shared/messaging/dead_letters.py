"""The dead letters on the broker: how many there are, what they say, back to work with them, or away.

Owns: looking without moving, and moving so that nothing is lost wherever it stops. Must not know: who asks, or why.

Looking: a quorum queue puts a message that was rejected with "requeue" at its end (RabbitMQ 3.10 and later, without a
delivery limit), and those of several `basic.get` back in any order; see window.py for what does keep the order, as long
as one looks at a time. Each look counts as a delivery: the policy `kept-dead-letters` sets the limit out of reach,
because RabbitMQ 4 would drop a message after 20.

Moving: published, confirmed, then acknowledged, one after the other. Killed in between, a message is in both queues,
and the inbox drops the second.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pika.exceptions import (
    ChannelClosedByBroker,
    NackError,
    ShortStringTooLong,
    UnroutableError,
    UnsupportedAMQPFieldException,
)

from shared.choreography import dead_letter_queue
from shared.errors import BrokerUnavailable, DeadLettersNotFound
from shared.messaging.addresses import split_addresses
from shared.messaging.brief_connection import BriefConnection, brief_connection
from shared.messaging.letters import Letter, fresh_properties
from shared.messaging.window import hold_oldest

MOVING_LIMIT_S = 10.0
CONNECTION_NAME = "dead letters"
_NOT_FOUND = 404
_CANNOT_BE_SENT = (ShortStringTooLong, UnsupportedAMQPFieldException, struct.error, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Why not all were moved; ``code`` is stable."""

    code: str
    detail: str


@dataclass(kw_only=True, slots=True)
class Moved:
    """What became of them: ids of the events that were moved (None: without one), and why it stopped early."""

    events: list[str | None] = field(default_factory=list)
    stopped: Stop | None = None


class _CannotBeMoved(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.stop = Stop(code=code, detail=detail[:300])


class DeadLetters:
    """Opens a connection for each question. Safe from any thread, and before or after a fork.

    ``work_queues`` are the names of all that there are. Every method raises BrokerUnavailable when the broker does not
    answer within ``limit_s``, unless it says otherwise.
    """

    def __init__(self, amqp_uri: str, work_queues: Collection[str], *, limit_s: float = 5.0) -> None:
        self._addresses = split_addresses(amqp_uri)
        self._work_queues = tuple(work_queues)
        self._limit_s = limit_s

    def is_reachable(self) -> bool:
        try:
            with self._connection():
                return True
        except BrokerUnavailable:
            return False

    def depths(self) -> dict[str, int | None]:
        """Work queue → how many dead letters it has; None where their queue is not declared."""
        with self._connection() as connection:
            return {queue: _depth(connection, queue) for queue in self._work_queues}

    def depth(self, queue: str) -> int:
        """Raises DeadLettersNotFound if there is no such work queue, or no queue of its dead letters."""
        self._require_known(queue)
        with self._connection() as connection:
            return _known_depth(connection, queue)

    def peek(self, queue: str, limit: int) -> list[Letter]:
        """The oldest ``limit`` dead letters, at most a hundred, which stay where they are.

        Those that somebody else is looking at, or moving, are not among them. Raises DeadLettersNotFound.
        """
        self._require_known(queue)
        with self._connection() as connection:
            held = hold_oldest(connection, dead_letter_queue(queue), _known_depth(connection, queue))
        return [letter for _, letter in held[:limit]]

    def redrive(self, queue: str, count: int) -> Moved:
        """Send the oldest ``count`` back, each to the work queue in which it failed, as if it were new.

        Not those that fail again meanwhile. Stops at the first that cannot be sent. Raises DeadLettersNotFound only.
        """

        def send(channel: Any, letter: Letter) -> None:
            self._send_back(channel, letter, letter.origin_queue or queue)

        return self._move(queue, count, send)

    def discard(self, queue: str, count: int) -> Moved:
        """Drop the oldest ``count``. Raises DeadLettersNotFound only."""
        return self._move(queue, count, lambda _channel, _letter: None)

    def _move(self, queue: str, count: int, before_it_goes: Callable[[Any, Letter], None]) -> Moved:
        self._require_known(queue)
        moved = Moved()
        try:
            with self._connection() as connection:
                connection.channel.confirm_delivery()
                there = _known_depth(connection, queue)
                moved.stopped = _move_all(connection, queue, min(count, there), before_it_goes, moved.events)
        except BrokerUnavailable as error:
            detail = f"{error.message}; the next message may be in both queues"
            moved.stopped = Stop(code=error.code, detail=detail[:300])
        return moved

    def _send_back(self, channel: Any, letter: Letter, destination: str) -> None:
        if letter.is_unreadable:
            raise _CannotBeMoved("unreadable", "its properties are lost, and with them which event it is")
        if destination not in self._work_queues:
            raise _CannotBeMoved("unknown_origin", f"{destination[:100]!r} is no work queue")
        try:
            channel.basic_publish("", destination, letter.body, fresh_properties(letter), mandatory=True)
        except UnroutableError as error:
            raise _CannotBeMoved("unroutable", f"there is no queue {destination}") from error
        except NackError as error:
            raise _CannotBeMoved("refused", f"{destination} takes no more messages") from error
        except _CANNOT_BE_SENT as error:
            raise _CannotBeMoved("cannot_be_sent", f"{type(error).__name__}: {error}") from error

    def _require_known(self, queue: str) -> None:
        if queue not in self._work_queues:
            raise DeadLettersNotFound("there is no such work queue", {"queue": queue[:100]})

    def _connection(self) -> Any:
        return brief_connection(self._addresses, limit_s=self._limit_s, name=CONNECTION_NAME)


def _depth(connection: BriefConnection, queue: str) -> int | None:
    try:
        declared = connection.channel.queue_declare(dead_letter_queue(queue), passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != _NOT_FOUND:
            raise
        connection.new_channel()
        return None
    return int(declared.method.message_count)


def _known_depth(connection: BriefConnection, queue: str) -> int:
    depth = _depth(connection, queue)
    if depth is None:
        raise DeadLettersNotFound("the queue of its dead letters is not declared", {"queue": queue})
    return depth


def _move_all(
    connection: BriefConnection,
    queue: str,
    count: int,
    before_it_goes: Callable[[Any, Letter], None],
    events: list[str | None],
) -> Stop | None:
    enough_at = time.monotonic() + MOVING_LIMIT_S
    while len(events) < count:
        held = hold_oldest(connection, dead_letter_queue(queue), _known_depth(connection, queue))
        if not held:
            return None
        for tag, letter in held[: count - len(events)]:
            if time.monotonic() >= enough_at:
                return Stop(code="time_is_up", detail=f"not all within {MOVING_LIMIT_S:g} s")
            connection.go_on()
            try:
                before_it_goes(connection.channel, letter)
            except _CannotBeMoved as error:
                return error.stop
            connection.channel.basic_ack(tag)
            events.append(letter.event_id)
    return None
