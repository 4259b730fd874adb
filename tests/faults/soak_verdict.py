"""Flat or growing: the last quarter of a soak against its second quarter, by processes that have warmed up.

Owns: what counts as growth. Must not know: where the figures come from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AGE = "age_s"
"""The kind of figure that says how old a process is."""
GROWTH = 1.2
# By how much a figure may rise without meaning anything: what a process needs more at a busy moment.
SLACK: Mapping[str, float] = {
    "rss_mb": 15,
    "files": 30,
    "threads": 10,
    "connections": 20,
    "channels": 60,
    "queues": 8,
    "messages": 500,
    "sessions": 20,
    "dead_rows": 20_000,
    "bytes_per_row": 200,
}
"""Rows themselves are meant to grow, and are not here."""

Samples = Mapping[tuple[str, str], Sequence[tuple[float, float]]]
"""(of, kind) → (second since the beginning, value)."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    of: str
    kind: str
    earlier: float
    later: float

    @property
    def is_growing(self) -> bool:
        return self.later > self.earlier * GROWTH + SLACK[self.kind]


def trends(samples: Samples, took_s: float) -> list[Trend]:
    """Of everything that was seen in both quarters, by its median there."""
    found = []
    for (of, kind), points in sorted(samples.items()):
        earlier, later = _earlier_and_later(points, dict(samples.get((of, AGE), ())), took_s)
        if kind in SLACK and earlier and later:
            found.append(Trend(of=of, kind=kind, earlier=statistics.median(earlier), later=statistics.median(later)))
    return found


def _earlier_and_later(
    points: Sequence[tuple[float, float]], age_at: Mapping[float, float], took_s: float
) -> tuple[list[float], list[float]]:
    """The values of the second and the last quarter.

    The first quarter is left out because processes warm up. One that was killed and started anew warms up again: what
    it had until it was as old as that is left out too, and the second quarter is then the first half of what is left
    before the last one. A process that is killed too often to get as old is compared whatever its age.
    """
    warm = [(at_s, value) for at_s, value in points if age_at.get(at_s, at_s) >= took_s / 4]
    before = [value for at_s, value in warm if at_s < took_s * 3 / 4]
    later = [value for at_s, value in warm if at_s >= took_s * 3 / 4]
    if before and later:
        return before[: math.ceil(len(before) / 2)], later
    second = [value for at_s, value in points if took_s / 4 <= at_s < took_s / 2]
    return second, [value for at_s, value in points if at_s >= took_s * 3 / 4]
