"""The order of a timeline: causes before effects. Pure, like domain.py.

Owns: sorting events that come from several clocks. Must not know: anything outside the standard library.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An event of an order's timeline, as far as its place in it goes."""

    event_id: UUID
    causation_id: UUID | None
    occurred_at: datetime


def causal_order(steps: Iterable[Step]) -> list[UUID]:
    """Event ids, causes before effects, otherwise by time: no clock can reverse cause and effect.

    A step whose cause is not among ``steps`` stands by its time alone: the gap is for the reader to see.
    """
    by_id = {step.event_id: step for step in steps}
    effects: dict[UUID, list[Step]] = {}
    ready: list[tuple[datetime, UUID]] = []
    for step in by_id.values():
        if step.causation_id in by_id and step.causation_id != step.event_id:
            effects.setdefault(step.causation_id, []).append(step)
        else:
            heapq.heappush(ready, (step.occurred_at, step.event_id))
    ordered: list[UUID] = []
    while ready:
        _, event_id = heapq.heappop(ready)
        ordered.append(event_id)
        for effect in effects.pop(event_id, []):
            heapq.heappush(ready, (effect.occurred_at, effect.event_id))
    # Only a forged circle of causes is left over.
    return ordered + [step.event_id for left in effects.values() for step in left]
