"""The chaos switches that one process has in hand.

Owns: forgetting each at its end, and all when nobody can be asked any more. Must not know: where they are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from shared.chaos import figures
from shared.chaos.switches import Switch
from shared.event_schema import moment_text

READ_EVERY_S = 1.0
FORGET_AFTER_S = 30.0
"""So long after the last reading all are forgotten: nobody could switch them off."""


class ChaosMemory:
    """``is_on`` is all that costs anything while no switch is on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: tuple[tuple[float, Switch], ...] = ()
        self._read_at = clock()
        self._shown: frozenset[tuple[str, str]] = frozenset()
        self.is_on = False

    def learn(self, switches: Iterable[Switch]) -> None:
        """What was just read: these and no others."""
        self._read_at = self._clock()
        self._ends = tuple((self._read_at + switch.remaining_s, switch) for switch in switches)
        self._settle()

    def tick(self) -> None:
        """Let go of what has ended; called about once a second, and also when reading failed."""
        if self._clock() - self._read_at > FORGET_AFTER_S:
            self._ends = ()
        self._settle()

    def amounts(self, *targets: str) -> dict[str, float]:
        """Kind → amount, of what is on for any of ``targets``; the larger one where there are two."""
        found: dict[str, float] = {}
        for switch in self.switches():
            if switch.target in targets:
                found[switch.kind] = max(switch.amount, found.get(switch.kind, 0.0))
        return found

    def switches(self) -> list[Switch]:
        now = self._clock()
        return [switch for ends_at, switch in self._ends if ends_at > now]

    def marks(self) -> list[dict[str, Any]]:
        """For health: kind, target and end of each; JSON-ready."""
        return [{"kind": s.kind, "target": s.target, "until": moment_text(s.until)} for s in self.switches()]

    def _settle(self) -> None:
        now = self._clock()
        self._ends = tuple((ends_at, switch) for ends_at, switch in self._ends if ends_at > now)
        self.is_on = bool(self._ends)
        before, self._shown = self._shown, frozenset((switch.kind, switch.target) for _, switch in self._ends)
        figures.show_active(before, self._shown)
