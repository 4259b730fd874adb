"""Flat or growing: the last quarter of a soak against its second quarter.

Owns: what counts as growth. Must not know: where the figures come from.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    second_quarter: float
    last_quarter: float

    @property
    def is_growing(self) -> bool:
        return self.last_quarter > self.second_quarter * GROWTH + SLACK[self.kind]


def trends(samples: Samples, took_s: float) -> list[Trend]:
    """Of everything that was seen in both quarters, by its median there."""
    found = []
    for (of, kind), points in sorted(samples.items()):
        second = [value for at_s, value in points if took_s / 4 <= at_s < took_s / 2]
        last = [value for at_s, value in points if at_s >= took_s * 3 / 4]
        if kind in SLACK and second and last:
            found.append(
                Trend(of=of, kind=kind, second_quarter=statistics.median(second), last_quarter=statistics.median(last))
            )
    return found
