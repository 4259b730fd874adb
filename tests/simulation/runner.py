"""Runs schedules by their seeds: one bench of databases, a fresh world for each.

Owns: preparing the services' code for a run, seeds, making a failing schedule smaller.
Must not know: screens (__main__.py).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import structlog

from shared.messaging import batch_consumer, settlement

from .cluster import Server
from .coverage import recorded_transitions
from .ids import ids_from
from .record import UNEXPECTED, Published, Tally, Violation
from .scenario import Scenario, make_scenario
from .scheduler import STEPS, Scheduler
from .services import SERVICES, Store
from .world import World


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a schedule went. ``violation`` is None where all was as it must be."""

    scenario: Scenario
    steps: tuple[int, ...]
    trace: tuple[str, ...]
    events: tuple[Published, ...] = ()
    violation: Violation | None = None

    @property
    def kept(self) -> list[int]:
        """Which steps are left in it."""
        return [position for position, step in enumerate(self.steps) if step]


@dataclass
class Bench:
    """The databases a process runs its schedules on, and what they all did together."""

    stores: dict[str, Store]
    tally: Tally = field(default_factory=Tally)

    def run(self, scenario: Scenario, steps: Sequence[int]) -> Outcome:
        tally = Tally(schedules=1)
        before = self._transactions()
        world = World(self.stores, scenario, tally)
        violation = None
        with ids_from(world.ids), recorded_transitions(tally.transitions):
            try:
                Scheduler(world).run(steps)
            except Violation as found:
                violation = found
            except Exception as error:
                violation = Violation(UNEXPECTED, f"{type(error).__name__}: {error}")
                violation.__cause__ = error
        tally.transactions = self._transactions() - before
        self.tally.add(tally)
        return Outcome(
            scenario=scenario,
            steps=tuple(steps),
            trace=tuple(world.trace),
            events=tuple(world.published.values()),
            violation=violation,
        )

    def _transactions(self) -> int:
        return sum(store.transactions for store in self.stores.values())

    def run_seed(
        self, seed: int, kept: Sequence[int] | None = None, focus: Callable[[Scenario], Scenario] | None = None
    ) -> Outcome:
        """The schedule of ``seed``, or only some steps of it; ``focus`` changes what is given."""
        scenario, steps = schedule_of(seed)
        if focus is not None:
            scenario = focus(scenario)
        if kept is not None:
            steps = [step if position in kept else 0 for position, step in enumerate(steps)]
        return self.run(scenario, steps)


def schedule_of(seed: int) -> tuple[Scenario, list[int]]:
    chance = random.Random(seed)  # noqa: S311
    scenario = make_scenario(chance)
    return scenario, [chance.randrange(1, 2**32) for _ in range(STEPS)]


@contextmanager
def bench(server: Server, suffix: str) -> Iterator[Bench]:
    """Databases of their own, on a server that others may use at the same time."""
    with ExitStack() as stack:
        stack.enter_context(_without_pauses())
        stores = {}
        for service in SERVICES:
            stores[service] = Store(server.create(service, suffix))
            stack.callback(stores[service].close)
        yield Bench(stores=stores)


@contextmanager
def _without_pauses() -> Iterator[None]:
    """Nobody waits on the wall clock, and nobody writes logs about faults that are meant."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with patch.object(batch_consumer, "DATABASE_DELAYS_S", (0,)), patch.object(settlement, "REQUEUE_PAUSE_S", 0):
            yield
    finally:
        structlog.configure(**before)


def smaller(bench: Bench, outcome: Outcome, *, most_runs: int = 300) -> Outcome:
    """The same violation in fewer steps: leaves out ever smaller pieces as long as it still happens.

    A step that is left out becomes 0, in which nothing happens, so that the others keep their numbers.
    """
    if outcome.violation is None:
        return outcome
    invariant, best, runs = outcome.violation.invariant, outcome, 0
    size = len(best.steps)
    while size and runs < most_runs:
        for start in range(0, len(best.steps), size):
            piece = range(start, min(start + size, len(best.steps)))
            if runs < most_runs and any(best.steps[position] for position in piece):
                runs += 1
                tried = bench.run(
                    best.scenario, [0 if position in piece else step for position, step in enumerate(best.steps)]
                )
                if tried.violation is not None and tried.violation.invariant == invariant:
                    best = tried
        size //= 2
    return best
