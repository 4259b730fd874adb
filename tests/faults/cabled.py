"""Cables that are pulled out: packets between our processes and broker or databases are lost.

Owns: that arena and these faults. Must not know: how a network is made, load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ops.folder import StackFolder

from .arena import Wanted
from .fault import Arena, ArenaKind, Fault
from .netns import FarEnd, Network
from .proxied import LINKS, behind_links


@contextmanager
def cabled(wanted: Wanted) -> Iterator[Arena]:
    """As with proxies, but each of them is found at the far end of a cable of its own."""
    identity = StackFolder(root=wanted.folder.resolve()).identity
    with Network(identity, list(LINKS)) as network:
        listen = {name: end.listen for name, end in network.ends.items()}
        with behind_links(wanted, listen) as arena:
            yield replace(arena, kind=ArenaKind.CABLED, network=network)


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """One cable after another, then all of them."""

    name: str
    summary: str
    is_silent: bool
    longest_s: float = 12.0
    arena: ArenaKind = ArenaKind.CABLED

    def inject(self, arena: Arena) -> int:
        ends = list(arena.network.ends.values())
        arena.chance.shuffle(ends)
        for end in ends[:2] if arena.is_quick else ends:
            self._pull(arena, [end], arena.chance.uniform(2.0, self.longest_s))
        self._pull(arena, ends, self.longest_s)
        return len(ends) + 1

    def _pull(self, arena: Arena, ends: list[FarEnd], seconds: float) -> None:
        arena.say(f"{self.name}, {seconds:.1f} s: {', '.join(end.name for end in ends)}")
        with ExitStack() as pulled:
            for end in ends:
                pulled.enter_context(end.pulled_silently() if self.is_silent else end.pulled_visibly())
            time.sleep(seconds)


CABLED: tuple[Fault, ...] = (
    Pulled(name="partition-silent", summary="packets are lost, nobody is told", is_silent=True),
    Pulled(name="partition-visible", summary="no way there, and the kernel says so", is_silent=False),
)
