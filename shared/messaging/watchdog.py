"""Ends a process whose message loop hangs, so that the supervisor can start a fresh one.

A frozen broker or a black-holing link blocks sends for ever, heartbeats or not, and a hung process would hold its
unacknowledged events for ever. Lives in a real operating-system thread: a blocked eventlet hub cannot watch itself.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from eventlet import patcher

_threading: Any = patcher.original("threading")
_time: Any = patcher.original("time")

EXIT_HUNG = 70


class Watchdog:
    """Exits the process with EXIT_HUNG when :meth:`beat` was not called for ``limit_s`` seconds."""

    def __init__(self, limit_s: float = 45) -> None:
        self._limit_s = limit_s
        self._last_beat = _time.monotonic()
        self._running = False

    def beat(self) -> None:
        self._last_beat = _time.monotonic()

    @property
    def silent_s(self) -> float:
        return float(_time.monotonic() - self._last_beat)

    def start(self) -> None:
        self._running = True
        self.beat()
        _threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._running = False

    def _watch(self) -> None:
        while self._running:
            _time.sleep(1)
            silent_s = self.silent_s
            if self._running and silent_s > self._limit_s:
                # No logger here: its locks may be held by the hung thread.
                sys.stderr.write(f'{{"event": "message_loop_hung", "silent_s": {silent_s:.0f}}}\n')
                sys.stderr.flush()
                os._exit(EXIT_HUNG)
