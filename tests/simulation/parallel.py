"""Schedules on several processes at once, each with databases of its own on one server.

Owns: sharing out seeds, gathering what came of them. Must not know: screens.
"""

from __future__ import annotations

import gc
import multiprocessing
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cluster import Server
from .mutations import MUTATIONS
from .record import Tally
from .runner import Bench, bench

REPORTED_EVERY_S = 0.5
PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """A schedule that broke an invariant. ``schedules``: how many its process had run by then."""

    seed: int
    invariant: str
    message: str
    schedules: int
    mutation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """Seeds to run, with an error built into the code where ``mutation`` names one; stops at the first violation."""

    seeds: range
    mutation: str | None = None


@dataclass
class Progress:
    """What a process reports: what was done since its last report, and what it found."""

    tally: Tally = field(default_factory=Tally)
    found: Found | None = None
    job: Job | None = None
    error: str | None = None
    is_last: bool = False


def run_jobs(
    server: Server, jobs: Sequence[Job], workers: int, report: Callable[[Progress], None], *, stop_at_first: bool
) -> list[Found]:
    """Every job's violation, if it has one. ``report`` hears of progress as it is made."""
    context = multiprocessing.get_context("spawn")
    todo: Any = context.Queue()
    for job in jobs:
        todo.put(job)
    for _ in range(workers):
        todo.put(None)
    reports: Any = context.Queue()
    processes = [
        context.Process(target=_work, args=(server.folder, number, todo, reports), daemon=True)
        for number in range(workers)
    ]
    with _running(processes):
        return list(_gather(reports, processes, report, stop_at_first=stop_at_first))


@contextmanager
def _running(processes: Sequence[Any]) -> Iterator[None]:
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join(10)


def _gather(
    reports: Any, processes: Sequence[Any], report: Callable[[Progress], None], *, stop_at_first: bool
) -> Iterator[Found]:
    at_work = len(processes)
    while at_work:
        try:
            progress: Progress = reports.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise RuntimeError(f"no process reported anything for {PATIENCE_S} s") from None
        if progress.error:
            raise RuntimeError(progress.error)
        report(progress)
        at_work -= progress.is_last
        if progress.found is not None:
            yield progress.found
            if stop_at_first:
                return


def _work(folder: Path, number: int, todo: Any, reports: Any) -> None:
    try:
        gc.freeze()
        gc.set_threshold(50_000)
        with bench(Server(folder), f"worker{number}") as own:
            while (job := todo.get()) is not None:
                with _error_of(job):
                    _run(own, job, reports)
        reports.put(Progress(is_last=True))
    except Exception as error:
        reports.put(Progress(error=f"{type(error).__name__}: {error}"))


def _error_of(job: Job) -> AbstractContextManager[Any]:
    return MUTATIONS[job.mutation].apply() if job.mutation else nullcontext()


def _run(own: Bench, job: Job, reports: Any) -> None:
    focus = MUTATIONS[job.mutation].focus if job.mutation else None
    found, reported_at = None, time.monotonic()
    for position, seed in enumerate(job.seeds, start=1):
        violation = own.run_seed(seed, focus=focus).violation
        if violation is not None:
            found = Found(
                seed=seed,
                invariant=violation.invariant,
                message=violation.message,
                schedules=position,
                mutation=job.mutation,
            )
            break
        if time.monotonic() - reported_at >= REPORTED_EVERY_S:
            reports.put(Progress(tally=own.tally))
            own.tally, reported_at = Tally(), time.monotonic()
    reports.put(Progress(tally=own.tally, found=found, job=job))
    own.tally = Tally()
