"""Where rate limits count: in this process, in bounded memory.

Owns: how many are remembered, and for how long. Must not know: what is counted.

The store that comes with the library remembers every name until it expires, and looks through all of them up to a
hundred times a second. Whoever logs in chooses names: with many of them they would take both memory and time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from limits.storage import Storage

MOST_KEYS = 20_000


class BoundedCounters(Storage):
    """Counters that end; where there are too many, the one that was not used for the longest time goes first."""

    STORAGE_SCHEME = None

    def __init__(
        self,
        *,
        most_keys: int = MOST_KEYS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._most_keys, self._clock = most_keys, clock
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = self._clock()
        with self._lock:
            count, ends_at = self._counters.get(key, (0, 0.0))
            if ends_at <= now:
                count, ends_at = 0, now + expiry
            self._counters[key] = (count + amount, ends_at)
            self._counters.move_to_end(key)
            if len(self._counters) > self._most_keys:
                self._counters.popitem(last=False)
        return count + amount

    def get(self, key: str) -> int:
        count, ends_at = self._counters.get(key, (0, 0.0))
        return count if ends_at > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        return self._counters.get(key, (0, self._clock()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            count = len(self._counters)
            self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        with self._lock:
            self._counters.pop(key, None)
