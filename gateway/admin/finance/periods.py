"""Which days are meant, where nobody says it, and which are no period.

Owns: the default, the longest period. Must not know: what is asked of those days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from shared.errors import Unprocessable

USUAL_DAYS = 30
LONGEST_DAYS = 366


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """Days of UTC, both included."""

    first: date
    last: date

    @property
    def begins_at(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def ends_at(self) -> datetime:
        return datetime.combine(self.last, time(), UTC) + timedelta(days=1)


def period_of(query: Mapping[str, Any], today: date) -> Period:
    """``query``: "from" and "to" as days, if they are there. Raises Unprocessable."""
    last = date.fromisoformat(query["to"]) if "to" in query else None
    first = date.fromisoformat(query["from"]) if "from" in query else None
    if last is None:
        last = today if first is None or first <= today else first
    if first is None:
        first = last - timedelta(days=min(USUAL_DAYS - 1, (last - date.min).days))
    if not 0 <= (last - first).days < LONGEST_DAYS or last == date.max:
        raise Unprocessable(f"`from` must not be after `to`, nor {LONGEST_DAYS} days or more before it")
    return Period(first=first, last=last)
