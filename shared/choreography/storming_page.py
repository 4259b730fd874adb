"""docs/event_storming.md: the board, what undoes each failure, and a sequence diagram for each flow.

Owns: the page's Markdown. Must not know: how a picture is made (pictures.py), or what is not in choreography.yml.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.choreography.model import Choreography
from shared.choreography.pictures import BOARD, FLOW, UNDOING, Picture, failures, pictures

_HEADER = """# Event storming

Generated from rabbitmq/choreography.yml by `make contract`. Do not edit: `make check` compares.

A **command** (blue) is what a person asks, the clock brings about or the payment provider tells. It leads to **events**
(orange; red where something failed, yellow where something is undone). On each event each consumer has a **policy**
(lilac): what it does, and with which events it may answer. The gateway shows the same pictures at `/docs/events/board`.
"""


def storming_page(choreography: Choreography) -> str:
    """The whole page, ending in a newline."""
    drawn = pictures(choreography)
    sections = [
        _HEADER,
        "## Commands\n\n" + "\n".join(_commands(choreography)),
        "## The board\n\n" + _shown(drawn, BOARD),
        "## What undoes what\n\n" + "\n".join(_undoings(choreography)) + "\n\n" + _shown(drawn, UNDOING),
        "## The flows\n\nA cross is a failure; what is dashed, on yellow, undoes.\n\n" + _shown(drawn, FLOW),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _commands(choreography: Choreography) -> Iterator[str]:
    yield "| command | by | to | leads to |"
    yield "|---|---|---|---|"
    for command in choreography.commands.values():
        yield f"| {command.name} | {', '.join(command.by)} | {command.to} | {', '.join(command.leads_to)} |"


def _undoings(choreography: Choreography) -> Iterator[str]:
    yield "| what fails | in the flows | is undone by | who does what |"
    yield "|---|---|---|---|"
    for failure, flows in failures(choreography).items():
        events = list(dict.fromkeys(event for flow in flows for event in flow.compensations))
        names = ", ".join(flow.name for flow in flows) or "none of them"
        done = [f"{event}: {said}" for event in events or [failure] for said in _done(choreography, event)]
        yield f"| {failure} | {names} | {', '.join(events) or 'nothing by itself'} | {'<br/>'.join(done)} |"


def _done(choreography: Choreography, event_type: str) -> Iterator[str]:
    for consumer in choreography.events[event_type].consumers:
        yield f"{consumer.service} {consumer.does}"


def _shown(drawn: list[Picture], section: str) -> str:
    return "\n\n".join(
        f"### {picture.title}\n\n```mermaid\n{picture.source}```" for picture in drawn if picture.section == section
    )
