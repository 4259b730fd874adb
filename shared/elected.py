"""A loop that is at work in one process, with any number standing by; it survives what it needs going away.

Owns: going round: elected or not, work, after a failure step down and back off; the beat that probes look at.
Must not know: how one is elected, what the work is.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from prometheus_client import Gauge

from shared.database import CONNECT_ARGS

ASK_EVERY_S = 1.0
BACKOFF_S = (0.2, 0.5, 1, 2, 5)
# Of a session that holds an election. One that is frozen would keep it, while a standby could work; longer than a
# relay waits for a window's confirms and for one connection attempt.
IDLE_SESSION_TIMEOUT_MS = 90_000
ELECTED_CONNECT_ARGS = {
    **CONNECT_ARGS,
    "options": f"{CONNECT_ARGS['options']} -c idle_session_timeout={IDLE_SESSION_TIMEOUT_MS}",
}


class ElectedLoop(ABC):
    """Runs until :meth:`stop`. ``survives``: errors after which it steps down, waits, and asks to be elected again."""

    survives: tuple[type[Exception], ...] = ()

    def __init__(self, active: Gauge) -> None:
        self._active = active
        self._stopping = False
        self._is_active = False
        self._beat_at = time.monotonic()

    def stop(self) -> None:
        """Finish what is in hand and return from :meth:`run`. Safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._go_round()
                failures = 0
            except self.survives as error:
                self._say_interrupted(error)
                self._end_turn()
                self._sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
        self._end_turn()

    @property
    def silent_s(self) -> float:
        """How long ago it last went round."""
        return time.monotonic() - self._beat_at

    @abstractmethod
    def _is_elected(self) -> bool:
        """Connects if need be. False: another one is."""

    @abstractmethod
    def _work(self) -> None:
        """Until ``_stopping``; beats each time round."""

    @abstractmethod
    def _step_down(self) -> None:
        """Let go of everything that election or work holds; nothing may be held."""

    @abstractmethod
    def _say_interrupted(self, error: Exception) -> None: ...

    def _go_round(self) -> None:
        self._beat()
        if not self._is_elected():
            self._sleep(ASK_EVERY_S)
            return
        self._now_active(True)
        self._work()

    def _end_turn(self) -> None:
        self._now_active(False)
        self._step_down()

    def _now_active(self, is_active: bool) -> None:
        self._is_active = is_active
        self._active.set(is_active)

    def _beat(self) -> None:
        self._beat_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            self._beat()
            time.sleep(0.05)
