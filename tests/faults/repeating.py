"""Events that come again, out of their order, or long after everybody has stopped waiting for them.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pika

from shared.choreography import load_choreography

from .fault import Arena, Fault, Simple
from .processes import DidNotHappen
from .strokes import administrator_of

SERVICES = tuple(load_choreography().services)
# Later than PENDING_DEADLINE_S, and than every reservation's end and RESERVED_GRACE_S after it.
_LATE_S = 48.0
_TAKEN_AT_ONCE = 20
_CONFIRM_WITHIN_S = 30.0

_PUBLISH_AGAIN = """
update outbox set published_at = null
where id in (select id from outbox where published_at is not null and occurred_at > clock_timestamp() - interval '2 min'
             order by random() limit %s)
"""


def publish_again(arena: Arena) -> int:
    """What any relay has published: with its own id, behind whatever came later, also of orders that have ended."""
    rounds, count = (2, 100) if arena.is_quick else (5, 400)
    repeated = 0
    for _ in range(rounds):
        for service in arena.chance.sample(SERVICES, len(SERVICES)):
            repeated += _publish_again(arena, service, count)
        arena.say(f"{repeated} events are published once more")
        time.sleep(arena.chance.uniform(1.0, 4.0))
    if not repeated:
        raise DidNotHappen("no event to publish again")
    return repeated


def _publish_again(arena: Arena, service: str, count: int) -> int:
    with closing(administrator_of(arena, service)) as connection, connection.cursor() as cursor:
        cursor.execute(_PUBLISH_AGAIN, (count,))
        connection.commit()
        return int(cursor.rowcount)


@dataclass(kw_only=True)
class Interception:
    """Sits on every work queue beside its consumers, and takes its share of the events away unacknowledged."""

    connection: Any
    held: list[tuple[str, Any, Any, bytes]] = field(default_factory=list)
    """Queue, delivery, properties, body."""

    def take(self, channel: Any, seconds: float) -> None:
        tags = [channel.basic_consume(queue, partial(self._arrived, queue)) for queue in _work_queues()]
        self._let_pass(seconds)
        for tag in tags:
            channel.basic_cancel(tag)

    def hold(self, seconds: float) -> None:
        self._let_pass(seconds)

    def _arrived(self, queue: str, _channel: Any, delivery: Any, properties: Any, body: bytes) -> None:
        self.held.append((queue, delivery, properties, body))

    def _let_pass(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.process_data_events(time_limit=left_s)

    def put_back(self, channel: Any, copies: Sequence[int]) -> None:
        """``copies`` of each, behind one another as ``held`` says; confirmed, and only then taken off its place."""
        publishing = self.connection.channel()
        publishing.confirm_delivery()
        for (queue, delivery, properties, body), times in zip(self.held, copies, strict=True):
            for _ in range(times):
                publishing.basic_publish("", queue, body, properties, mandatory=True)
            channel.basic_ack(delivery.delivery_tag)


@contextmanager
def _intercepting(arena: Arena) -> Iterator[tuple[Interception, Any]]:
    """Whatever is still held at the end goes back to where it was."""
    parameters = pika.URLParameters(arena.environment["AMQP_URI"])
    parameters.blocked_connection_timeout = _CONFIRM_WITHIN_S
    with closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=_TAKEN_AT_ONCE)
        yield Interception(connection=connection), channel


def _work_queues() -> list[str]:
    return [queue for queue, _ in load_choreography().work_queues()]


def shuffle_and_copy(arena: Arena) -> int:
    """Events of a few seconds in any order, some of them two or three times."""
    rounds, moved = (2 if arena.is_quick else 6), 0
    for _ in range(rounds):
        moved += _intercept(arena, taken_s=arena.chance.uniform(0.5, 3.0), held_s=0.0, most_copies=3)
    return moved


def deliver_late(arena: Arena) -> int:
    """Held until every deadline that waited for them has passed."""
    return _intercept(arena, taken_s=4.0, held_s=_LATE_S, most_copies=1)


def _intercept(arena: Arena, *, taken_s: float, held_s: float, most_copies: int) -> int:
    with _intercepting(arena) as (interception, channel):
        interception.take(channel, taken_s)
        interception.hold(held_s)
        arena.chance.shuffle(interception.held)
        copies = [arena.chance.randint(1, most_copies) for _ in interception.held]
        arena.say(f"{len(copies)} events, held {taken_s + held_s:.0f} s at most, {sum(copies)} put back in any order")
        interception.put_back(channel, copies)
    if not copies:
        raise DidNotHappen("no event came by")
    return sum(copies)


REPEATING: tuple[Fault, ...] = (
    Simple(name="events-again", summary="published events are published once more", do=publish_again),
    Simple(name="events-shuffled", summary="events in any order, some twice or three times", do=shuffle_and_copy),
    Simple(name="events-late", summary="events that come when their deadlines are over", do=deliver_late),
)
