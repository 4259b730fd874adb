"""``python -m tests.faults``: options, and what is shown.

Owns: the screen and the exit code. Must not know: how a trial goes.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .arena import ROOT
from .campaign import Plan, Verdict, run
from .catalogue import FAULTS, QUICK
from .fault import Fault
from .trial import Outcome

console = Console(stderr=True, highlight=False)


@click.command()
@click.option("--quick", is_flag=True, help="The slice for CI: some faults, shorter.")
@click.option("--seed", type=int, help="Of an earlier run; by chance if not said.")
@click.option("--only", multiple=True, metavar="NAME", help="This fault; may be said several times.")
@click.option("--list", "only_lists", is_flag=True, help="Name all faults and end.")
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is one JSON object.")
@click.option("--rate", default=50.0, show_default=True, help="Orders per second; half of it with --quick.")
@click.option("--folder", default=ROOT / ".stack-faults", type=click.Path(path_type=Path), help="The stack's own.")
def main(
    quick: bool, seed: int | None, only: Sequence[str], only_lists: bool, as_json: bool, rate: float, folder: Path
) -> None:
    """Break everything around the stack while customers order; exit code 1 at the first broken promise."""
    faults = chosen(only, quick)
    if only_lists:
        console.print(_listing(faults))
        return
    # The stack must come down when CI gives up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    console.print(f"seed {seed}: the same choices again with --seed {seed}; {len(faults)} faults")
    plan = Plan(
        seed=seed,
        orders_per_s=rate / 2 if quick else rate,
        folder=folder,
        say=lambda line: console.print(f"[dim]· {escape(line)}[/]"),
        on_outcome=_show,
        is_quick=quick,
        warm_orders=25 if quick else 150,
    )
    started = time.monotonic()
    verdict = run(plan, faults)
    _conclude(verdict, seed, time.monotonic() - started, as_json)


def chosen(only: Sequence[str], quick: bool) -> list[Fault]:
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; see --list", param_hint="--only")
    names = only or (QUICK if quick else tuple(known))
    return [known[name] for name in names]


def _listing(faults: Sequence[Fault]) -> Table:
    table = Table("fault", "what happens", "arena")
    for fault in faults:
        table.add_row(fault.name, fault.summary, fault.arena.value)
    return table


def _show(outcome: Outcome) -> None:
    if outcome.impossible:
        console.print(f"[yellow]?[/] {outcome.fault}: not possible here: {escape(outcome.impossible)}")
    mark = "[green]✓[/]" if outcome.is_good else "[bold red]✗[/]"
    console.print(f"{mark} {outcome.fault}: {outcome.orders} orders, {outcome.injected} faults, {outcome.took_s:.0f} s")
    for complaint in outcome.complaints:
        console.print(f"  [red]{escape(complaint)}[/]")


def _conclude(verdict: Verdict, seed: int, took_s: float, as_json: bool) -> None:
    console.print(summary(verdict.outcomes))
    orders, faults = (sum(getattr(o, name) for o in verdict.outcomes) for name in ("orders", "injected"))
    words = "[green]every promise kept[/]" if verdict.is_good else "[bold red]a promise was broken[/]"
    console.print(f"{words}: {orders} orders, {faults} faults, {took_s:.0f} s, seed {seed}")
    if verdict.evidence:
        console.print(f"evidence: {verdict.evidence} (logs beside it; the next run deletes them)")
    if as_json:
        document = {"seed": seed, "good": verdict.is_good, "trials": [asdict(o) for o in verdict.outcomes]}
        print(json.dumps(document))  # noqa: T201
    sys.exit(0 if verdict.is_good else 1)


def summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table("fault", title="duplicates: at least so many, see tests/faults/deliveries.py")
    for title in ("orders", "faults", "recovery s", "settled s", "duplicates", "redelivered"):
        table.add_column(title, justify="right")
    table.add_column("promises")
    for o in outcomes:
        recovery = "-" if o.recovery_s is None else f"{o.recovery_s:.1f}"
        verdict = "not possible here" if o.impossible else "kept" if o.is_good else "[bold red]broken[/]"
        counts = (o.orders, o.injected, recovery, f"{o.settled_s:.1f}", o.duplicates, o.redelivered)
        table.add_row(o.fault, *(str(count) for count in counts), verdict)
    return table


if __name__ == "__main__":
    main()
