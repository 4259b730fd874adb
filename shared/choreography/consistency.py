"""A contract that contradicts itself: what makes it one, each in words.

Owns: the rules. Must not know: how the contract is written down, or what is generated from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.choreography.model import Choreography, Command, Consumer, Event, Flow

_KINDS = ("forward", "failure", "compensation")
_ACTORS = ("customer", "seller", "operator", "provider", "clock")


def contradictions(choreography: Choreography) -> Iterator[str]:
    for event in choreography.events.values():
        yield from _of_event(choreography, event)
    for command in choreography.commands.values():
        yield from _of_command(choreography, command)
    for flow in choreography.flows:
        unknown = [e for e in flow.events if e not in choreography.events]
        yield from (f"flow {flow.name} names unknown {e}" for e in unknown)
        if not unknown:
            yield from _of_flow(choreography, flow)
    yield from _from_nowhere(choreography)
    yield from _of_board(choreography)


def _of_event(choreography: Choreography, event: Event) -> Iterator[str]:
    if event.publisher not in choreography.services:
        yield f"{event.type} is published by {event.publisher}, which is no service"
    if event.kind not in _KINDS:
        yield f"{event.type} is of kind {event.kind}, which is none of {', '.join(_KINDS)}"
    if not event.consumers and not event.unconsumed_because:
        yield f"{event.type} has no consumer and does not say why"
    for consumer in event.consumers:
        yield from _of_consumer(choreography, event, consumer)


def _of_consumer(choreography: Choreography, event: Event, consumer: Consumer) -> Iterator[str]:
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


def _of_command(choreography: Choreography, command: Command) -> Iterator[str]:
    yield from (f"{who} may not {command.name}: nobody knows them" for who in command.by if who not in _ACTORS)
    for event_type in command.leads_to:
        event = choreography.events.get(event_type)
        if event is None:
            yield f"the command {command.name} leads to unknown {event_type}"
        elif event.publisher != command.to:
            yield f"the command {command.name} goes to {command.to}, and {event_type} comes from {event.publisher}"


def _of_flow(choreography: Choreography, flow: Flow) -> Iterator[str]:
    for event_type, name in flow.commands.items():
        command = choreography.commands.get(name)
        if event_type not in flow.events:
            yield f"flow {flow.name} has a command for {event_type}, which is not in it"
        elif command is None or event_type not in command.leads_to:
            yield f"flow {flow.name}: {name} does not lead to {event_type}"
    for number, event_type in enumerate(flow.events):
        earlier = [choreography.events[e] for e in flow.events[:number]]
        answers = [a for e in earlier for consumer in e.consumers for a in consumer.answers]
        if event_type not in answers and event_type not in flow.commands:
            yield f"flow {flow.name}: nothing before {event_type} leads to it"
    if flow.fails_with is not None and flow.fails_with not in (*flow.events, *flow.commands.values()):
        yield f"flow {flow.name} fails with {flow.fails_with}, which is not in it"


def _from_nowhere(choreography: Choreography) -> Iterator[str]:
    """Only what a command leads to may be nobody's answer."""
    answers = {a for e in choreography.events.values() for consumer in e.consumers for a in consumer.answers}
    started = {event_type for command in choreography.commands.values() for event_type in command.leads_to}
    for event_type in choreography.events:
        if event_type not in answers | started:
            yield f"{event_type} is nobody's answer and nothing starts it"


def _of_board(choreography: Choreography) -> Iterator[str]:
    shown = Counter(event_type for events in choreography.board.values() for event_type in events)
    yield from (
        f"the board names unknown {event_type}" for event_type in shown if event_type not in choreography.events
    )
    for event_type in choreography.events:
        if shown[event_type] != 1:
            yield f"{event_type} is on the board {shown[event_type]} times, and should be once"
