"""Small batches while there is little to do, large ones under load: when waiting for company pays.

Owns: the measure of how fast work arrives, and how long to wait before the next batch. Must not know: what is batched,
nor how to wait.

A batch costs much the same whether it holds one event or thirty: a transaction, an fsync, a round trip for each
statement. So where work comes often enough, it is gathered for a moment; where it does not, nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORTHWHILE = 5.0
_WEIGHT = 0.5


class Pace:
    """``gather_s``: the shortest time from one batch to the next, kept only while at least WORTHWHILE arrive in it."""

    def __init__(self, gather_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gather_s = gather_s
        self._clock = clock
        self._took_at = clock()
        self._per_s = 0.0

    def pause_s(self) -> float:
        """How long to wait from now, before the next batch is taken; 0 when nothing would be gained."""
        if self._per_s * self._gather_s < WORTHWHILE:
            return 0.0
        return max(0.0, self._took_at + self._gather_s - self._clock())

    def took(self, count: int) -> None:
        """A batch of ``count`` was taken just now."""
        now = self._clock()
        per_s = count / max(now - self._took_at, 0.001)
        self._per_s += _WEIGHT * (per_s - self._per_s)
        self._took_at = now
