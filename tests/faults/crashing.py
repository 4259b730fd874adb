"""Processes that die at a step named in the code; and the arena whose processes take such orders.

Owns: which steps a fault is made of. Must not know: what happens at them, load, invariants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby

from tests.harness.poison import UNKNOWN_VERSION

from .arena import Wanted, plain
from .crash_points import CrashOrders, in_the_code
from .fault import Arena, ArenaKind, Fault, Simple
from .messages import send_poison
from .processes import application_names, pid_of, wait_for

ORDERS = "crash-points"
# Small: some steps are rare, and a stack that has just lost a process is slow.
_PASSES = (1, 1, 2, 3, 5, 8)
_DEAD_WITHIN_S = 45.0
_NEEDS_POISON = "settlement.published"


@contextmanager
def crashing(wanted: Wanted) -> Iterator[Arena]:
    """As the plain arena, its processes started so that they take orders."""
    settings = {**wanted.settings, **CrashOrders(folder=wanted.folder.resolve() / ORDERS).settings()}
    with plain(replace(wanted, settings=settings)) as arena:
        yield replace(arena, kind=ArenaKind.CRASHING)


@dataclass(frozen=True, kw_only=True)
class Crashes:
    """A process dies at each of these steps, one step after another."""

    name: str
    labels: Sequence[str]
    arena: ArenaKind = ArenaKind.CRASHING

    @property
    def summary(self) -> str:
        return f"death at {', '.join(label.partition('.')[2].replace('_', ' ') for label in self.labels)}"

    def inject(self, arena: Arena) -> int:
        for label in self.labels:
            _die_at(arena, label)
        _wait_for_everybody(arena)
        return len(self.labels)


def die_anywhere(arena: Arena) -> int:
    """Several orders at once, at steps that have nothing to do with each other."""
    labels = [label for label, _ in in_the_code() if label != _NEEDS_POISON]
    count = 4 if arena.is_quick else 12
    rounds = [arena.chance.sample(labels, 2) for _ in range(count // 2)]
    for pair in rounds:
        for label in pair:
            _order(arena, label)
        for label in pair:
            _see_death(arena, label)
    _wait_for_everybody(arena)
    return count


def _die_at(arena: Arena, label: str) -> None:
    _order(arena, label)
    if label == _NEEDS_POISON:
        send_poison(arena, UNKNOWN_VERSION["a newer version"], "ORDER_CREATED")
    _see_death(arena, label)


def _order(arena: Arena, label: str) -> None:
    passes = 1 if label == _NEEDS_POISON else arena.chance.choice(_PASSES)
    _orders(arena).give(label, passes)


def _see_death(arena: Arena, label: str) -> None:
    """A step that nobody comes by would prove nothing."""
    orders = _orders(arena)
    try:
        wait_for(lambda: orders.death(label) is not None, f"a process dies at {label}", timeout_s=_DEAD_WITHIN_S)
    finally:
        orders.take_back(label)
    death = orders.death(label)
    assert death is not None
    arena.say(f"{death.process} died at {label}, at its pass {death.passes}")


def _orders(arena: Arena) -> CrashOrders:
    return CrashOrders(folder=arena.stack.folder / ORDERS)


def _wait_for_everybody(arena: Arena) -> None:
    names = application_names(arena)
    wait_for(lambda: all(pid_of(arena.stack, name) for name in names), "all processes run again")


def _by_part() -> Iterator[Fault]:
    """A fault for each part of the code that has crash points: relay, consumer, charger."""
    labels = sorted(label for label, _ in in_the_code())
    for part, group in groupby(labels, key=lambda label: label.partition(".")[0]):
        yield Crashes(name=f"crash-{part}", labels=tuple(group))


CRASHING: tuple[Fault, ...] = (
    *_by_part(),
    Simple(
        name="crash-anywhere", summary="death at any step, two at a time", do=die_anywhere, arena=ArenaKind.CRASHING
    ),
)
