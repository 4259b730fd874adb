"""Ids that are the same in every run of a schedule.

Owns: what takes uuid7's place. Must not know: who asks for ids.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch
from uuid import UUID

from shared import envelope

from .clock import Clock


class Ids:
    """Time-ordered by the virtual clock and random within a millisecond, as ids of several processes are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made = 0
        self.chance = random.Random(0)  # noqa: S311

    def new(self) -> UUID:
        self._made += 1
        milliseconds = int(self._clock.now.timestamp() * 1000)
        high, low = self.chance.getrandbits(12), self.chance.getrandbits(30)
        value = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << 32 | self._made
        return UUID(int=value)


@contextmanager
def ids_from(ids: Ids) -> Iterator[None]:
    """While the block runs, new_id() of all services asks ``ids``."""
    with patch.object(envelope, "uuid7", ids.new):
        yield


class Names:
    """Short names for ids, in the order they are first spoken of: a trace for people."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def give(self, kind: str, id_: object) -> str:
        key = str(id_)
        if key not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[key] = f"{kind}{self._counts[kind]}"
        return self._names[key]

    def known(self, text: str) -> str:
        """``text`` with every id that has a name replaced by it."""
        for id_, name in self._names.items():
            text = text.replace(id_, name)
        return text
