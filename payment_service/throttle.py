"""How many attempts are carried to the provider at the same time: as many as it answers in time.

Owns: that number, and who waits. Must not know: attempts, what an answer means.

Found like the window of a TCP connection: doubled with each round of good answers after a fresh start, raised by one a
round after that, halved when answers come too late. With a fixed number, all that waited for a slow provider met it
together, timed out together, and met it again: it had plenty to do and nobody heard an answer (seen in the fault
campaign, for as long as orders went on coming in).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eventlet.event import Event

LEAST, FIRST, MOST = 4, 64, 256


class Throttle:
    """``place`` waits in turn. Not for several operating-system threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = float(FIRST)
        # Below it the limit doubles with each round.
        self._calm = float(MOST)
        self._lowered_at = float("-inf")
        self._taken = 0
        self._waiting: deque[Event] = deque()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Wait for one, and give it back at the end of the block."""
        self._take()
        try:
            yield Place(self, self._clock())
        finally:
            self._taken -= 1
            self._wake_up()

    def begin_anew(self) -> None:
        """The provider was away: what waited must not meet it all at once."""
        self._calm = max(self._calm / 2, LEAST) if self._limit > LEAST else self._calm
        self._limit = float(LEAST)
        self._lowered_at = self._clock()

    def _take(self) -> None:
        if self._taken >= self.limit or self._waiting:
            turn = Event()
            self._waiting.append(turn)
            try:
                turn.wait()
            except BaseException:
                # This thread was ended: its turn is somebody else's, whether it had come or not.
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._taken -= 1
                    self._wake_up()
                raise
        else:
            self._taken += 1

    def _wake_up(self) -> None:
        while self._waiting and self._taken < self.limit:
            # Taken for it here: until it runs, nobody else must.
            self._taken += 1
            self._waiting.popleft().send()

    def raise_limit(self) -> None:
        self._limit = min(self._limit + (1.0 if self._limit < self._calm else 1.0 / self._limit), float(MOST))

    def lower_limit(self, began: float) -> None:
        """Once for all that were under way: they say the same."""
        if began >= self._lowered_at:
            self._limit = max(self._limit / 2, float(LEAST))
            self._calm = self._limit
            self._lowered_at = self._clock()


class Place:
    """Tells its throttle how it went; who says nothing has learned nothing."""

    def __init__(self, throttle: Throttle, began: float) -> None:
        self._throttle = throttle
        self._began = began

    def answered(self) -> None:
        self._throttle.raise_limit()

    def answered_too_late(self) -> None:
        self._throttle.lower_limit(self._began)
