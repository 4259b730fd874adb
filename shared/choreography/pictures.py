"""The contract as Mermaid pictures: the event storming board, what undoes each failure, a sequence for each flow.

Owns: what each picture shows, and its Mermaid text. Must not know: how it is drawn, or on which page it is.

The board is chapters of small trees instead of one graph: a command or another event's policy leads to an event, the
event has a policy at each consumer, and the policy answers with events that have a tree of their own.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from shared.choreography.model import FAILURE, Choreography, Command, Consumer, Event, Flow

BOARD, UNDOING, FLOW = "board", "undoing", "flow"
_WIDTH = 34
_CLOCK = "clock"
_SHORT = {"order_service": "Order", "inventory_service": "Inventory", "payment_service": "Payment"}
# The colours of the notes on a board of paper; a page may have others for the same classes.
_CLASSES = (
    "classDef command fill:#a9d3f5,stroke:#2b6ca3,color:#10202e",
    "classDef forward fill:#f9c784,stroke:#b8741a,color:#2b1a05",
    "classDef failure fill:#f4a3a3,stroke:#a32b2b,color:#2e0b0b",
    "classDef compensation fill:#f7e48b,stroke:#96801a,color:#2b2505",
    "classDef policy fill:#d9c2ee,stroke:#6d3fa0,color:#1f1030",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """``name`` is that of its file, ``words`` is for whoever does not see it."""

    name: str
    title: str
    section: str
    source: str
    words: str

    @property
    def digest(self) -> str:
        """Of what it is drawn from: a drawing with another one is out of date."""
        return sha256(self.source.encode()).hexdigest()


def pictures(choreography: Choreography) -> list[Picture]:
    """In the order in which they are shown."""
    return [*_chapters(choreography), *_undoings(choreography), *(_flow(choreography, f) for f in choreography.flows)]


def failures(choreography: Choreography) -> dict[str, list[Flow]]:
    """Event or command → the flows that fail with it; none for a failure that nothing undoes by itself."""
    found: dict[str, list[Flow]] = {}
    for flow in choreography.flows:
        if flow.fails_with is not None:
            found.setdefault(flow.fails_with, []).append(flow)
    return {**found, **{e.type: [] for e in choreography.events.values() if e.kind == FAILURE and e.type not in found}}


def _chapters(choreography: Choreography) -> Iterator[Picture]:
    for chapter, event_types in choreography.board.items():
        chart = _Chart("LR")
        for event_type in event_types:
            _tree(choreography, chart, choreography.events[event_type])
        words = f"Commands, events and policies of the chapter {chapter.lower()}: {', '.join(event_types)}"
        yield Picture(name=_slug(BOARD, chapter), title=chapter, section=BOARD, source=chart.text(), words=words)


def _tree(choreography: Choreography, chart: _Chart, event: Event) -> None:
    node = chart.event(event, alone=True)
    for command in choreography.commands.values():
        if event.type in command.leads_to:
            chart.join(chart.command(command), node)
    for consumer in event.consumers:
        policy = chart.policy(event, consumer)
        chart.join(node, policy)
        for answer in consumer.answers:
            chart.join(policy, chart.event(choreography.events[answer], alone=False))


def _undoings(choreography: Choreography) -> Iterator[Picture]:
    for failure, flows in failures(choreography).items():
        undone = list(dict.fromkeys(event for flow in flows for event in flow.compensations))
        chart = _Chart("TB")
        if failure in choreography.commands:
            command = chart.command(choreography.commands[failure])
            chart.join(command, chart.event(choreography.events[undone[0]], alone=True))
            order = undone
        else:
            order = [failure, *undone]
        _chain(choreography, chart, order)
        words = f"After {failure}: {', '.join(undone) or 'nothing by itself'}, and who does what on each"
        yield Picture(name=_slug(UNDOING, failure), title=failure, section=UNDOING, source=chart.text(), words=words)


def _chain(choreography: Choreography, chart: _Chart, order: Sequence[str]) -> None:
    """Each event with its policies, which lead to those that come after it: what would lead back changes nothing."""
    for number, event_type in enumerate(order):
        event = choreography.events[event_type]
        node = chart.event(event, alone=True)
        for consumer in event.consumers:
            policy = chart.policy(event, consumer)
            chart.join(node, policy)
            for answer in consumer.answers:
                if answer in order[number + 1 :]:
                    chart.join(policy, chart.event(choreography.events[answer], alone=True))


class _Chart:
    """A flowchart. An event that is ``alone`` is one note; else each mention has its own.

    ``direction``: LR, to the right, for what is shallow; TB, downwards, for long chains.
    """

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._nodes: dict[str, str] = {}
        self._edges: list[str] = []
        self._mentions = 0

    def command(self, command: Command) -> str:
        node = _slug("c", command.name).replace("-", "_")
        self._nodes[node] = f'("{_wrapped(command.name)}<br/>by {", ".join(command.by)}"):::command'
        return node

    def event(self, event: Event, *, alone: bool) -> str:
        node = event.type
        if not alone:
            self._mentions += 1
            node = f"{event.type}_{self._mentions}"
        self._nodes[node] = f'["{event.type}"]:::{event.kind}'
        return node

    def policy(self, event: Event, consumer: Consumer) -> str:
        node = f"p_{event.type}_{consumer.service}"
        self._nodes[node] = f'["{consumer.service}<br/>{_wrapped(consumer.does)}"]:::policy'
        return node

    def join(self, start: str, end: str) -> None:
        self._edges.append(f"{start} --> {end}")

    def text(self) -> str:
        nodes = [f"{node}{shape}" for node, shape in self._nodes.items()]
        return "\n    ".join([f"flowchart {self._direction}", *nodes, *dict.fromkeys(self._edges), *_CLASSES]) + "\n"


def _flow(choreography: Choreography, flow: Flow) -> Picture:
    lines = ["sequenceDiagram", *_participants(choreography, flow)]
    undoing = set(flow.compensations)
    is_open = False
    for event_type in flow.events:
        if event_type in undoing and not is_open:
            lines.append("rect rgb(250, 240, 190)")
            is_open = True
        lines += _steps(choreography, flow, event_type, is_undoing=event_type in undoing)
    lines += ["end"] * is_open
    lines.append(f"Note over {next(iter(choreography.services))}: ends {flow.ends}")
    said = f"{', '.join(flow.events)}; ends {flow.ends}"
    return Picture(
        name=_slug(FLOW, flow.name), title=flow.name, section=FLOW, source="\n    ".join(lines) + "\n", words=said
    )


def _participants(choreography: Choreography, flow: Flow) -> Iterator[str]:
    for command in _commands(choreography, flow):
        kind = "participant" if command.by == (_CLOCK,) else "actor"
        yield f"{kind} {_actor(command)} as {', '.join(command.by).capitalize()}"
    for service in choreography.services:
        yield f"participant {service} as {_SHORT.get(service, service)}"


def _commands(choreography: Choreography, flow: Flow) -> list[Command]:
    """One for each actor."""
    named = [choreography.commands[name] for name in flow.commands.values()]
    return list({_actor(command): command for command in named}.values())


def _actor(command: Command) -> str:
    return "_or_".join(command.by)


def _steps(choreography: Choreography, flow: Flow, event_type: str, *, is_undoing: bool) -> Iterator[str]:
    """Solid: forward. A cross: failure. Dashed: compensation."""
    if event_type in flow.commands:
        command = choreography.commands[flow.commands[event_type]]
        yield f"{_actor(command)}->>{command.to}: {command.name}"
    event = choreography.events[event_type]
    arrow = "-->>" if is_undoing else "-x" if event.kind == FAILURE else "->>"
    hearers = [consumer.service for consumer in event.consumers] or [event.publisher]
    yield from (f"{event.publisher}{arrow}{hearer}: {event.type}" for hearer in hearers)


def _wrapped(text: str) -> str:
    return "<br/>".join(textwrap.wrap(text, _WIDTH))


def _slug(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
