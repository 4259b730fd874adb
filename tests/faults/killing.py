"""Processes of ours that die, of themselves or because they are asked to.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time

from ops.applications import RELAYS, SERVICES

from .fault import Arena, Fault, Simple
from .processes import application_names, kill, names_of


def kill_each_in_turn(arena: Arena) -> int:
    names = application_names(arena)
    for name in names:
        arena.say(f"kill -9 {name}")
        kill(arena.stack, name)
    return len(names)


def kill_at_random(arena: Arena) -> int:
    """Also while others are not back yet: the supervisor's pauses grow, the load goes on."""
    names = application_names(arena)
    for _ in range(count := 12):
        name = arena.chance.choice(names)
        arena.say(f"kill -9 {name}")
        kill(arena.stack, name)
        time.sleep(arena.chance.uniform(0.0, 2.0))
    return count


def rolling_restart(arena: Arena) -> int:
    """SIGTERM one replica after another, as a deployment does."""
    names = names_of(arena, *SERVICES, *RELAYS, "gateway")
    for name in names:
        arena.say(f"restart {name}")
        arena.stack.restart(name)
    return len(names)


KILLING: tuple[Fault, ...] = (
    Simple(name="kill-each", summary="SIGKILL each process of ours in turn", do=kill_each_in_turn),
    Simple(name="kill-random", summary="SIGKILL processes of ours at random", do=kill_at_random),
    Simple(name="rolling-restart", summary="SIGTERM one process after another", do=rolling_restart),
)
