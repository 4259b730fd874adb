"""The tests' only loop that waits. Every wait has a deadline and says what it waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Far longer than anything takes by itself: the machine may do a lot besides.
DEADLINE_S = 90.0
PAUSE_S = 0.03


def wait_until(condition: Callable[[], T | None], what: str, *, timeout_s: float = DEADLINE_S) -> T:
    """The first true value of ``condition``; AssertionError with the last false one at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what} (last: {value!r})"
        time.sleep(PAUSE_S)
