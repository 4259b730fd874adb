"""One batch at a time, handed from the thread of an engine to the relay's, and given back when it is done.

Owns: the waiting of one thread for the other. Must not know: what is in a batch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """The relay has let go: the batch was not done, and must not be acknowledged."""


class Handoff(Generic[T]):
    """Whoever offers a batch waits until it is done, so no more than one is ever under way.

    Can be selected on (:meth:`fileno`): readable while there is a batch.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batch: Sequence[T] | None = None
        self._is_abandoned = False
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def offer(self, batch: Sequence[T]) -> None:
        """From the engine's thread. Returns when it is done; raises Abandoned when that will not be."""
        with self._changed:
            if self._is_abandoned:
                raise Abandoned
            self._batch = batch
            os.eventfd_write(self._signal, 1)
            self._changed.wait_for(lambda: self._batch is None or self._is_abandoned)
            if self._batch is not None:
                raise Abandoned

    def peek(self) -> Sequence[T] | None:
        """The batch that waits, if any. It stays until :meth:`done`."""
        with self._changed:
            return self._batch

    def done(self) -> None:
        with self._changed:
            if self._batch is not None and not self._is_abandoned:
                self._batch = None
                os.eventfd_read(self._signal)
                self._changed.notify_all()

    def abandon(self) -> None:
        """For good. Another engine gets another handoff."""
        with self._changed:
            if not self._is_abandoned:
                self._is_abandoned = True
                os.close(self._signal)
                self._changed.notify_all()

    def fileno(self) -> int:
        return self._signal
