"""What is shown of a campaign, and what is said to scripts.

Owns: words, colours, tables. Must not know: how trials are made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .campaign import Verdict
from .fault import Fault
from .seeding import Found, SeededError
from .soak import Soaked
from .trial import Outcome

# A log file has no width; the tables need some.
console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)


def say(line: str) -> None:
    console.print(f"[dim]· {escape(line)}[/]")


def listing(faults: Sequence[Fault], errors: Sequence[SeededError]) -> Table:
    table = Table("name", "what happens", "arena")
    for fault in faults:
        table.add_row(fault.name, fault.summary, fault.arena.value)
    for error in errors:
        table.add_row(error.name, f"seeded error, shown by {error.fault}", "")
    return table


def show_outcome(outcome: Outcome) -> None:
    if outcome.impossible:
        console.print(f"[yellow]?[/] {outcome.fault}: not possible here: {escape(outcome.impossible)}")
        return
    mark = "[green]✓[/]" if outcome.is_good else "[bold red]✗[/]"
    console.print(f"{mark} {outcome.fault}: {outcome.orders} orders, {outcome.injected} faults, {outcome.took_s:.0f} s")
    for complaint in outcome.complaints:
        console.print(f"  [red]{escape(complaint)}[/]")


def show_found(found: Found) -> None:
    words = "seen" if found.is_found else "[bold red]not seen[/]"
    mark = "[green]✓[/]" if found.is_found else "[bold red]✗[/]"
    console.print(f"{mark} seeded error {found.error.name} with {found.error.fault}: {words}")
    for complaint in (found.shown or found.outcome.complaints)[:3]:
        console.print(f"  [dim]{escape(complaint)}[/]")


def conclude(verdict: Verdict, found: Sequence[Found], seed: int, took_s: float) -> None:
    if verdict.outcomes:
        console.print(_summary(verdict.outcomes))
    if found:
        console.print(_seeded_summary(found))
    said = [_kept(verdict)] if verdict.outcomes else []
    said += [f"{sum(f.is_found for f in found)} of {len(found)} seeded errors seen"] if found else []
    console.print(f"{', '.join(said)}, {took_s:.0f} s, seed {seed}")
    if verdict.evidence:
        console.print(f"evidence: {verdict.evidence} (logs beside it; the next run deletes them)")


def conclude_soak(soaked: Soaked, seed: int, took_s: float) -> None:
    table = Table("of", "figure", caption="medians; growing: by a fifth and more than what means nothing")
    for title in ("second quarter", "last quarter", ""):
        table.add_column(title, justify="right")
    for one in soaked.trends:
        verdict = "[bold red]growing[/]" if one.is_growing else "flat"
        table.add_row(one.of, one.kind, f"{one.earlier:.1f}", f"{one.later:.1f}", verdict)
    console.print(table)
    for complaint in soaked.complaints:
        console.print(f"[bold red]✗[/] {escape(complaint)}")
    words = "[green]flat, every promise kept[/]" if soaked.is_good else "[bold red]not good[/]"
    console.print(f"{words}: {soaked.orders} orders, {soaked.injected} faults, {took_s:.0f} s, seed {seed}")
    console.print(f"samples: {soaked.samples}")


def soak_as_json(soaked: Soaked, seed: int) -> str:
    grown = [f"{trend.of} {trend.kind}" for trend in soaked.trends if trend.is_growing]
    figures = {"orders": soaked.orders, "faults": soaked.injected, "growing": grown, "broken": soaked.complaints}
    return json.dumps({"seed": seed, "good": soaked.is_good, **figures})


def _kept(verdict: Verdict) -> str:
    orders, faults = (sum(getattr(o, name) for o in verdict.outcomes) for name in ("orders", "injected"))
    kept = "[green]every promise kept[/]" if verdict.is_good else "[bold red]a promise was broken[/]"
    return f"{kept}: {orders} orders, {faults} faults"


def as_json(verdict: Verdict, found: Sequence[Found], seed: int) -> str:
    trials = [asdict(outcome) for outcome in verdict.outcomes]
    errors = [{"name": f.error.name, "fault": f.error.fault, "seen": f.is_found, "tries": f.tries} for f in found]
    return json.dumps({"seed": seed, "good": verdict.is_good, "trials": trials, "seeded_errors": errors})


def _summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table("fault", caption="duplicates: at least so many, see tests/faults/deliveries.py")
    for title in ("orders", "faults", "recovery s", "settled s", "duplicates", "redelivered"):
        table.add_column(title, justify="right")
    table.add_column("promises")
    for o in outcomes:
        recovery = "-" if o.recovery_s is None else f"{o.recovery_s:.1f}"
        verdict = "not possible here" if o.impossible else "kept" if o.is_good else "[bold red]broken[/]"
        counts = (o.orders, o.injected, recovery, f"{o.settled_s:.1f}", o.duplicates, o.redelivered)
        table.add_row(o.fault, *(str(count) for count in counts), verdict)
    return table


def _seeded_summary(found: Sequence[Found]) -> Table:
    table = Table("seeded error", "with fault", "seen", "first complaint")
    for one in found:
        first = next(iter(one.shown), "-")
        seen = f"yes, try {one.tries}" if one.is_found else "[bold red]no[/]"
        table.add_row(one.error.name, one.error.fault, seen, escape(first[:120]))
    return table
