"""Whose time is up: connections that all get the same time, in the order in which they began to wait.

Owns: deadlines. Must not know: what is waited for, or what happens at the end. For one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Patience(Generic[T]):
    """The same time for all: whoever came first is the first whose time is up, so nobody needs sorting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, waiting: T) -> bool:
        return waiting in self._until

    def __iter__(self) -> Iterator[T]:
        """From the oldest to the newest."""
        return iter(tuple(self._until))

    def add(self, waiting: T, now: float) -> None:
        self._until[waiting] = now + self._seconds

    def discard(self, waiting: T) -> None:
        self._until.pop(waiting, None)

    def oldest(self) -> T | None:
        return next(iter(self._until), None)

    def end_by(self, deadline: float) -> None:
        """Nobody waits longer than until then."""
        self._until = {waiting: min(until, deadline) for waiting, until in self._until.items()}

    def over(self, now: float) -> list[T]:
        """Those whose time is up; they stay until they are discarded."""
        found = []
        for waiting, until in self._until.items():
            if until > now:
                break
            found.append(waiting)
        return found
