"""Everything at once, at random.

Owns: the mixture. Must not know: load, invariants.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pika.exceptions import AMQPError

from ops.errors import StackError

from . import strokes
from .fault import Arena, ArenaKind, Fault
from .messages import FOR_ANY_EVENT, send_poison
from .processes import DidNotHappen
from .provider import EVERYTHING

Stroke = Callable[[Arena], None]


def _some_poison(arena: Arena) -> None:
    send_poison(arena, arena.chance.choice(FOR_ANY_EVENT), "ORDER_CREATED")


# One thread strikes our own processes, the other what they stand on: so that each finds the other's damage.
OURS: tuple[Stroke, ...] = (
    strokes.kill_one,
    strokes.kill_one,
    lambda arena: strokes.freeze_some(arena, longest_s=8.0),
    lambda arena: strokes.trouble_provider(arena, arena.chance.uniform(2.0, 8.0), **EVERYTHING),
    lambda arena: strokes.hang_up(arena, 0.3, arena.chance.uniform(1.0, 4.0)),
)
THEIRS: tuple[Stroke, ...] = (
    strokes.kill_broker,
    lambda arena: strokes.freeze_broker(arena, arena.chance.uniform(2.0, 12.0)),
    lambda arena: strokes.memory_alarm(arena, arena.chance.uniform(2.0, 8.0)),
    strokes.crash_database,
    lambda arena: strokes.hold_stock(arena, arena.chance.uniform(3.0, 9.0)),
    _some_poison,
)


@dataclass(kw_only=True)
class _Fury:
    """One thread of it."""

    arena: Arena
    strokes: Sequence[Stroke]
    until_s: float
    count: int = 0
    errors: list[Exception] = field(default_factory=list)

    def run(self) -> None:
        while time.monotonic() < self.until_s and not self.errors:
            self._strike()
            time.sleep(self.arena.chance.uniform(0.0, 3.0))

    def _strike(self) -> None:
        try:
            self.arena.chance.choice(self.strokes)(self.arena)
            self.count += 1
        except (StackError, AMQPError) as error:
            # The other thread has just killed what this one needs: the provider's process, a process to be killed.
            self.arena.say(f"missed: {error}")
        except Exception as error:
            self.errors.append(error)


@dataclass(frozen=True, kw_only=True)
class Storm:
    name: str = "storm"
    summary: str = "everything at random, two at a time"
    arena: ArenaKind = ArenaKind.PLAIN
    seconds: float = 50.0

    def inject(self, arena: Arena) -> int:
        until_s = time.monotonic() + (20.0 if arena.is_quick else self.seconds)
        furies = [_Fury(arena=self._own(arena), strokes=kind, until_s=until_s) for kind in (OURS, THEIRS)]
        threads = [threading.Thread(target=fury.run) for fury in furies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        strokes.wait_for_database(arena)
        if errors := [error for fury in furies for error in fury.errors]:
            raise DidNotHappen(f"a stroke failed: {errors[0]}") from errors[0]
        return sum(fury.count for fury in furies)

    def _own(self, arena: Arena) -> Arena:
        """Its own chance, so that the other thread's pace does not change what this one does."""
        return replace(arena, chance=random.Random(arena.chance.random()))  # noqa: S311 - nothing secret


STORM: tuple[Fault, ...] = (Storm(),)
