"""Owns: the end of both demos: wait until nothing is open, check every invariant, show what came of it.
Must not know: what was played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from ops.display import plain
from ops.invariants import CHECKS, Books, open_work, violations
from ops.waiting import holds_within

_SETTLE_S = 60.0
_DELIVERY_S = 60.0


def prove(environment: Mapping[str, str], console: Console) -> list[str]:
    """Every broken invariant in words."""
    with Books(environment) as books:
        if not holds_within(lambda: open_work(books).is_done, timeout_s=_SETTLE_S):
            console.print(f"[red]still open after {_SETTLE_S:.0f} s: {open_work(books)}[/]")
        # What was published last may still be on its way to a consumer.
        holds_within(lambda: not violations(books), timeout_s=_DELIVERY_S)
        return violations(books)


def show_invariants(broken: Sequence[str], console: Console) -> None:
    for check in CHECKS:
        console.print(f"[green]✓[/] {check}" if not broken else f"· {check}")
    for violation in broken:
        console.print(f"[bold red]✗[/] {plain(violation)}")
