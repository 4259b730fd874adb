"""Owns: how sagas look on a screen. Must not know: where they come from.

Ages and what is left of a deadline are counted by the order service's clock (``asOf``), not by this machine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.display import duration, plain

_LANES = {"order_service": "order", "inventory_service": "inventory", "payment_service": "payment"}
_COLOURS = {"CONFIRMED": "green", "FULFILLED": "green", "CANCELLED": "red"}
# What is there to be copied or compared is not broken: the narrow ones give way.
_WHOLE = ("order", "status", "since", "until", "flag", "event")
Saga = Mapping[str, Any]


def board(sagas: Sequence[Saga], as_of: str) -> Table:
    """One line each, in the order given."""
    table = _table("order", "status", "step", "waits for", "since", "until", "seller", "customer", "flag")
    for saga in sagas:
        table.add_row(
            saga["orderId"],
            _status(saga),
            plain(saga["step"]),
            plain(saga["waitsFor"]),
            f"{_since(saga, as_of)}",
            _until(saga["until"], as_of),
            plain(saga["sellerId"]),
            plain(saga["userId"]),
            f"[bold red]{plain(saga['flag'])}[/]" if saga["flag"] else "",
        )
    return table


def count(sagas: Sequence[Saga], has_more: bool) -> str:
    stuck = sum(saga["flag"] is not None for saga in sagas)
    more = "; there are more: --all, or --limit" if has_more else ""
    return f"{len(sagas)} sagas, {stuck} of them flagged{more}"


def whole(saga: Saga) -> Group:
    """Head, timeline, and what is still expected."""
    parts: list[RenderableType] = [_head(saga), Text(), _timeline(saga["timeline"])]
    if saga["expected"]:
        parts += [Text(), _expected(saga["expected"], saga["asOf"])]
    return Group(*parts)


def _head(saga: Saga) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts = {
        "order": saga["orderId"] + (" (archived)" if saga["isArchived"] else ""),
        "status": _status(saga),
        "step": f"{saga['step']}, it is {saga['waitsFor']}'s turn" if not saga["isWhole"] else "done",
        "since": f"{_since(saga, saga['asOf'])} ago",
        "until": f"{_until(saga['until'], saga['asOf'])}, then: {saga['atDeadline']}" if saga["until"] else "",
        "flag": f"[bold red]{plain(saga['flag'])}[/]" if saga["flag"] else "",
        "customer": plain(saga["userId"]),
        "seller": plain(saga["sellerId"]),
        "request": plain(saga["correlationId"]),
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    return table


def _timeline(steps: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("at", "after start", "after cause", "who", "event", "outcome", right=("after start", "after cause"))
    depths = _depths(steps)
    for step in steps:
        is_ignored = step["decision"] == "ignored"
        table.add_row(
            step["at"][11:23],
            _lasted(step["afterStartS"]),
            _lasted(step["afterCauseS"]),
            _LANES.get(step["source"], plain(step["source"])),
            f"{'  ' * depths[step['eventId']]}{plain(step['type'])}",
            f"[{'yellow' if is_ignored else 'dim'}]{plain(_outcome(step))}[/]",
        )
    return table


def _outcome(step: Mapping[str, Any]) -> str:
    word = {"emitted": "", "applied": "", "ignored": "ignored"}.get(step["decision"], step["decision"])
    return ": ".join(part for part in (word, step["note"]) if part)


def _depths(steps: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many causes stand above each: the timeline has causes before effects."""
    depths: dict[str, int] = {}
    for step in steps:
        cause = step["causationId"]
        depths[step["eventId"]] = depths[cause] + 1 if cause in depths else 0
    return depths


def _expected(steps: Sequence[Mapping[str, Any]], as_of: str) -> Table:
    table = _table("still expected", "from", "in answer to", "until")
    for step in steps:
        what = " or ".join(step["events"])
        table.add_row(
            what if step["isNext"] else f"[dim]then {what}[/]",
            plain(step["who"]),
            step["answersTo"] or "nothing: it is theirs to decide",
            _until(step["until"], as_of),
        )
    return table


def _status(saga: Saga) -> str:
    status = plain(saga["status"] + (f" ({saga['reason']})" if saga["reason"] else ""))
    colour = _COLOURS.get(saga["status"])
    return f"[{colour}]{status}[/]" if colour else status


def _since(saga: Saga, as_of: str) -> str:
    return duration(_seconds(saga["since"], as_of))


def _until(until: str | None, as_of: str) -> str:
    if until is None:
        return ""
    left = _seconds(as_of, until)
    return f"in {duration(left)}" if left >= 0 else f"[red]{duration(-left)} overdue[/]"


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _lasted(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else duration(seconds)


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=heading in _WHOLE)
    return table
