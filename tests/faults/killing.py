"""Processes of ours that die, are ended, or stand still.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time

from ops.applications import GATEWAY, RELAYS, SERVICES

from .fault import Arena, Fault, Simple
from .processes import application_names, frozen, kill, names_of
from .strokes import freeze_some, kill_one


def kill_each_in_turn(arena: Arena) -> int:
    names = application_names(arena)
    for name in names:
        arena.say(f"kill -9 {name}")
        kill(arena.stack, name)
    return len(names)


def kill_at_random(arena: Arena) -> int:
    """Also while others are not back yet: the supervisor's pauses grow, the load goes on."""
    count = 5 if arena.is_quick else 12
    for _ in range(count):
        kill_one(arena)
        time.sleep(arena.chance.uniform(0.0, 2.0))
    return count


def rolling_restart(arena: Arena) -> int:
    """SIGTERM one replica after another, as a deployment does."""
    names = [*SERVICES, GATEWAY] if arena.is_quick else names_of(arena, *SERVICES, *RELAYS, GATEWAY)
    for name in names:
        arena.say(f"restart {name}")
        arena.stack.restart(name)
    return len(names)


def freeze_at_random(arena: Arena) -> int:
    count = 2 if arena.is_quick else 5
    for _ in range(count):
        freeze_some(arena, longest_s=6.0 if arena.is_quick else 15.0)
    return count


def freeze_relays(arena: Arena) -> int:
    """The active one and its standby: nobody publishes for one service after the other."""
    for relay in RELAYS:
        names = names_of(arena, relay)
        seconds = arena.chance.uniform(2.0, 10.0)
        arena.say(f"freeze {', '.join(names)} for {seconds:.1f} s")
        with frozen(arena.stack, names):
            time.sleep(seconds)
    return len(RELAYS)


def stutter(arena: Arena) -> int:
    """Short stops, so many that some come in the middle of a transaction, which then commits after later ones."""
    count = 40 if arena.is_quick else 120
    names = names_of(arena, *SERVICES)
    arena.say(f"{count} short stops of services")
    for _ in range(count):
        with frozen(arena.stack, [arena.chance.choice(names)]):
            time.sleep(arena.chance.uniform(0.1, 0.4))
    return count


KILLING: tuple[Fault, ...] = (
    Simple(name="kill-each", summary="SIGKILL each process of ours in turn", do=kill_each_in_turn),
    Simple(name="kill-random", summary="SIGKILL processes of ours at random", do=kill_at_random),
    Simple(name="rolling-restart", summary="SIGTERM one process after another", do=rolling_restart),
    Simple(name="freeze-random", summary="up to three processes of ours stand still, 2-15 s", do=freeze_at_random),
    Simple(name="freeze-relays", summary="both relays of each service stand still, 2-10 s", do=freeze_relays),
    Simple(name="stutter", summary="services stand still for moments, again and again", do=stutter),
)
