"""The contract as values: services, events, consumers, queue names.

Owns: parsing choreography.yml. Must not know: RabbitMQ's file formats (definitions.py), Markdown (events_page.py), or
which contracts contradict themselves (consistency.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.choreography.consistency import contradictions

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "rabbitmq" / "choreography.yml"
RPC_EXCHANGE = "nameko-rpc"
FORWARD, FAILURE, COMPENSATION = "forward", "failure", "compensation"


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
    kind: str = FORWARD


@dataclass(frozen=True, kw_only=True)
class Command:
    """What somebody asks of a service, or the clock or the provider tells it, and the events that may come of it."""

    name: str
    by: tuple[str, ...]
    to: str
    leads_to: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """``commands``: event → what led to it. ``fails_with``: the event or command from which on all is compensation."""

    name: str
    events: tuple[str, ...]
    ends: str
    commands: Mapping[str, str]
    fails_with: str | None = None

    @property
    def compensations(self) -> tuple[str, ...]:
        """The events that undo: those after a failure, or from a command on that ends an order."""
        if self.fails_with is None:
            return ()
        if self.fails_with in self.events:
            return self.events[self.events.index(self.fails_with) + 1 :]
        first = next(number for number, e in enumerate(self.events) if self.commands.get(e) == self.fails_with)
        return self.events[first:]


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
    commands: Mapping[str, Command]
    events: Mapping[str, Event]
    board: Mapping[str, tuple[str, ...]]
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
        commands={name: _command(name, body) for name, body in raw["commands"].items()},
        events={name: _event(name, body) for name, body in raw["events"].items()},
        board={chapter: tuple(events) for chapter, events in raw["board"].items()},
        flows=tuple(Flow(**{**body, "events": tuple(body["events"])}) for body in raw["flows"]),
        deadlines=tuple(Deadline(status=status, **body) for status, body in raw["deadlines"].items()),
        retry_delays_s=tuple(raw["retry"]["delays_s"]),
        delivery_limit=raw["queues"]["delivery_limit"],
        max_length=raw["queues"]["max_length"],
    )
    problems = list(contradictions(choreography))
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
        kind=body.get("kind", FORWARD),
    )


def _command(name: str, body: Mapping[str, Any]) -> Command:
    return Command(name=name, by=tuple(body["by"]), to=body["to"], leads_to=tuple(body["leads_to"]))
