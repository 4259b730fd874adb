"""Small batches while there is little to do, large ones under load: when waiting for company pays.

Owns: the measure of how fast work arrives, and how long to wait before the next batch. Must not know: what is batched,
nor how to wait.

A batch costs much the same whether it holds one event or thirty: a transaction, an fsync, a round trip for each
statement. So where work comes often enough, it is gathered for a moment; where it does not, nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORTHWHILE = 2.0
BUSY_PER_S = 400.0
_WEIGHT = 0.5


class Pace:
    """``most_s``: the longest time from one batch to the next for the sake of company, where BUSY_PER_S or more arrive.

    Where fewer arrive the time is shorter in proportion, and none where it would not bring WORTHWHILE of them.
    """

    def __init__(self, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_s = most_s
        self._clock = clock
        self._took_at = clock()
        self._per_s = 0.0

    def pause_s(self) -> float:
        """How long to wait from now, before the next batch is taken; 0 when nothing would be gained."""
        gather_s = self._most_s * min(1.0, self._per_s / BUSY_PER_S)
        if self._per_s * gather_s < WORTHWHILE:
            return 0.0
        return max(0.0, self._took_at + gather_s - self._clock())

    def took(self, count: int) -> None:
        """A batch of ``count`` was taken just now."""
        now = self._clock()
        per_s = count / max(now - self._took_at, 0.001)
        self._per_s += _WEIGHT * (per_s - self._per_s)
        self._took_at = now
