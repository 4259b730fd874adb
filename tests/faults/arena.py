"""The plain arena: a stack of its own, with replicas, whose deadlines are short enough to be raced.

Owns: how an arena begins and ends. Must not know: faults, load.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.people import NO_LIMITS
from ops.stack import Stack

from .fault import Arena, ArenaKind

ROOT = Path(__file__).parents[2]
REPLICAS = {
    "order_service": 2,
    "inventory_service": 2,
    "payment_service": 2,
    "order_relay": 2,
    "inventory_relay": 2,
    "payment_relay": 2,
}
# A charge begins only while PSP_LIMIT_S and five seconds are left of the reservation: so these lie close together.
PSP_LIMIT_S = 3
SHORTEST_TTL_S, LONGEST_TTL_S = 10, 20
SETTINGS = {
    "PSP_LIMIT_S": str(PSP_LIMIT_S),
    "PSP_CALL_TIMEOUT_S": "2",
    "PENDING_DEADLINE_S": "40",
    "RESERVED_GRACE_S": "10",
    "FINISH_DEADLINE_S": "60",
    **NO_LIMITS,
}
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What whoever opens an arena may choose. ``settings`` come on top of those of every arena."""

    chance: random.Random
    say: Say
    folder: Path = ROOT / ".stack-faults"
    settings: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=lambda: dict(REPLICAS))


Opener = Callable[[Wanted], AbstractContextManager[Arena]]


def arena_settings(wanted: Wanted) -> dict[str, str]:
    """The settings of services in any arena; how long stock is held is a matter of chance."""
    ttl_s = wanted.chance.randint(SHORTEST_TTL_S, LONGEST_TTL_S)
    wanted.say(f"stock is held for {ttl_s} s")
    return {**SETTINGS, "RESERVATION_TTL_S": str(ttl_s), "MANUAL_PAYMENT_TTL_S": str(ttl_s), **wanted.settings}


@contextmanager
def plain(wanted: Wanted) -> Iterator[Arena]:
    """A fresh stack. It goes down at the end, its data and logs stay: they may be evidence."""
    stack = Stack(wanted.folder, report=wanted.say)
    stack.down(delete_data=True)
    try:
        stack.up(settings=arena_settings(wanted), replicas=wanted.replicas)
        yield arena_of(stack, wanted)
    finally:
        stack.down()


def arena_of(stack: Stack, wanted: Wanted) -> Arena:
    return Arena(
        kind=ArenaKind.PLAIN,
        stack=stack,
        infrastructure=stack,
        environment={**stack.environment(), **stack.administrator()},
        chance=wanted.chance,
        say=wanted.say,
    )
