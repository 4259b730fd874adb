"""The simulation: a slice of schedules, and that it can be trusted. `make simulate` runs many more."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from .clock import START
from .mutations import MUTATIONS
from .runner import Bench, Outcome, schedule_of, smaller
from .scenario import WEIGHTS, Scenario, Wish
from .scheduler import STEPS

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(12)
steps_of_schedules = st.lists(st.integers(0, 2**32), min_size=STEPS, max_size=STEPS)


@settings(
    max_examples=150,
    deadline=None,
    # Hypothesis would shrink for minutes: a schedule knows better which of its steps can be left out.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), steps=steps_of_schedules)
def test_every_invariant_holds(schedules: Bench, seed: int, steps: Sequence[int]) -> None:
    scenario, _ = schedule_of(seed)
    outcome = schedules.run(scenario, steps)
    if outcome.violation is not None:
        outcome = smaller(schedules, outcome)

    note("\n".join([str(scenario), *outcome.trace]))
    assert outcome.violation is None, outcome.violation


class TestTheSameScheduleIsTheSame:
    def test_whatever_ran_before(self, schedules: Bench) -> None:
        first = [schedules.run_seed(seed).trace for seed in SEEDS]
        again = [schedules.run_seed(seed).trace for seed in reversed(SEEDS)]

        assert first == again[::-1]
        assert len(set(first)) == len(first)

    @pytest.mark.parametrize("hash_seed", ["1", "2"])
    def test_in_another_process(self, schedules: Bench, hash_seed: str) -> None:
        """Sets and dictionaries of texts come in another order there."""
        printed = subprocess.run(
            [sys.executable, "-m", "tests.simulation.test_simulation"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )

        assert printed.stdout.strip() == fingerprint(schedules)


def fingerprint(schedules: Bench) -> str:
    traces = "\n".join(line for seed in SEEDS for line in schedules.run_seed(seed).trace)
    return hashlib.sha256(traces.encode()).hexdigest()


def test_postgresql_goes_by_our_clock(schedules: Bench) -> None:
    schedules.run(Scenario(), [])

    placed = schedules.stores["order_service"].rows("select created_at from orders")
    assert [(moment - START).total_seconds() < 1 for (moment,) in placed] == [True]
    published = schedules.stores["inventory_service"].rows("select published_at from outbox")
    assert all(0 <= (moment - START).total_seconds() < 10 for (moment,) in published)


class TestItFindsErrors:
    """`make simulate ARGS=--mutations` does so for every one of them."""

    @pytest.mark.parametrize("name", ["charged with a new key each time", "inbox does not claim"])
    def test_it_finds_an_error_built_in(self, schedules: Bench, name: str) -> None:
        with MUTATIONS[name].apply():
            found = [schedules.run_seed(seed).violation for seed in range(30)]

        assert any(found)

    def test_and_makes_the_schedule_smaller(self, schedules: Bench) -> None:
        with MUTATIONS["stock released twice"].apply():
            failing = next(o for o in map(schedules.run_seed, range(100)) if o.violation)
            small = smaller(schedules, failing)
            again = schedules.run_seed(0) if small.violation is None else schedules.run(small.scenario, small.steps)

        assert small.violation is not None
        assert failing.violation is not None
        assert small.violation.invariant == failing.violation.invariant
        assert len(small.kept) < len(failing.kept)
        assert again.trace == small.trace


class TestUnhurriedSchedulesEndTheSameInEveryOrder:
    """Nothing fails, no time passes and nobody changes their mind: then the order of events must not matter."""

    @pytest.mark.parametrize("number", range(5))
    @pytest.mark.parametrize(
        ("wish", "stock", "end"),
        [
            (Wish(lines=(("mug", 2), ("tea", 1))), 5, ("CONFIRMED", None, "HELD", "TAKEN")),
            (
                Wish(lines=(("mug", 2),), token="tok_card_declined"),
                5,
                ("CANCELLED", "payment_failed", "FREE", "NOT_TAKEN"),
            ),
            (Wish(lines=(("mug", 2),)), 1, ("CANCELLED", "out_of_stock", "FREE", "NOT_TAKEN")),
            (
                Wish(lines=(("mug", 2),), payment_mode="manual"),
                5,
                ("CANCELLED", "reservation_expired", "FREE", "NOT_TAKEN"),
            ),
            (Wish(lines=(("ring", 1),)), 5, ("CANCELLED", "timeout", "FREE", "NOT_TAKEN")),
        ],
        ids=["happy", "declined", "out of stock", "abandoned", "never approved"],
    )
    def test_ends(self, schedules: Bench, wish: Wish, stock: int, end: tuple[str | None, ...], number: int) -> None:
        unhurried = Scenario(
            wishes=(wish,), stock={"mug": stock, "tea": 5, "ring": 5}, weights=_only("deliver", "relay")
        )
        outcome = schedules.run(unhurried, range(number * 100 + 1, number * 100 + STEPS))

        assert outcome.violation is None
        assert self.ends(schedules) == [end]

    @staticmethod
    def ends(schedules: Bench) -> list[tuple[str | None, ...]]:
        return schedules.stores["order_service"].rows("select status, reason, stock, money from orders")

    def test_a_refused_refund_leaves_the_cancelled_order_to_an_operator(self, schedules: Bench) -> None:
        outcome = self._cancelled_after_payment(schedules, refuses_refunds=1.0)

        assert outcome.violation is None
        assert self.ends(schedules) == [("CANCELLED", "customer", "FREE", "TAKEN")]

    def test_a_paid_order_that_is_cancelled_is_refunded(self, schedules: Bench) -> None:
        outcome = self._cancelled_after_payment(schedules, refuses_refunds=0.0)

        assert outcome.violation is None
        assert self.ends(schedules) == [("CANCELLED", "customer", "FREE", "RETURNED")]

    def _cancelled_after_payment(self, schedules: Bench, refuses_refunds: float) -> Outcome:
        calm = Scenario(has_head_start=True, weights=_only("cancel"), refuses_refunds=refuses_refunds)
        by_customer = next(step for step in range(1, 100) if "customer" in "".join(schedules.run(calm, [step]).trace))
        return schedules.run(replace(calm), [by_customer])


def _only(*names: str) -> dict[str, int]:
    return {name: weight if name in names else 0 for name, weight in WEIGHTS.items()}


if __name__ == "__main__":
    from .cluster import Cluster
    from .runner import bench

    with Cluster() as server, bench(server, "fingerprint") as own:
        print(fingerprint(own))  # noqa: T201
