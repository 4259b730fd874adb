"""What the metrics say of chaos.

Owns: the two figures. Must not know: how a process offers them.
"""

from __future__ import annotations

from collections.abc import Set

from shared.metrics import counter, gauge

ACTIVE = gauge("ordersaga_chaos_active", "Chaos switches that this process has in hand", ("kind", "target"))
ACTS = counter("ordersaga_chaos_acts", "How often this process has made trouble on purpose", ("kind",))

Names = Set[tuple[str, str]]
"""Kind and target of switches."""


def show_active(before: Names, now: Names) -> None:
    """Of those that have ended nothing is said any more."""
    for kind, target in before - now:
        ACTIVE.remove(kind, target)
    for kind, target in now - before:
        ACTIVE.labels(kind, target).set(1)
