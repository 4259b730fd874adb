"""Owns: `ordersaga logs --order`: one order through all processes, on a screen or as JSON, and what comes next.

Must not know: how lines are picked (order_story.py).
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console

from ops.display import plain
from ops.errors import StackError
from ops.following import Tail
from ops.operator_client import operator_client
from ops.order_story import Line, Subject, story, story_in, subject
from ops.stack import Stack

_PAUSE_S = 0.3
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
Show = Callable[[Line], None]


def show_order(
    stack: Stack, order_id: str, logs: Mapping[str, Path], *, source: IO[bytes] | None, following: bool, as_json: bool
) -> None:
    """Until interrupted, if ``following``. Raises StackError if no log says anything of the order."""
    about, why_not = _subject(stack, order_id)
    if why_not:
        click.echo(f"by its id only, not by those of requests: {why_not}", err=True)
    tails = {name: Tail(path) for name, path in logs.items()} if following else {}
    lines = story_in(about, source) if source is not None else story(about, logs)
    if not lines and not following:
        raise StackError(f"no log says anything of {order_id}", hint="older lines may have been rotated away")
    show = _as_json if as_json else _on_screen()
    for line in lines:
        show(line)
    if following:
        # What was written between opening the tails and reading the logs is in both.
        _follow(about, tails, {json.dumps(line.as_dict()) for line in lines}, show)


def _subject(stack: Stack, order_id: str) -> tuple[Subject, str]:
    try:
        client = operator_client(stack)
    except StackError as error:
        return Subject(order_id=order_id), error.message
    return subject(order_id, client)


def _follow(about: Subject, tails: Mapping[str, Tail], shown: set[str], show: Show) -> None:
    while True:
        added = [
            line
            for name, tail in tails.items()
            for text in tail.new_lines()
            if (line := about.told_by(text.encode(), name)) and json.dumps(line.as_dict()) not in shown
        ]
        for line in sorted(added, key=lambda line: line.at):
            show(line)
        time.sleep(_PAUSE_S)


def _as_json(line: Line) -> None:
    click.echo(json.dumps(line.as_dict()))


def _on_screen() -> Show:
    screen = Console(highlight=False, soft_wrap=True)

    def show(line: Line) -> None:
        colour = _COLOURS.get(line.level, "default")
        fields = "  ".join(f"{name}={_short(value)}" for name, value in line.fields.items())
        at = line.at.strftime("%H:%M:%S.%f")[:-3]
        screen.print(f"[dim]{at}[/]  {line.process:<18} [bold {colour}]{line.event:<20}[/] {plain(fields)}")

    return show


def _short(value: Any) -> str:
    """A traceback is for `ordersaga logs`, or --json."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.strip().splitlines()[-1][:200] if text.strip() else ""
