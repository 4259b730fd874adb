"""Several logs read as one, newest first, page by page.

Owns: merging, and the cursor that says how far each log was read. Must not know: who keeps them, or how they are asked.

Each log has its own order, newest first, and is asked for what comes after an entry's id. The cursor holds one such
place for each: so no entry is left out or shown twice, however the clocks of those who write them differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.fields import is_uuid
from shared.errors import InvalidRequest

_BEGINNING, _END, _BETWEEN = "0", "-", "~"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """How far a log was read: everything up to the entry ``after`` (None: nothing yet); ``is_end``: all there is."""

    after: str | None = None
    is_end: bool = False


def read_cursor(cursor: str | None, logs: Sequence[str]) -> dict[str, Place]:
    """Raises InvalidRequest unless :func:`write_cursor` wrote it."""
    if cursor is None:
        return {log: Place() for log in logs}
    parts = cursor.split(_BETWEEN)
    if len(parts) != len(logs):
        raise _not_a_cursor()
    return {log: _read_place(part) for log, part in zip(logs, parts, strict=True)}


def write_cursor(places: Mapping[str, Place]) -> str | None:
    """None if every log is at its end."""
    if all(place.is_end for place in places.values()):
        return None
    return _BETWEEN.join(_END if place.is_end else place.after or _BEGINNING for place in places.values())


def merge(
    pages: Mapping[str, Mapping[str, Any]], places: Mapping[str, Place], limit: int
) -> tuple[list[dict[str, Any]], dict[str, Place]]:
    """The newest ``limit`` entries of all, each with the ``service`` it came from, and the places after them.

    ``pages`` holds, for each log that is not at its end, at least its next ``limit`` entries or all there are.
    """
    taken = dict.fromkeys(pages, 0)
    merged: list[dict[str, Any]] = []
    while len(merged) < limit:
        heads = {log: page["entries"][taken[log]] for log, page in pages.items() if taken[log] < len(page["entries"])}
        if not heads:
            break
        log = max(heads, key=lambda name: (heads[name]["at"], heads[name]["id"]))
        merged.append({"service": log, **heads[log]})
        taken[log] += 1
    after = {
        log: _place_after(pages[log], taken[log], place) if log in pages else place for log, place in places.items()
    }
    return merged, after


def _place_after(page: Mapping[str, Any], taken: int, before: Place) -> Place:
    entries = page["entries"]
    return Place(
        after=entries[taken - 1]["id"] if taken else before.after,
        is_end=taken == len(entries) and page["nextCursor"] is None,
    )


def _read_place(part: str) -> Place:
    if part == _BEGINNING:
        return Place()
    if part == _END:
        return Place(is_end=True)
    if not is_uuid(part):
        raise _not_a_cursor()
    return Place(after=part)


def _not_a_cursor() -> InvalidRequest:
    return InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["Not a cursor of this API."]}})
