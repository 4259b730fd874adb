"""Looking again and again while faults happen, in a thread of its own.

Owns: the thread, and that a look which fails (the thing looked at is dead just now) is no end. Must not know: what is
looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Sampler:
    """Calls ``look`` every ``pause_s``. Errors of the kinds ``expected`` count as missed."""

    def __init__(self, look: Callable[[], None], *, pause_s: float, expected: tuple[type[Exception], ...]) -> None:
        self._look, self._pause_s, self._expected = look, pause_s, expected
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.taken = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._enough.wait(self._pause_s):
            with suppress(*self._expected):
                self._look()
                self.taken += 1
