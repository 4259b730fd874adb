"""A change data engine in a thread of its own: started, watched, stopped, started again.

Owns: the engine's life, what of its news is for the relay. Must not know: the outbox, nor what the engine is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from shared.change_data import Change, Heartbeat
from shared.logs import get_logger
from shared.relaying.figures import FEED_FAILURES
from shared.relaying.handoff import Handoff

log = get_logger(__name__)

STOP_WITHIN_S = 10.0
# The first: a relay that dies keeps the slot until the server misses it.
START_AGAIN_AFTER_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_RECORDED = ("c", "r")

Handle = Callable[[Sequence[Change | Heartbeat]], None]


class Engine(Protocol):
    """What a feed needs of ChangeEngine."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


class ChangeFeed:
    """Runs an engine whenever it is asked to keep running, and waits a while after each that has failed."""

    def __init__(self, make_engine: Callable[[Handle], Engine], clock: Callable[[], float] = time.monotonic) -> None:
        self._make_engine = make_engine
        self._clock = clock
        self._life: _Life | None = None
        self._failures = 0
        self._start_at = clock()

    @property
    def handoff(self) -> Handoff[Change] | None:
        """Where changes come while it runs; None otherwise."""
        return self._life.handoff if self._life else None

    @property
    def is_streaming(self) -> bool:
        """It has told something since it was started: whatever is committed from now on, it will tell."""
        return self._life is not None and self._life.has_spoken

    def keep_running(self) -> None:
        """Start it if it does not run and is not to wait after a failure."""
        if self._life is not None and not self._life.is_running:
            self._failed(self._life.error)
        if self._life is None and self._clock() >= self._start_at:
            self._start()
        if self.is_streaming:
            self._failures = 0

    def _start(self) -> None:
        log.info("feed_starting")
        self._life = _Life(self._make_engine)

    def _failed(self, error: BaseException | None) -> None:
        self.stop()
        wait_s = START_AGAIN_AFTER_S[min(self._failures, len(START_AGAIN_AFTER_S) - 1)]
        self._failures += 1
        self._start_at = self._clock() + wait_s
        FEED_FAILURES.inc()
        said = "ended by itself" if error is None else f"{type(error).__name__}: {error}"[:500]
        log.error("feed_failed", error=said, again_after_s=wait_s)

    def stop(self) -> None:
        """What it had handed over and was not done is told again by the next one."""
        life, self._life = self._life, None
        if life is not None:
            life.end()


class _Life:
    """One engine from its start to its end."""

    def __init__(self, make_engine: Callable[[Handle], Engine]) -> None:
        self.handoff: Handoff[Change] = Handoff()
        self.has_spoken = False
        self.error: BaseException | None = None
        self._engine = make_engine(self._handle)
        # A daemon: should the engine hang, the process ends all the same.
        self._thread = threading.Thread(target=self._run, name="change feed", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._engine.run()
        except Exception as error:  # whatever it is, the outbox is polled meanwhile
            self.error = error

    def _handle(self, news: Sequence[Change | Heartbeat]) -> None:
        """Returns when all of it is published, and may be acknowledged."""
        self.has_spoken = True
        recorded = [one for one in news if isinstance(one, Change) and one.operation in _RECORDED]
        if recorded:
            self.handoff.offer(recorded)

    def end(self) -> None:
        self.handoff.abandon()
        self._engine.stop()
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            log.error("feed_hangs", after_s=STOP_WITHIN_S)
