"""Somebody who asks the gateway something all the time: is there an answer, and how long was there none?

Owns: a thread that asks a question which goes through an RPC call and changes nothing. Must not know: why answers fail.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from itertools import pairwise

from ops.people import client_of

_QUESTION = "/orders?limit=1"
_PAUSE_S = 0.1


class Asking:
    """Use as a context manager. Two ask at the same time: one may have to wait for a call that is lost."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._client = client_of(environment)
        self._answered_at: list[float] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, name="asking", daemon=True) for _ in range(2)]

    def __enter__(self) -> Asking:
        self._answered_at.append(time.monotonic())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def answers_since(self, moment_s: float) -> int:
        """By the monotonic clock."""
        return sum(at >= moment_s for at in self._answered_at)

    @property
    def longest_silence_s(self) -> float:
        moments = [*sorted(self._answered_at), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(moments))

    def _ask(self) -> None:
        while not self._ending.wait(_PAUSE_S):
            try:
                answer = self._client.send("GET", _QUESTION)
            except OSError:
                continue
            if answer.status == 200:
                self._answered_at.append(time.monotonic())
