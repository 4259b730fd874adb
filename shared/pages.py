"""What comes with a request for a list: how many, from where, of which kind.

Owns: the checks, each refusal with the name of its field, and the cut of one page. Must not know: what is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from shared.errors import InvalidRequest

LARGEST_PAGE = 100
LONGEST_FILTER = 200
Rows: TypeAlias = Sequence[Mapping[str, Any]]


def check_limit(limit: Any) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(f"limit must be 1 to {LARGEST_PAGE}", {"errors": {"limit": ["out of range"]}})


def filter_text(name: str, value: Any) -> str | None:
    """A short text, or None where nothing is filtered."""
    if value is not None and not (isinstance(value, str) and 1 <= len(value) <= LONGEST_FILTER):
        raise InvalidRequest(f"{name} is not a short text", {"errors": {name: ["must be a short text"]}})
    return value


def filter_moment(name: str, value: Any) -> datetime | None:
    """A point in time, or None where nothing is filtered."""
    try:
        moment = None if value is None else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _not_a_time(name) from None
    if moment is not None and moment.tzinfo is None:
        raise _not_a_time(name)
    return moment


def one_of(name: str, value: Any, known: Sequence[str]) -> str | None:
    """``value``, one of ``known`` or None."""
    if value is not None and value not in known:
        raise InvalidRequest(f"no such {name}", {"errors": {name: [f"one of {', '.join(known)}"]}})
    return value if value is None else str(value)


def text_cursor(cursor: Any) -> str | None:
    if cursor is not None and not isinstance(cursor, str):
        raise _not_a_cursor()
    return cursor


def number_cursor(cursor: Any) -> int | None:
    if cursor is None:
        return None
    if not (isinstance(cursor, str) and cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise _not_a_cursor()
    return int(cursor)


def id_cursor(cursor: Any) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except (ValueError, AttributeError, TypeError):
        raise _not_a_cursor() from None


def cut(rows: Rows, limit: int, place: str) -> tuple[Rows, str | None]:
    """A page of ``rows``, which are one more than its limit where more follow, and the cursor of the next one."""
    page = rows[:limit]
    return page, str(page[-1][place]) if len(rows) > limit else None


def _not_a_time(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is not a time", {"errors": {name: ["must be an RFC 3339 time with its zone"]}})


def _not_a_cursor() -> InvalidRequest:
    return InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["not a cursor"]}})
