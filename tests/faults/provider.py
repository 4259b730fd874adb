"""Bad days of the payment provider.

Owns: these faults. Must not know: load, invariants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .fault import Arena, ArenaKind, Fault
from .strokes import trouble_provider

SLOW = {"latency_ms": 1500.0}
SLOWER_THAN_ALLOWED = {"latency_ms": 4000.0}
FAILING = {"failure_rate": 0.5}
ANSWERS_LOST = {"lost_answer_rate": 0.5}
TELLS_LATE_AND_TWICE = {"webhook_delay_ms": 2800.0, "webhook_copies": 3.0, "webhook_shuffle": 1.0}
EVERYTHING = {"latency_ms": 700.0, "failure_rate": 0.3, "lost_answer_rate": 0.3, **TELLS_LATE_AND_TWICE}


@dataclass(frozen=True, kw_only=True)
class BadDay:
    name: str
    summary: str
    behaviour: Mapping[str, float]
    arena: ArenaKind = ArenaKind.PLAIN

    def inject(self, arena: Arena) -> int:
        trouble_provider(arena, 6.0 if arena.is_quick else arena.chance.uniform(12.0, 25.0), **self.behaviour)
        return 1


PROVIDER: tuple[Fault, ...] = (
    BadDay(name="provider-slow", summary="each call takes 1.5 s", behaviour=SLOW),
    BadDay(name="provider-silent", summary="each call takes longer than we wait", behaviour=SLOWER_THAN_ALLOWED),
    BadDay(name="provider-failing", summary="half of the calls fail before anything is done", behaviour=FAILING),
    BadDay(name="provider-answers-lost", summary="half of the calls are done, not answered", behaviour=ANSWERS_LOST),
    BadDay(
        name="provider-webhooks", summary="webhooks late, three times, out of order", behaviour=TELLS_LATE_AND_TWICE
    ),
    BadDay(name="provider-bad-day", summary="all of that at once", behaviour=EVERYTHING),
)
