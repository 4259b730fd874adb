"""``python -m benchmarks``: throughput, latency and cost of whole sagas, on a stack of its own.

Owns: options, running the phases one after the other, the table and the last line. Checks the invariants afterwards: a
fast system that loses an order has no throughput. The last line printed is one JSON object.
"""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import structlog
from rich.console import Console
from rich.table import Table

from benchmarks.bench import ALL, SETTLE_S, Bench, CannotMeasure, open_bench
from benchmarks.cpu import ELSEWHERE
from benchmarks.machine import calibration_ms, described
from benchmarks.phases import PHASES, Phase, chosen
from benchmarks.sizes import size_options, sizes_of
from ops.errors import StackError
from ops.invariants import open_work, violations
from ops.management import ManagementApi
from ops.people import NO_LIMITS
from ops.stack import Stack
from ops.waiting import holds_within
from shared.errors import OrderSagaError

console = Console(stderr=True, highlight=False)
_FAILURES = (CannotMeasure, StackError, OrderSagaError, OSError, subprocess.SubprocessError)


def _say(line: str) -> None:
    console.print(f"[dim]· {line}[/]")


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="Smaller counts: under three minutes.")
@click.option("--only", multiple=True, type=click.Choice([p.name for p in PHASES]), help="Phases; may be repeated.")
@size_options
@click.option("--folder", default=Path(".stack-bench"), type=click.Path(path_type=Path), help="Where the stack lives.")
@click.option(
    "--results", default=Path(".bench/results.json"), type=click.Path(path_type=Path), help="All that was found."
)
@click.option("--seed", default=1, help="For what is ordered.")
def main(quick: bool, only: Sequence[str], folder: Path, results: Path, seed: int, **sizes: float | None) -> None:
    """Measure, check the invariants, print one JSON object as the last line."""
    wanted = sizes_of(quick, sizes)
    # The client's coming and going is not worth a line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    stack = Stack(folder, report=_say)
    # What is measured is how fast it is, not how much of it a single customer may have.
    stack.up(settings=NO_LIMITS)
    try:
        with open_bench(stack, wanted, random.Random(seed), _say) as bench:  # noqa: S311
            document = run(bench, chosen(only))
    finally:
        stack.down(delete_data=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, indent=1), encoding="utf-8")
    print(json.dumps(document["figures"]))  # noqa: T201
    sys.exit(1 if document["figures"]["violations"] or document["figures"]["failed"] else 0)


def run(bench: Bench, phases: Sequence[Phase]) -> dict[str, Any]:
    """All phases; what goes into the results file. One that fails does not take the figures of the others along."""
    started_s = time.perf_counter()
    failed: dict[str, str] = {}
    calibrations_ms = [calibration_ms()]
    for phase in phases:
        console.print(f"[bold]{phase.name}[/]: {phase.summary}")
        try:
            _require(phase, failed)
            measured = phase.measure(bench)
        except _FAILURES as error:
            failed[phase.name] = str(error)
            console.print(f"[bold red]✗[/] {phase.name}: {error}")
            continue
        bench.figures.update(measured.figures)
        bench.details[phase.name] = measured.details
        calibrations_ms.append(calibration_ms())
    bench.figures.update(_about(bench, started_s))
    bench.figures.update(calibration_ms=calibrations_ms, failed=failed)
    _show(bench.figures)
    return {"figures": bench.figures, "details": bench.details, "sizes": asdict(bench.sizes)}


def _require(phase: Phase, failed: Mapping[str, str]) -> None:
    missing = [need for need in phase.needs if need in failed]
    if missing:
        raise CannotMeasure(f"needs {' and '.join(missing)}")


def _about(bench: Bench, started_s: float) -> dict[str, Any]:
    return {
        "seconds": round(time.perf_counter() - started_s, 1),
        "violations": _violations(bench),
        **described(bench.books, _broker_version(bench.stack)),
    }


def _violations(bench: Bench) -> int:
    holds_within(lambda: open_work(bench.books).is_done, timeout_s=SETTLE_S)
    broken = violations(bench.books)
    for violation in broken:
        console.print(f"[bold red]✗[/] {violation}")
    return len(broken)


def _broker_version(stack: Stack) -> str:
    return str(ManagementApi(stack.environment()["MANAGEMENT_URL"]).request("GET", "/api/overview")["rabbitmq_version"])


def _show(figures: dict[str, Any]) -> None:
    table = Table(show_header=False)
    costs = {name: value for name, value in figures.items() if name.endswith("cpu_ms_per_order")}
    for name, value in figures.items():
        if isinstance(value, int | float | bool):
            table.add_row(name, str(value))
    console.print(table, _cost_table(costs))


def _cost_table(costs: dict[str, dict[str, float]]) -> Table:
    """CPU milliseconds per order: components down, phases across; what is not ours comes last."""
    table = Table("CPU ms per order", *(name.removesuffix("cpu_ms_per_order").rstrip("_") or "saga" for name in costs))
    components = sorted({component for cost in costs.values() for component in cost} - {ALL, ELSEWHERE})
    for component in [*components, ALL, ELSEWHERE]:
        table.add_row(component, *(f"{cost.get(component, 0):.3f}" for cost in costs.values()))
        if component in (components[-1], ALL):
            table.add_section()
    return table


if __name__ == "__main__":
    main()
