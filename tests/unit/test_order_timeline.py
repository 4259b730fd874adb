"""A timeline stands in the order of causes, whatever the clocks said."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from order_service.timeline import Step, causal_order

START = datetime(2026, 1, 1, tzinfo=UTC)


def step(number: int, cause: int | None, at_s: float) -> Step:
    return Step(
        event_id=UUID(int=number),
        causation_id=UUID(int=cause) if cause is not None else None,
        occurred_at=START + timedelta(seconds=at_s),
    )


def numbers(*steps: Step) -> list[int]:
    return [event_id.int for event_id in causal_order(steps)]


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Steps with causes among themselves or outside (100 and up), clocks all over the place, shuffled."""
    count = draw(st.integers(0, 12))
    causes = [draw(st.one_of(st.none(), st.integers(100, 102), st.integers(1, max(n - 1, 1)))) for n in range(1, count)]
    steps = [step(1, None, 0), *(step(n + 1, c, draw(st.integers(-50, 50))) for n, c in enumerate(causes, 1))]
    return draw(st.permutations(steps))


@given(histories())
def test_causes_come_before_effects_and_nothing_is_lost(steps: list[Step]) -> None:
    order = causal_order(steps)

    assert sorted(order) == sorted(s.event_id for s in steps)
    place = {event_id: index for index, event_id in enumerate(order)}
    for s in steps:
        if s.causation_id in place and s.causation_id != s.event_id:
            assert place[s.causation_id] < place[s.event_id]


@given(histories(), st.integers(0, 2**16))
def test_the_order_of_reading_does_not_matter(steps: list[Step], seed: int) -> None:
    shuffled = list(steps)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    assert causal_order(shuffled) == causal_order(steps)


def test_a_clock_that_is_behind_cannot_put_an_effect_before_its_cause() -> None:
    assert numbers(step(3, 2, -100), step(2, 1, -50), step(1, None, 0)) == [1, 2, 3]


def test_unrelated_steps_stand_by_time() -> None:
    assert numbers(step(1, None, 5), step(2, None, 1), step(3, 1, 6), step(4, None, 5.5)) == [2, 1, 4, 3]


def test_a_step_whose_cause_is_missing_stands_by_its_time() -> None:
    assert numbers(step(1, None, 0), step(2, 99, 5), step(3, 1, 9)) == [1, 2, 3]


def test_a_repeated_step_stands_once() -> None:
    assert numbers(step(1, None, 0), step(2, 1, 1), step(2, 1, 1), step(1, None, 0)) == [1, 2]


def test_a_step_that_claims_to_cause_itself_is_shown() -> None:
    assert numbers(step(1, 1, 0), step(2, 1, 1)) == [1, 2]


def test_a_forged_circle_is_shown_too_and_after_the_rest() -> None:
    assert numbers(step(2, 3, 1), step(3, 2, 2), step(4, 3, 3), step(1, None, 9))[0] == 1
    assert sorted(numbers(step(2, 3, 1), step(3, 2, 2), step(4, 3, 3), step(1, None, 9))) == [1, 2, 3, 4]
