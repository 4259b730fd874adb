"""Fault after fault, each kind of arena opened once; the first broken promise ends it.

Owns: which trials there are, in which order, from which seed. Must not know: screens, single faults.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from shared.choreography import load_choreography

from . import evidence
from .arena import Opener, Say, Wanted
from .catalogue import ARENAS
from .deliveries import Deliveries
from .fault import Arena, ArenaKind, Fault, NotPossibleHere
from .goods import Goods
from .load import Load, LoadPlan
from .settling import SETTLE_S, Settling
from .stocktaker import Stocktaker
from .trial import Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``on_outcome`` hears of each trial as it ends; ``prepare`` may change an arena before its first order."""

    seed: int
    orders_per_s: float
    folder: Path
    say: Say
    on_outcome: Callable[[Outcome], None]
    is_quick: bool = False
    settle_s: float = SETTLE_S
    warm_orders: int = 100
    settings: dict[str, str] | None = None
    prepare: Callable[[Arena], None] = lambda _arena: None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``evidence``: the file, if a promise was broken."""

    outcomes: Sequence[Outcome]
    evidence: Path | None = None

    @property
    def is_good(self) -> bool:
        return all(outcome.is_good for outcome in self.outcomes)


def chance_of(plan: Plan, name: str) -> random.Random:
    """Each fault has its own, so that --only gives it the same one."""
    return random.Random(f"{plan.seed} {name}")  # noqa: S311 - nothing secret


def run(plan: Plan, faults: Sequence[Fault]) -> Verdict:
    """Until all are done or a promise is broken."""
    outcomes: list[Outcome] = []
    kept: list[Path] = []
    for kind, group in groupby(sorted(faults, key=_by_arena), key=lambda fault: fault.arena):
        names = list(group)
        try:
            with opened(plan, kind) as stage:
                outcomes += _trials(plan, stage, names, kept)
        except NotPossibleHere as impossible:
            outcomes += [_impossible(plan, fault, str(impossible)) for fault in names]
        if kept:
            break
    return Verdict(outcomes=outcomes, evidence=next(iter(kept), None))


def _trials(plan: Plan, stage: Stage, faults: Sequence[Fault], kept: list[Path]) -> Iterator[Outcome]:
    """Evidence of a broken promise goes into ``kept``; then there are no more trials."""
    for fault in faults:
        arena = replace(stage.arena, chance=chance_of(plan, fault.name))
        outcome = stage.for_fault(arena).try_fault(fault)
        plan.on_outcome(outcome)
        yield outcome
        if not outcome.is_good:
            kept.append(_kept(plan, stage, outcome))
            return


def _impossible(plan: Plan, fault: Fault, why: str) -> Outcome:
    outcome = Outcome(fault=fault.name, impossible=why)
    plan.on_outcome(outcome)
    return outcome


def _by_arena(fault: Fault) -> int:
    return list(ArenaKind).index(fault.arena)


def _kept(plan: Plan, stage: Stage, outcome: Outcome) -> Path:
    found = {"seed": plan.seed, "fault": outcome.fault, "complaints": outcome.complaints}
    return evidence.keep(stage.arena.stack.folder, found, stage.settling)


@contextmanager
def opened(plan: Plan, kind: ArenaKind) -> Iterator[Stage]:
    """The arena with its customers ordering and its watchers watching."""
    opener: Opener = ARENAS[kind]
    wanted = Wanted(
        chance=chance_of(plan, kind.value), say=plan.say, folder=plan.folder, settings=dict(plan.settings or {})
    )
    with ExitStack() as open_:
        arena = open_.enter_context(opener(wanted))
        plan.prepare(arena)
        goods = Goods(arena.environment)
        load = open_.enter_context(Load(_load_plan(plan, arena, goods)))
        arena = replace(arena, load=load, is_quick=plan.is_quick)
        stocktaker = Stocktaker(arena.environment)
        deliveries = Deliveries(arena.environment, (queue for queue, _ in load_choreography().work_queues()))
        open_.enter_context(stocktaker.sampler)
        open_.enter_context(deliveries.sampler)
        yield Stage(
            arena=arena,
            load=load,
            goods=goods,
            settling=Settling(arena=arena, load=load, settle_s=plan.settle_s),
            stocktaker=stocktaker,
            deliveries=deliveries,
            warm_orders=plan.warm_orders,
        )


def _load_plan(plan: Plan, arena: Arena, goods: Goods) -> LoadPlan:
    return LoadPlan(
        environment=arena.environment,
        chance=chance_of(plan, "load"),
        orders_per_s=plan.orders_per_s,
        shelf=lambda: goods.shelf,
    )
