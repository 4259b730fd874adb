"""``python -m tests.faults``: options, and which campaign they mean.

Owns: the command line and the exit code. Must not know: how a trial goes, words on the screen.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from ops.errors import StackError

from . import screen, seeding, soak
from .arena import ROOT
from .campaign import Plan, Verdict, run
from .catalogue import FAULTS, QUICK
from .fault import Fault
from .seeding import SEEDED, Found, SeededError


@click.command()
@click.argument("errors", nargs=-1)
@click.option("--quick", is_flag=True, help="The slice for CI: some faults, shorter, and two seeded errors.")
@click.option("--seed", type=int, help="Of an earlier run; by chance if not said.")
@click.option("--only", multiple=True, metavar="NAME", help="This fault; may be said several times.")
@click.option(
    "--seeded-errors", "seeds_errors", is_flag=True, help="Put ERRORS (all) into the code: each must be seen."
)
@click.option("--soak", "soaks", is_flag=True, help="Half load for long, faults at random moments: does anything grow?")
@click.option("--minutes", default=60.0, show_default=True, help="How long a soak takes.")
@click.option("--list", "only_lists", is_flag=True, help="Name all faults and seeded errors, and end.")
@click.option("--json", "says_json", is_flag=True, help="The last line on stdout is one JSON object.")
@click.option("--rate", default=50.0, show_default=True, help="Orders per second; half of it with --quick or --soak.")
@click.option("--folder", default=ROOT / ".stack-faults", type=click.Path(path_type=Path), help="The stack's own.")
def main(
    errors: Sequence[str],
    quick: bool,
    seed: int | None,
    only: Sequence[str],
    seeds_errors: bool,
    soaks: bool,
    minutes: float,
    only_lists: bool,
    says_json: bool,
    rate: float,
    folder: Path,
) -> None:
    """Break everything around the stack while customers order; exit code 1 at the first broken promise."""
    faults = [] if seeds_errors else chosen_faults(only, quick)
    seeded = chosen_errors(errors, seeds_errors, quick and not only)
    if only_lists:
        screen.console.print(screen.listing(FAULTS, SEEDED))
        return
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    screen.console.print(f"seed {seed}: the same choices again with --seed {seed}")
    # The stack must come down when CI gives up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = _plan(seed, rate / 2 if quick or soaks else rate, folder, quick)
    if soaks:
        sys.exit(_soak(plan, minutes, says_json))
    started = time.monotonic()
    verdict = run(plan, faults)
    found = _seen(plan, seeded) if verdict.is_good else []
    screen.conclude(verdict, found, seed, time.monotonic() - started)
    if says_json:
        print(screen.as_json(verdict, found, seed))  # noqa: T201
    sys.exit(0 if _is_good(verdict, found) else 1)


def _plan(seed: int, orders_per_s: float, folder: Path, quick: bool) -> Plan:
    return Plan(
        seed=seed,
        orders_per_s=orders_per_s,
        folder=folder,
        say=screen.say,
        on_outcome=screen.show_outcome,
        is_quick=quick,
        warm_orders=25 if quick else 150,
    )


def _soak(plan: Plan, minutes: float, says_json: bool) -> int:
    """The exit code. At least forty looks, so that each quarter has some."""
    started = time.monotonic()
    soaked = soak.run(plan, minutes=minutes, every_s=min(60.0, minutes * 60 / 40))
    screen.conclude_soak(soaked, plan.seed, time.monotonic() - started)
    if says_json:
        print(screen.soak_as_json(soaked, plan.seed))  # noqa: T201
    return 0 if soaked.is_good else 1


def _seen(plan: Plan, errors: Sequence[SeededError]) -> list[Found]:
    found = []
    for one in seeding.run_seeded(plan, errors):
        screen.show_found(one)
        found.append(one)
    return found


def _is_good(verdict: Verdict, found: Sequence[Found]) -> bool:
    return verdict.is_good and all(one.is_found for one in found)


def chosen_faults(only: Sequence[str], quick: bool) -> list[Fault]:
    known = {fault.name: fault for fault in FAULTS}
    _refuse_unknown(only, known.keys(), "--only")
    names = only or (QUICK if quick else tuple(known))
    return [known[name] for name in names]


def chosen_errors(names: Sequence[str], seeds_errors: bool, quick: bool) -> list[SeededError]:
    known = {error.name: error for error in SEEDED}
    _refuse_unknown(names, known.keys(), "ERRORS")
    if not seeds_errors:
        names = seeding.QUICK if quick else ()
    elif not names:
        names = tuple(known)
    return [known[name] for name in names]


def _refuse_unknown(names: Sequence[str], known: Collection[str], where: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; see --list", param_hint=where)


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        screen.console.print(f"the stack itself: {error}")
        sys.exit(1)
