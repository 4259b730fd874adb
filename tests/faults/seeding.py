"""Can the campaign fail? Each error that people make is put into the stack, with a fault that must show it.

Owns: which fault shows which error, and by what complaint. Must not know: how the error gets into a process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from . import campaign
from .campaign import Plan
from .catalogue import FAULTS
from .crash_points import INJECTED
from .fault import Arena
from .injected.ordersaga_injected import seeded_errors
from .strokes import administrator_of
from .trial import Outcome

# Long enough for every deadline of the arena: what is not whole by then will not be.
SETTLE_S = 90.0
# A race is won by chance: each try has a stack and a seed of its own.
TRIES = 5


def _nothing(_arena: Arena) -> None:
    pass


def without_check(arena: Arena) -> None:
    """The database's own guard would refuse to oversell: here the sampler must see it."""
    with closing(administrator_of(arena, "inventory_service")) as connection, connection.cursor() as cursor:
        cursor.execute("select conname from pg_constraint where conrelid = 'stock'::regclass and contype = 'c'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'alter table stock drop constraint "{name}"')
        connection.commit()


@dataclass(frozen=True, kw_only=True)
class SeededError:
    """``shown_by``: a complaint that says this and nothing else will do; others may come with it."""

    name: str
    fault: str
    shown_by: str
    prepare: Callable[[Arena], None] = _nothing


SEEDED: tuple[SeededError, ...] = (
    SeededError(name="ack-before-commit", fault="kill-random", shown_by="never took in"),
    SeededError(name="inbox-apart", fault="stock-locked", shown_by="took in and never answered"),
    SeededError(name="stock-without-condition", fault="stock-rush", shown_by="oversold", prepare=without_check),
    SeededError(name="silence-is-a-decline", fault="provider-answers-lost", shown_by="money is wrong"),
    SeededError(name="new-key-each-time", fault="provider-answers-lost", shown_by="no attempt of ours explains"),
    SeededError(name="relay-by-cursor", fault="stutter", shown_by="unpublished events"),
    SeededError(name="dead-letters-through-topic", fault="poison", shown_by="poison is gone"),
)
QUICK = ("silence-is-a-decline", "stock-without-condition")


def _unsaid(_outcome: Outcome) -> None:
    """It is meant to be bad."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of the last run, the ``tries``-th; ``shown``: the complaints that show the error."""

    error: SeededError
    outcome: Outcome
    tries: int

    @property
    def shown(self) -> list[str]:
        return [words for words in self.outcome.complaints if re.search(self.error.shown_by, words)]

    @property
    def is_found(self) -> bool:
        return bool(self.shown)


def run_seeded(plan: Plan, errors: Sequence[SeededError]) -> Iterator[Found]:
    """Each error in a stack of its own; a campaign that stays green in every try has not seen it."""
    for error in errors:
        for number in range(1, TRIES + 1):
            found = _try_to_see(replace(plan, seed=plan.seed + number - 1), error, number)
            if found.is_found:
                break
        yield found


def _try_to_see(plan: Plan, error: SeededError, number: int) -> Found:
    [fault] = [fault for fault in FAULTS if fault.name == error.fault]
    settings = {"PYTHONPATH": str(INJECTED), seeded_errors.VARIABLE: error.name}
    with_error = replace(plan, settings=settings, settle_s=SETTLE_S, prepare=error.prepare, on_outcome=_unsaid)
    return Found(error=error, outcome=campaign.run(with_error, [fault]).outcomes[0], tries=number)
