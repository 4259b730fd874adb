"""The contract as values: services, events, consumers, queue names.

Owns: parsing choreography.yml and refusing one that contradicts itself.
Must not know: RabbitMQ's file formats (definitions.py) or Markdown (events_page.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "rabbitmq" / "choreography.yml"
RPC_EXCHANGE = "nameko-rpc"


class ContractBroken(Exception):
    """choreography.yml contradicts itself, the code, or a file generated from it."""


def event_exchange(service: str) -> str:
    """Nameko's own convention, so that ``n.dispatch_event`` in ``nameko shell`` reaches the same queues."""
    return f"{service}.events"


def work_queue(consumer: str, event_type: str) -> str:
    return f"{consumer}.{event_type}"


def dead_letter_queue(queue: str) -> str:
    return f"{queue}.dead"


def retry_exchange(service: str, delay_s: int) -> str:
    """Name of the fanout exchange, and of the queue behind it, where failed events of a service wait."""
    return f"{service}.retry.{delay_s}s"


def rpc_queue(service: str) -> str:
    return f"rpc-{service}"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """What one service does on one event, and the events it may answer with."""

    service: str
    does: str
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event type: its publisher, its meaning, its consumers."""

    type: str
    publisher: str
    meaning: str
    consumers: tuple[Consumer, ...]
    unconsumed_because: str | None = None


@dataclass(frozen=True, kw_only=True)
class Flow:
    name: str
    events: tuple[str, ...]
    ends: str


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """How long an order may stay in a status, and what happens then."""

    status: str
    setting: str
    default_s: int
    then: str
    why: str
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Choreography:
    """The whole contract. Everything here was checked by :func:`load_choreography`."""

    services: Mapping[str, str]
    events: Mapping[str, Event]
    flows: tuple[Flow, ...]
    deadlines: tuple[Deadline, ...]
    retry_delays_s: tuple[int, ...]
    delivery_limit: int
    max_length: int

    def published_by(self, service: str) -> list[Event]:
        return [event for event in self.events.values() if event.publisher == service]

    def consumed_by(self, service: str) -> list[Event]:
        return [e for e in self.events.values() if any(c.service == service for c in e.consumers)]

    def work_queues(self) -> Iterator[tuple[str, Event]]:
        """Every (queue name, event), one queue per consumer and event."""
        for event in self.events.values():
            for consumer in event.consumers:
                yield work_queue(consumer.service, event.type), event


def load_choreography(file: Path = DEFAULT_FILE) -> Choreography:
    """The contract in ``file``. Raises ContractBroken naming every contradiction found."""
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    choreography = Choreography(
        services={name: body["owns"] for name, body in raw["services"].items()},
        events={name: _event(name, body) for name, body in raw["events"].items()},
        flows=tuple(Flow(name=f["name"], events=tuple(f["events"]), ends=f["ends"]) for f in raw["flows"]),
        deadlines=tuple(Deadline(status=status, **body) for status, body in raw["deadlines"].items()),
        retry_delays_s=tuple(raw["retry"]["delays_s"]),
        delivery_limit=raw["queues"]["delivery_limit"],
        max_length=raw["queues"]["max_length"],
    )
    problems = list(_contradictions(choreography))
    if problems:
        raise ContractBroken("choreography.yml: " + "; ".join(problems))
    return choreography


def _event(name: str, body: Mapping[str, Any]) -> Event:
    consumers = tuple(
        Consumer(service=service, does=c["does"], answers=tuple(c["answers"]))
        for service, c in body["consumers"].items()
    )
    return Event(
        type=name,
        publisher=body["publisher"],
        meaning=body["meaning"],
        consumers=consumers,
        unconsumed_because=body.get("unconsumed_because"),
    )


def _contradictions(choreography: Choreography) -> Iterator[str]:
    for event in choreography.events.values():
        if event.publisher not in choreography.services:
            yield f"{event.type} is published by {event.publisher}, which is no service"
        if not event.consumers and not event.unconsumed_because:
            yield f"{event.type} has no consumer and does not say why"
        for consumer in event.consumers:
            yield from _consumer_contradictions(choreography, event, consumer)
    for flow in choreography.flows:
        yield from (f"flow {flow.name} names unknown {e}" for e in flow.events if e not in choreography.events)
    yield from _not_in_any_flow_or_answer(choreography)


def _consumer_contradictions(choreography: Choreography, event: Event, consumer: Consumer) -> Iterator[str]:
    if consumer.service not in choreography.services:
        yield f"{event.type} is consumed by {consumer.service}, which is no service"
    if consumer.service == event.publisher:
        yield f"{event.type} is consumed by its own publisher"
    for answer in consumer.answers:
        answered = choreography.events.get(answer)
        if answered is None:
            yield f"{consumer.service} answers {event.type} with unknown {answer}"
        elif answered.publisher != consumer.service:
            yield f"{consumer.service} answers {event.type} with {answer}, which {answered.publisher} publishes"


def _not_in_any_flow_or_answer(choreography: Choreography) -> Iterator[str]:
    """Only events that start something (commands from outside) may come from nowhere."""
    started_outside = {
        "ORDER_CREATED",
        "ORDER_APPROVED",
        "ORDER_FULFILLED",
        "ORDER_RETURNED",
        "INVENTORY_ADJUSTED",
        "PRODUCT_UPDATED",
    }
    answers: Sequence[str] = [a for e in choreography.events.values() for c in e.consumers for a in c.answers]
    for event_type in choreography.events:
        if event_type not in answers and event_type not in started_outside:
            yield f"{event_type} is nobody's answer and nothing starts it"
