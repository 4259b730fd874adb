"""How many duplicates the consumers absorbed, by the broker's own counting.

Owns: what the broker counts, added up over its restarts. Must not know: events.

A queue's `ack` counts deliveries that its consumer took off it; the inbox counts events that were applied. What is
acknowledged beyond that was a duplicate that the inbox dropped (delivered again, published again by a relay that died
before it had marked it, or said once more at half of a deadline), or was moved to a retry or dead-letter queue. The
broker tells its figures every five seconds and forgets them when it dies, so the sum is a lower bound. No hot path pays
for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.errors import StackError
from ops.management import ManagementApi

from .sampling import Sampler

PAUSE_S = 2.0
KINDS = ("ack", "redeliver")


class Growing:
    """Counters that begin at zero again now and then."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self._sums: dict[tuple[str, str], int] = {}

    def see(self, name: str, kind: str, value: int) -> None:
        key = (name, kind)
        last = self._last.get(key, 0)
        self._sums[key] = self._sums.get(key, 0) + (value - last if value >= last else value)
        self._last[key] = value

    def of(self, kind: str) -> dict[str, int]:
        return {name: count for (name, of_kind), count in self._sums.items() if of_kind == kind}


class Deliveries:
    """``sampler`` runs meanwhile; ``look`` may be called as well."""

    def __init__(self, environment: Mapping[str, str], queues: Iterable[str]) -> None:
        self._api = ManagementApi(environment["ADMIN_MANAGEMENT_URL"])
        self._queues = frozenset(queues)
        self._counted = Growing()
        self.sampler = Sampler(self.look, pause_s=PAUSE_S, expected=(StackError,))

    def look(self) -> None:
        figures: list[dict[str, Any]] = self._api.request("GET", "/api/queues/%2F?columns=name,message_stats")
        for queue in figures:
            if queue["name"] in self._queues:
                for kind in KINDS:
                    self._counted.see(queue["name"], kind, int(queue.get("message_stats", {}).get(kind, 0)))

    def acknowledged(self) -> dict[str, int]:
        """Queue → deliveries taken off it so far."""
        return self._counted.of("ack")

    def redelivered(self) -> int:
        return sum(self._counted.of("redeliver").values())
