"""Poison in the queues, and a broker on which somebody has deleted what we need.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ops.management import ManagementApi
from ops.stack import Stack
from shared.choreography import Event, dead_letter_queue, event_exchange, load_choreography, work_queue
from tests.harness.broker import Broker
from tests.harness.poison import BY_CODE, INVALID_PAYLOAD, UNKNOWN_VERSION, Message

from .fault import Arena, Fault, Simple
from .processes import names_of, wait_for

CHOREOGRAPHY = load_choreography()
CONSUMED = [event for event in CHOREOGRAPHY.events.values() if event.consumers]
# Its body says nothing of one event in particular.
FOR_ANY_EVENT: list[Message] = [
    message for code, messages in BY_CODE.items() if code != "invalid_payload" for message in messages.values()
]
FOR_ORDER_CREATED: list[Message] = [*FOR_ANY_EVENT, *INVALID_PAYLOAD.values()]


def poison(arena: Arena) -> int:
    """All of the corpus once to the busiest queue, then pieces of it to every queue, between good events."""
    rounds = [(message, "ORDER_CREATED") for message in FOR_ORDER_CREATED]
    for event in CONSUMED:
        count = 2 if arena.is_quick else 8
        rounds += [(message, event.type) for message in arena.chance.choices(FOR_ANY_EVENT, k=count)]
    arena.chance.shuffle(rounds)
    arena.say(f"{len(rounds)} poisonous messages")
    with closing(Broker(arena.environment["AMQP_URI"])) as broker:
        for message, event_type in rounds:
            publish_poison(arena, broker, message, event_type)
            time.sleep(0.02)
    return len(rounds)


def send_poison(arena: Arena, message: Message, event_type: str) -> None:
    with closing(Broker(arena.environment["AMQP_URI"])) as broker:
        publish_poison(arena, broker, message, event_type)


def publish_poison(arena: Arena, broker: Broker, message: Message, event_type: str) -> None:
    """To every consumer of the event; each must set it aside."""
    body, properties = message
    queues = [work_queue(consumer.service, event_type) for consumer in CHOREOGRAPHY.events[event_type].consumers]
    for queue in queues:
        arena.letters.allow(queue, body)
    broker.publish_event(event_type, body, **properties)
    for queue in queues:
        arena.letters.expect(queue, body)


@contextmanager
def healed_by_topology(stack: Stack) -> Iterator[None]:
    try:
        yield
    finally:
        stack.apply_topology()


def lose_binding(arena: Arena) -> int:
    """Events that go nowhere come back to the relay, which must say so, keep them, and send them again.

    Of an event with one consumer only: with two, the broker is content to reach the other one.
    """
    event = arena.chance.choice([event for event in CONSUMED if len(event.consumers) == 1 and _is_frequent(event)])
    queue = work_queue(event.consumers[0].service, event.type)
    exchange = event_exchange(event.publisher)
    refusals = _refusals_said(arena, event.publisher)
    arena.say(f"unbind {queue}")
    with healed_by_topology(arena.infrastructure), closing(Broker(arena.environment["AMQP_URI"])) as broker:
        broker.unbind(queue, exchange, event.type)
        wait_for(lambda: _refusals_said(arena, event.publisher) > refusals, "a relay says that its events are refused")
        time.sleep(2.0 if arena.is_quick else arena.chance.uniform(3.0, 10.0))
    return 1


def _is_frequent(event: Event) -> bool:
    return event.type in ("ORDER_CREATED", "INVENTORY_REJECTED")


def _refusals_said(arena: Arena, service: str) -> int:
    relay = f"{service.removesuffix('_service')}_relay"
    logs = [arena.stack.log(name) for name in names_of(arena, relay)]
    return sum(log.read_text(encoding="utf-8", errors="replace").count('"event": "events_refused"') for log in logs)


def lose_dead_letter_queue(arena: Arena) -> int:
    """Poison that has nowhere to go stays in its own queue; every three minutes the broker tries again."""
    event = arena.chance.choice(CONSUMED)
    queue = work_queue(event.consumers[0].service, event.type)
    message = UNKNOWN_VERSION["a newer version"]
    arena.say(f"delete {dead_letter_queue(queue)}, then send poison there")
    with healed_by_topology(arena.infrastructure), closing(Broker(arena.environment["AMQP_URI"])) as broker:
        _delete_queue(arena, dead_letter_queue(queue))
        for _ in range(count := 5):
            publish_poison(arena, broker, message, event.type)
        time.sleep(3.0)
    return 1 + count


def _delete_queue(arena: Arena, queue: str) -> None:
    """It is empty: what was in it was read when the fault before this one had settled."""
    ManagementApi(arena.environment["ADMIN_MANAGEMENT_URL"]).request("DELETE", f"/api/queues/%2F/{queue}?if-empty=true")


MESSAGES: tuple[Fault, ...] = (
    Simple(name="poison", summary="messages nobody can read, in every queue", do=poison),
    Simple(name="binding-lost", summary="a queue is unbound from its exchange", do=lose_binding),
    Simple(name="dead-letters-lost", summary="a dead-letter queue is deleted, then needed", do=lose_dead_letter_queue),
)
