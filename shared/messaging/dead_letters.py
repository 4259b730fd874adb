"""The dead letters on the broker: how many there are, what they say, back to work with them, or away.

Owns: looking without moving, and moving so that nothing is lost wherever it stops. Must not know: who asks, or why.

Looking: a quorum queue puts a message that was rejected with "requeue" at its end (RabbitMQ 3.10 and later, without a
delivery limit), and those of several `basic.get` back in any order; see window.py for what does keep the order, as long
as one looks at a time. Each look counts as a delivery: the policy `kept-dead-letters` sets the limit out of reach,
because RabbitMQ 4 would drop a message after 20.

Moving: published, confirmed, then acknowledged, one after the other. Killed in between, a message is in both queues,
and the inbox drops the second. Dropping: see dropping.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pika.exceptions import ChannelClosedByBroker

from shared.choreography import dead_letter_queue
from shared.errors import BrokerUnavailable, DeadLettersNotFound
from shared.messaging import dropping
from shared.messaging.addresses import split_addresses
from shared.messaging.brief_connection import BriefConnection, brief_connection
from shared.messaging.dropping import Oldest, Selection, These, drop, only
from shared.messaging.hands import Hands, take_in_hand
from shared.messaging.letters import Letter
from shared.messaging.sending_back import CannotBeMoved, Stop, refuse_unsendable, send_back
from shared.messaging.window import hold_oldest

__all__ = ["DeadLetters", "Moved", "Stop"]

MOVING_LIMIT_S = 10.0
CONNECTION_NAME = "dead letters"
_NOT_FOUND = 404
_LOOK_AGAIN_S = 0.02
_TIME_IS_UP = Stop(code="time_is_up", detail=f"not all within {MOVING_LIMIT_S:g} s")

T = TypeVar("T")
Act = Callable[[Any, Letter], None]


@dataclass(kw_only=True, slots=True)
class Moved:
    """What became of them: ids of the events that were moved (None: without one), and why it stopped early."""

    events: list[str | None] = field(default_factory=list)
    stopped: Stop | None = None


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
            return {queue: _depth(connection, dead_letter_queue(queue)) for queue in self._work_queues}

    def backlogs(self) -> dict[str, int | None]:
        """Work queue → how many events wait in it; None where it is not declared."""
        with self._connection() as connection:
            return {queue: _depth(connection, queue) for queue in self._work_queues}

    def depth(self, queue: str) -> int:
        """Raises DeadLettersNotFound if there is no such work queue, or no queue of its dead letters."""
        self._require_known(queue)
        with self._connection() as connection:
            return _known_depth(connection, queue)

    def peek(self, queue: str, limit: int) -> list[Letter]:
        """The oldest ``limit`` dead letters, which stay where they are; see :meth:`each`."""
        room = iter(range(limit))
        return self.each(queue, lambda letter: None if next(room, None) is None else letter)

    def each(self, queue: str, see: Callable[[Letter], T | None]) -> list[T]:
        """What ``see`` makes of each of the oldest dead letters (at most window.SIZE), but for None, in order.

        They stay where they are. Those that somebody else is looking at, or moving, are not among them.
        Raises DeadLettersNotFound.
        """
        self._require_known(queue)
        with self._connection() as connection:
            held = hold_oldest(connection, dead_letter_queue(queue), _known_depth(connection, queue), see)
            if held:
                _let_go(connection, queue, len(held))
        return [seen for _, seen in held if seen is not None]

    @contextmanager
    def in_hand(self, wanted: Mapping[str, Collection[str]]) -> Iterator[Hands]:
        """Hold the oldest dead letters of several work queues: ``wanted`` is queue → fingerprints to be sent back.

        Those that are not sent by the end of the block stay in their places. Raises DeadLettersNotFound.
        """
        with ExitStack() as stack:
            hands = Hands(self._work_queues)
            for queue, prints in wanted.items():
                self._require_known(queue)
                connection = stack.enter_context(self._connection())
                connection.channel.confirm_delivery()
                there = _known_depth(connection, queue)
                hands.add(queue, take_in_hand(connection, dead_letter_queue(queue), there, frozenset(prints)))
            yield hands

    def unsendable(self, letter: Letter, queue: str) -> Stop | None:
        """Why ``letter``, found under ``queue``, can never be sent back; None if it can."""
        try:
            refuse_unsendable(letter, letter.origin_queue or queue, self._work_queues)
        except CannotBeMoved as error:
            return error.stop
        return None

    def redrive(self, queue: str, count: int) -> Moved:
        """Send the oldest ``count`` back, each to the work queue in which it failed, as if it were new.

        Not those that fail again meanwhile. Stops at the first that cannot be sent. Raises DeadLettersNotFound only.
        """

        def send(channel: Any, letter: Letter) -> None:
            send_back(channel, letter, letter.origin_queue or queue, self._work_queues)

        def run(connection: BriefConnection, moved: Moved) -> Stop | None:
            connection.channel.confirm_delivery()
            there = min(count, _known_depth(connection, queue))
            return _send_all(connection, queue, there, send, moved.events)

        return self._move(queue, run)

    def discard(self, queue: str, count: int) -> Moved:
        """Drop the oldest ``count``. Raises DeadLettersNotFound only."""
        return self._drop(queue, Oldest(count))

    def discard_these(self, queue: str, prints: Collection[str]) -> Moved:
        """Drop exactly those with these fingerprints, one each. Raises DeadLettersNotFound only."""
        these = These(prints)
        moved = self._drop(queue, these)
        if not these.is_done() and moved.stopped is None:
            detail = f"{these.left.total()} of them are not in this queue, or in use"
            moved.stopped = Stop(code="not_there", detail=detail)
        return moved

    def _drop(self, queue: str, selection: Selection) -> Moved:
        dead, began = dead_letter_queue(queue), time.monotonic()

        def run(connection: BriefConnection, moved: Moved) -> Stop | None:
            depth = partial(_known_depth, connection, queue)
            for letter in drop(connection, dead, depth, selection, limit_s=MOVING_LIMIT_S):
                moved.events.append(letter.event_id)
            is_late = not selection.is_done() and time.monotonic() - began >= MOVING_LIMIT_S
            return _TIME_IS_UP if is_late else None

        return self._move(queue, run)

    def _move(self, queue: str, run: Callable[[BriefConnection, Moved], Stop | None]) -> Moved:
        self._require_known(queue)
        moved = Moved()
        try:
            with self._connection() as connection:
                _known_depth(connection, queue)
                moved.stopped = run(connection, moved)
        except BrokerUnavailable as error:
            detail = f"{error.message}; the next message may be in both queues"
            moved.stopped = Stop(code=error.code, detail=detail[:300])
        return moved

    def _require_known(self, queue: str) -> None:
        if queue not in self._work_queues:
            raise DeadLettersNotFound("there is no such work queue", {"queue": queue[:100]})

    def _connection(self) -> Any:
        return brief_connection(self._addresses, limit_s=self._limit_s, name=CONNECTION_NAME)


def _depth(connection: BriefConnection, queue: str) -> int | None:
    try:
        declared = connection.channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != _NOT_FOUND:
            raise
        connection.new_channel()
        return None
    return int(declared.method.message_count)


def _known_depth(connection: BriefConnection, queue: str) -> int:
    depth = _depth(connection, dead_letter_queue(queue))
    if depth is None:
        raise DeadLettersNotFound("the queue of its dead letters is not declared", {"queue": queue})
    return depth


def _let_go(connection: BriefConnection, queue: str, held: int) -> None:
    """Whoever looks next finds them: they are back in their places a moment after the channel has closed.

    Where somebody else takes letters away meanwhile, it is waited in vain for that moment.
    """
    connection.renew_channel()
    enough_at = time.monotonic() + dropping.BACK_WITHIN_S
    while _known_depth(connection, queue) < held and time.monotonic() < enough_at:
        connection.read(_LOOK_AGAIN_S)


def _send_all(connection: BriefConnection, queue: str, count: int, send: Act, events: list[str | None]) -> Stop | None:
    """One after the other: each is published and confirmed before it is acknowledged."""
    enough_at = time.monotonic() + MOVING_LIMIT_S
    while len(events) < count:
        there, meant = _known_depth(connection, queue), only(Oldest(count - len(events)).look())
        held = hold_oldest(connection, dead_letter_queue(queue), there, meant)
        if not any(letter for _, letter in held):
            return None
        for tag, letter in held:
            if letter is None:
                continue
            if time.monotonic() >= enough_at:
                return _TIME_IS_UP
            connection.go_on()
            try:
                send(connection.channel, letter)
            except CannotBeMoved as error:
                return error.stop
            connection.channel.basic_ack(tag)
            events.append(letter.event_id)
    return None
