"""An hour of half load with faults at random moments: does anything grow that should not?

Owns: the course of a soak, its samples on disk. Must not know: figures, single faults.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ops.errors import StackError

from .campaign import Plan, chance_of, opened
from .catalogue import FAULTS
from .fault import Arena, ArenaKind, Fault, NotPossibleHere
from .processes import DidNotHappen
from .sampling import Sampler
from .soak_samples import sample
from .soak_verdict import Trend, trends
from .trial import HOT_UNITS, Stage

# Every three minutes the broker looks after dead letters without a queue: in a soak that would only be waiting.
_LEFT_OUT = {"dead-letters-lost"}
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 60.0


@dataclass(kw_only=True)
class Soaked:
    """``orders`` accepted, ``injected`` single faults, what grew or not, and every broken promise."""

    orders: int = 0
    injected: int = 0
    trends: Sequence[Trend] = ()
    complaints: list[str] = field(default_factory=list)
    samples: Path = Path()

    @property
    def is_good(self) -> bool:
        return not self.complaints and not any(trend.is_growing for trend in self.trends)


class Log:
    """The samples, in memory and in a CSV file that is complete at any moment."""

    def __init__(self, path: Path, arena: Arena) -> None:
        self.path, self._arena = path, arena
        self.samples: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self._started = time.monotonic()
        self._write([("second", "of", "kind", "value")])

    def look(self) -> None:
        at_s = time.monotonic() - self._started
        figures = sample(self._arena)
        for figure in figures:
            self.samples.setdefault((figure.of, figure.kind), []).append((at_s, figure.value))
        self._write([(f"{at_s:.0f}", f.of, f.kind, f"{f.value:.2f}") for f in figures])

    def _write(self, rows: Sequence[tuple[str, ...]]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def run(plan: Plan, *, minutes: float, every_s: float) -> Soaked:
    """``every_s``: how often is looked."""
    soaked = Soaked()
    with opened(plan, ArenaKind.PLAIN) as stage:
        soaked.samples = stage.arena.stack.folder / "soak.csv"
        log = Log(soaked.samples, stage.arena)
        since = stage.database_now()
        with Sampler(log.look, pause_s=every_s, expected=(OSError,)):
            _strike(plan, stage, soaked, until_s=time.monotonic() + minutes * 60)
        settled = stage.settling.settle(since)
        soaked.complaints += [*settled.complaints, *stage.stocktaker.complaints]
        soaked.orders = len(stage.load.ledger.accepted)
        soaked.trends = trends(log.samples, minutes * 60)
    return soaked


def _strike(plan: Plan, stage: Stage, soaked: Soaked, *, until_s: float) -> None:
    chance = chance_of(plan, "soak")
    faults = [fault for fault in FAULTS if fault.arena is ArenaKind.PLAIN and fault.name not in _LEFT_OUT]
    never = threading.Event()
    while (left_s := until_s - time.monotonic()) > 0:
        never.wait(min(left_s, chance.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S)))
        if until_s - time.monotonic() > _LONGEST_PAUSE_S:
            stage.goods.renew_hot(chance, HOT_UNITS)
            soaked.injected += _inject(replace(stage.arena, chance=chance), chance.choice(faults), soaked)


def _inject(arena: Arena, fault: Fault, soaked: Soaked) -> int:
    arena.say(f"{fault.name}: {fault.summary}")
    with suppress(NotPossibleHere):
        try:
            return fault.inject(arena)
        except (DidNotHappen, StackError) as error:
            soaked.complaints.append(f"{fault.name} itself: {type(error).__name__}: {error}")
    return 0
