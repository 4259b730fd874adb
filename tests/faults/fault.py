"""What a fault is, and what it may touch.

Owns: the seam between the campaign and the single faults. Must not know: any fault, load, invariants.

A module of faults defines classes that fit `Fault` and names their instances in a tuple; catalogue.py puts the tuples
together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from ops.stack import Stack

from .letters import ExpectedLetters


class ArenaKind(Enum):
    """What a fault needs to stand around it; faults of one kind share a stack, one after another."""

    PLAIN = "plain"
    """Broker, databases and two of each service, on one machine."""
    PROXIED = "proxied"
    """The same; what goes to broker and databases passes through proxies of ours."""
    CLUSTER = "cluster"
    """Three broker nodes."""
    CLOCKED = "clocked"
    """Services and database have a clock that can be set."""
    CRASHING = "crashing"
    """The crash points named in the code are armed."""
    CABLED = "cabled"
    """The same; what goes to broker and databases passes through a network whose cables can be pulled."""
    SMALL_DISK = "small disk"
    """The database lies on a disk that can be filled."""


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Where faults happen, load included.

    ``stack`` runs the applications, ``infrastructure`` broker and databases (the same one, mostly). ``environment``
    leads to broker, databases and gateway directly, past all proxies: for looking, and for the load. ``chance`` is the
    only source of randomness; ``say`` tells whoever watches, a line each. ``letters``: whoever sends poison says so
    there. ``load``: the customers, see load.py. ``is_quick``: a slice for CI, so fewer strokes and shorter ones.
    """

    kind: ArenaKind
    stack: Stack
    infrastructure: Stack
    environment: Mapping[str, str]
    chance: random.Random
    say: Callable[[str], None]
    letters: ExpectedLetters = field(default_factory=ExpectedLetters)
    load: Any = None
    is_quick: bool = False
    proxies: Any = None
    cluster: Any = None
    clocks: Any = None
    network: Any = None


class Fault(Protocol):
    """One way in which the world breaks. ``name`` is for --only: short words with hyphens."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def arena(self) -> ArenaKind: ...

    def inject(self, arena: Arena) -> int:
        """Do the damage while the load runs and heal it, also when something fails; how many single faults it was.

        Blocks for about a minute at most. What cannot be done here (no right to mount, a program is missing) raises
        NotPossibleHere, which is shown and counts as neither good nor bad.
        """


@dataclass(frozen=True, kw_only=True)
class Simple:
    """A fault that is one function."""

    name: str
    summary: str
    do: Callable[[Arena], int]
    arena: ArenaKind = ArenaKind.PLAIN

    def inject(self, arena: Arena) -> int:
        return self.do(arena)


class NotPossibleHere(Exception):
    """This machine does not allow the fault; the message says what is missing."""
