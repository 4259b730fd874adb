"""Ids are in the order of time: a period of time is a range of ids, give or take a clock.

Owns: the bounds of such a range. Must not know: whose ids they are.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

LARGEST_CLOCK_ERROR_MS = 24 * 3_600_000
_LARGEST_MOMENT = 2**48 - 1  # of an id, in ms


def first_id(moment: datetime) -> UUID:
    """No id made at ``moment`` or later is less, even where its maker's clock is slow."""
    return UUID(int=_milliseconds(moment, -LARGEST_CLOCK_ERROR_MS) << 80)


def last_id(moment: datetime) -> UUID:
    """No id made at ``moment`` or before is greater, even where its maker's clock is fast."""
    return UUID(int=(_milliseconds(moment, LARGEST_CLOCK_ERROR_MS) + 1 << 80) - 1)


def _milliseconds(moment: datetime, further: int) -> int:
    return min(max(int(moment.timestamp() * 1000) + further, 0), _LARGEST_MOMENT)
