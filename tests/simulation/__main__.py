"""``python -m tests.simulation``: many schedules, one schedule again, or the proof that errors are found.

Owns: options and what is shown. Must not know: how schedules are run.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .cluster import Cluster, Server
from .coverage import all_pairs
from .invariants import ALL as ALL_INVARIANTS
from .invariants import DECLARED_ANSWERS
from .mutations import MUTATIONS, Mutation
from .parallel import Found, Job, run_jobs
from .parallel import Progress as Report
from .record import Tally
from .runner import Outcome, bench, smaller

SEEDS_PER_JOB = 50
MOST_PER_MUTATION = 600
console = Console(highlight=False)


@click.command()
@click.option("--schedules", default=20_000, show_default=True, help="How many to run.")
@click.option("--workers", default=2, show_default=True, help="Processes at once.")
@click.option("--first-seed", type=int, help="Of the first schedule; by chance if not said.")
@click.option("--seed", type=int, help="Run this one schedule again and show all of it.")
@click.option("--keep", default="", help="With --seed: only these of its steps, as a failure was printed.")
@click.option("--mutations", is_flag=True, help="Build known errors into the code: each must be found.")
@click.option("--only", default="", help="With --mutations: those whose name has this in it. With --seed: the one.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(
    schedules: int,
    workers: int,
    first_seed: int | None,
    seed: int | None,
    keep: str,
    mutations: bool,
    only: str,
    as_json: bool,
) -> None:
    """Play the services' real code against a world that loses, repeats, reorders, delays and crashes."""
    with Cluster() as server:
        if seed is not None:
            kept = [int(step) for step in keep.split(",")] if keep else None
            is_good = _replay(server, seed, kept, MUTATIONS[only] if only else None)
        elif mutations:
            is_good = _hunt(server, workers, only, as_json)
        else:
            first = random.SystemRandom().randrange(2**31) if first_seed is None else first_seed
            is_good = _campaign(server, range(first, first + schedules), workers, as_json)
    sys.exit(0 if is_good else 1)


# One schedule


def _replay(server: Server, seed: int, kept: list[int] | None, mutation: Mutation | None) -> bool:
    with bench(server, "replay") as own, mutation.apply() if mutation else nullcontext():
        outcome = own.run_seed(seed, kept, mutation.focus if mutation else None)
    _show(outcome)
    return outcome.violation is None


def _show(outcome: Outcome) -> None:
    console.print(escape(str(outcome.scenario)), style="dim")
    for line in outcome.trace:
        console.print(escape(line), soft_wrap=True)
    if outcome.violation is None:
        console.print("[green]every invariant holds[/]")
    else:
        console.print(f"[bold red]{escape(outcome.violation.invariant)}[/]: {escape(outcome.violation.message)}")
        if outcome.violation.__cause__ is not None:
            console.print(f"from {escape(repr(outcome.violation.__cause__))}", style="dim")


# Many


def _campaign(server: Server, seeds: range, workers: int, as_json: bool) -> bool:
    console.print(f"schedules {seeds.start} to {seeds.stop - 1}, on {workers} processes")
    jobs = [Job(seeds=seeds[start : start + SEEDS_PER_JOB]) for start in range(0, len(seeds), SEEDS_PER_JOB)]
    tally, started = Tally(), time.monotonic()
    with _progress() as progress:
        task = progress.add_task("schedules", total=len(seeds))

        def report(made: Report) -> None:
            tally.add(made.tally)
            progress.update(task, completed=tally.schedules)

        found = run_jobs(server, jobs, workers, report, stop_at_first=True)
    seconds = time.monotonic() - started
    _show_tally(tally, seconds)
    for one in found:
        _show_failure(server, one)
    if as_json:
        console.print(json.dumps(_document(tally, seconds, found)), soft_wrap=True)
    return not found


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def _show_failure(server: Server, found: Found) -> None:
    console.print(f"\n[bold red]seed {found.seed} breaks: {escape(found.invariant)}[/]")
    with console.status("leaving out what it does not need"), bench(server, "failure") as own:
        outcome = smaller(own, own.run_seed(found.seed))
    _show(outcome)
    kept = ",".join(map(str, outcome.kept)) or "-1"
    console.print(f'\nagain:  make simulate ARGS="--seed {found.seed}"', soft_wrap=True)
    console.print(f'as here:  make simulate ARGS="--seed {found.seed} --keep {kept}"', soft_wrap=True)


def _show_tally(tally: Tally, seconds: float) -> None:
    rate = tally.schedules / max(seconds, 0.001)
    console.print(
        f"\n{tally.schedules:,} schedules in {seconds:.0f} s ({rate:.1f}/s): {tally.steps:,} steps, "
        f"{tally.transactions:,} transactions, {tally.events:,} events published, {tally.deliveries:,} delivered"
    )
    console.print(_counts("fault", "times", tally.faults.most_common()))
    console.print(_counts("invariant", "checked", [(name, tally.checks[name]) for name in ALL_INVARIANTS]))
    _show_coverage(tally)


def _counts(what: str, how_many: str, rows: Sequence[tuple[str, int]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(what)
    table.add_column(how_many, justify="right")
    for name, count in rows:
        table.add_row(name, f"{count:,}")
    return table


def _show_coverage(tally: Tally) -> None:
    pairs = all_pairs()
    missed = [pair for pair in pairs if not tally.transitions[pair]]
    console.print(f"\n{len(pairs) - len(missed)} of {len(pairs)} (state, happening) pairs were reached; not:")
    by_state: dict[str, list[str]] = {}
    for pair in missed:
        state, _, happening = pair.partition(" + ")
        by_state.setdefault(state, []).append(happening)
    for state, happenings in by_state.items():
        console.print(f"  [dim]{state} + {', '.join(happenings)}[/]")
    declared = [f"{event} → {service}: {answer}" for service, event, answer in sorted(DECLARED_ANSWERS)]
    silent = [answer for answer in declared if not tally.answers[answer]]
    console.print(f"\n{len(declared) - len(silent)} of {len(declared)} declared answers were given; not:")
    for answer in silent:
        console.print(f"  [dim]{answer}[/]")


def _document(tally: Tally, seconds: float, found: Sequence[Found]) -> dict[str, Any]:
    return {
        "schedules": tally.schedules,
        "seconds": round(seconds, 1),
        "steps": tally.steps,
        "transactions": tally.transactions,
        "events": tally.events,
        "deliveries": tally.deliveries,
        "faults": dict(tally.faults),
        "checks": dict(tally.checks),
        "pairs_reached": len(tally.transitions),
        "pairs": len(all_pairs()),
        "failures": [{"seed": one.seed, "invariant": one.invariant, "message": one.message} for one in found],
    }


# Errors on purpose


def _hunt(server: Server, workers: int, only: str, as_json: bool) -> bool:
    names = [name for name in MUTATIONS if only in name]
    jobs = [Job(seeds=range(MOST_PER_MUTATION), mutation=name) for name in names]
    results: dict[str, Found] = {}
    started = time.monotonic()
    with _progress() as progress:
        task = progress.add_task("errors built in", total=len(jobs))

        def report(made: Report) -> None:
            progress.update(task, advance=1 if made.job else 0)

        for found in run_jobs(server, jobs, workers, report, stop_at_first=False):
            results[str(found.mutation)] = found
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("error built in", "found by", "schedules", "seed"):
        table.add_column(heading, justify="right" if heading in ("schedules", "seed") else "left")
    for name in names:
        hit = results.get(name)
        table.add_row(name, *_hit(hit))
    console.print(table)
    survivors = [name for name in names if name not in results]
    console.print(f"{len(results)} of {len(names)} found in {time.monotonic() - started:.0f} s")
    if as_json:
        console.print(json.dumps({"found": len(results), "survived": survivors}), soft_wrap=True)
    return not survivors


def _hit(found: Found | None) -> tuple[str, str, str]:
    if found is None:
        return "[bold red]nothing: it survived[/]", str(MOST_PER_MUTATION), ""
    return escape(found.invariant), str(found.schedules), str(found.seed)


if __name__ == "__main__":
    main()
