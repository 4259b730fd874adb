"""Broker and database that die, stand still or have no room; customers that are gone.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import strokes
from .fault import Arena, ArenaKind, Fault, Simple


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """One stroke several times, with a little time in between: the second may hit what the first left unfinished."""

    name: str
    summary: str
    stroke: Callable[[Arena], None]
    times: int = 2
    arena: ArenaKind = ArenaKind.PLAIN

    def inject(self, arena: Arena) -> int:
        times = 1 if arena.is_quick else self.times
        for _ in range(times):
            self.stroke(arena)
            time.sleep(arena.chance.uniform(0.5, 3.0))
        return times


def freeze_broker(arena: Arena) -> int:
    strokes.freeze_broker(arena, 8.0 if arena.is_quick else 20.0)
    return 1


def _alarm(raise_alarm: Callable[[Arena, float], None], arena: Arena) -> int:
    raise_alarm(arena, 6.0 if arena.is_quick else arena.chance.uniform(10.0, 25.0))
    return 1


def lock_stock(arena: Arena) -> int:
    """Longer than a statement waits for a lock, so that batches fail, are split, and are tried again."""
    strokes.hold_stock(arena, 8.0 if arena.is_quick else arena.chance.uniform(8.0, 20.0))
    return 1


def rush(arena: Arena) -> int:
    """At the rate of either form, each replica alone then has orders for all the hot stock."""
    return strokes.rush_for_stock(arena, 15.0 if arena.is_quick else arena.chance.uniform(10.0, 15.0), 6)


def hang_up(arena: Arena) -> int:
    before = arena.load.ledger.answers["none"]
    strokes.hang_up(arena, 0.5, 5.0 if arena.is_quick else 15.0)
    return int(arena.load.ledger.answers["none"] - before)


SERVERS: tuple[Fault, ...] = (
    Repeated(name="broker-killed", summary="SIGKILL of RabbitMQ", stroke=strokes.kill_broker),
    Simple(name="broker-frozen", summary="RabbitMQ stands still for 20 s", do=freeze_broker),
    Simple(
        name="broker-memory-alarm", summary="RabbitMQ blocks all publishers", do=partial(_alarm, strokes.memory_alarm)
    ),
    Simple(name="broker-disk-alarm", summary="the same for want of disk", do=partial(_alarm, strokes.disk_alarm)),
    Repeated(name="database-crash", summary="PostgreSQL stops immediately, recovers", stroke=strokes.crash_database),
    Repeated(name="database-killed", summary="SIGKILL of PostgreSQL", stroke=strokes.kill_database),
    Simple(name="stock-locked", summary="an idle transaction holds the rows of the hot items", do=lock_stock),
    Simple(name="stock-rush", summary="both inventory replicas begin at once, each with orders for all stock", do=rush),
    Simple(name="clients-gone", summary="half of the customers hang up after POST, and repeat it", do=hang_up),
)
