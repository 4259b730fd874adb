"""A redrive: one first, then growing batches, no more once one fails again; what is seen counts, not what was meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_service.redriving import (
    MISSED_FOR,
    PATIENCE,
    Letter,
    LetterState,
    Pace,
    Run,
    RunState,
    Sight,
    Step,
    believe,
    plan,
    resumed,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PACE = Pace(first=1, factor=2, most=10, per_second=50)
THERE, AWAY = Sight(is_there=True), Sight(is_applied=False)
A_MOMENT = timedelta(seconds=1)


def run_with(pace: Pace = PACE, size: int = 1, next_at: datetime = NOW) -> Run:
    return Run(state=RunState.RUNNING, pace=pace, size=size, next_at=next_at)


def letters(*states: LetterState) -> list[Letter]:
    return [Letter(number=number, state=state) for number, state in enumerate(states, 1)]


def sent(seconds_ago: float = 1) -> Letter:
    return Letter(number=1, state=LetterState.SENT, since=NOW - timedelta(seconds=seconds_ago))


class TestPace:
    def test_batches_grow_up_to_the_most(self) -> None:
        sizes = [PACE.beginning()]
        for _ in range(5):
            sizes.append(PACE.after(sizes[-1]))

        assert sizes == [1, 2, 4, 8, 10, 10]

    def test_a_batch_is_a_seconds_worth_at_most(self) -> None:
        slow = replace(PACE, first=5, per_second=3.5)

        assert (slow.beginning(), slow.after(3)) == (3, 3)
        assert replace(PACE, per_second=0.5).after(1) == 1

    def test_a_factor_of_one_does_not_grow_and_any_more_does(self) -> None:
        assert replace(PACE, factor=1).after(3) == 3
        assert replace(PACE, factor=1.1).after(1) == 2

    @settings(deadline=None)
    @given(st.integers(1, 100), st.floats(1, 10), st.integers(1, 500), st.floats(0.1, 1000), st.integers(1, 500))
    def test_it_is_never_nothing_nor_more_than_the_most(
        self, first: int, factor: float, most: int, per_second: float, size: int
    ) -> None:
        pace = Pace(first=first, factor=factor, most=most, per_second=per_second)

        for found in (pace.beginning(), pace.after(size)):
            assert 1 <= found <= most


class TestBelieving:
    @pytest.mark.parametrize("state", [LetterState.SENDING, LetterState.SENT])
    def test_what_is_still_there_never_left(self, state: LetterState) -> None:
        letter = Letter(number=1, state=state, since=NOW)

        assert believe(letter, Sight(is_there=True, is_applied=True), NOW) == Letter(
            number=1, state=LetterState.SELECTED
        )

    @pytest.mark.parametrize("state", [LetterState.SENDING, LetterState.SENT])
    def test_what_left_is_judged_by_its_outcome(self, state: LetterState) -> None:
        letter = Letter(number=1, state=state, since=NOW)
        outcomes = (Sight(failed_again="bad", is_applied=True), Sight(is_applied=True), AWAY, Sight())

        believed = [believe(letter, sight, NOW + A_MOMENT).state for sight in outcomes]

        assert believed == [LetterState.FAILED_AGAIN, LetterState.APPLIED, LetterState.SENT, LetterState.SENT]

    @pytest.mark.parametrize("sight", [AWAY, Sight()])
    def test_nobody_waits_for_ever(self, sight: Sight) -> None:
        late = believe(sent(), sight, NOW + PATIENCE)

        assert late.state is LetterState.UNKNOWN
        assert late.detail

    def test_what_is_missed_for_a_while_is_gone(self) -> None:
        [selected] = letters(LetterState.SELECTED)

        missed = believe(selected, AWAY, NOW)
        back = believe(missed, THERE, NOW + A_MOMENT)
        gone = believe(missed, AWAY, NOW + MISSED_FOR + A_MOMENT)

        assert (missed.state, missed.since) == (LetterState.SELECTED, NOW)
        assert back == selected
        assert gone.state is LetterState.GONE

    @pytest.mark.parametrize(
        "state", [s for s in LetterState if s not in (LetterState.SELECTED, LetterState.SENDING, LetterState.SENT)]
    )
    @pytest.mark.parametrize("sight", [THERE, AWAY, Sight(failed_again="bad"), Sight(is_applied=True)])
    def test_what_has_ended_stays_so(self, state: LetterState, sight: Sight) -> None:
        [letter] = letters(state)

        assert believe(letter, sight, NOW) == letter


class TestPlanning:
    def test_the_next_batch_is_of_the_runs_size_and_the_one_after_it_larger(self) -> None:
        planned = plan(run_with(size=2), letters(*[LetterState.SELECTED] * 5), NOW)

        assert (planned.step, planned.batch, planned.run.size) == (Step.SEND, (1, 2), 4)
        assert planned.run.next_at == NOW + timedelta(seconds=2 / 50)

    def test_nothing_is_sent_while_an_outcome_is_awaited(self) -> None:
        planned = plan(run_with(), letters(LetterState.APPLIED, LetterState.SENT, LetterState.SELECTED), NOW)

        assert (planned.step, planned.batch) == (Step.AWAIT, ())
        assert planned.wait_s > 0

    def test_one_that_failed_again_stops_it_even_while_others_are_on_their_way(self) -> None:
        failed = Letter(number=2, state=LetterState.FAILED_AGAIN, detail="InvalidPayload: no id")

        planned = plan(run_with(), [sent(), failed, *letters(LetterState.SELECTED)], NOW)

        assert (planned.step, planned.batch) == (Step.STOPPED, ())
        assert (planned.run.state, planned.run.reason) == (RunState.STOPPED, "failed_again")
        assert planned.run.detail == "InvalidPayload: no id"

    def test_one_without_an_outcome_stops_it_too(self) -> None:
        planned = plan(run_with(), letters(LetterState.UNKNOWN, LetterState.SELECTED), NOW)

        assert (planned.run.state, planned.run.reason) == (RunState.STOPPED, "no_outcome")

    def test_the_rate_is_waited_for(self) -> None:
        planned = plan(run_with(next_at=NOW + A_MOMENT), letters(LetterState.SELECTED), NOW)

        assert (planned.step, planned.batch, planned.wait_s) == (Step.PACE, (), 1.0)

    def test_those_in_somebody_elses_hands_are_passed_over(self) -> None:
        missed = Letter(number=1, state=LetterState.SELECTED, since=NOW)

        assert plan(run_with(), [missed, Letter(number=2, state=LetterState.SELECTED)], NOW).batch == (2,)
        assert plan(run_with(), [missed], NOW).step is Step.MISSING

    @pytest.mark.parametrize("states", [(), (LetterState.APPLIED,), (LetterState.GONE, LetterState.APPLIED)])
    def test_it_is_done_when_none_is_left(self, states: tuple[LetterState, ...]) -> None:
        planned = plan(run_with(), letters(*states), NOW)

        assert (planned.step, planned.run.state, planned.run.reason) == (Step.DONE, RunState.DONE, None)

    def test_it_is_not_done_while_others_were_not_looked_at(self) -> None:
        planned = plan(run_with(), letters(LetterState.GONE), NOW, are_more=True)

        assert (planned.step, planned.run.state, planned.batch) == (Step.MISSING, RunState.RUNNING, ())

    def test_resumed_it_begins_with_one_again(self) -> None:
        stopped = replace(run_with(size=10), state=RunState.STOPPED, reason="failed_again", detail="bad")

        again = resumed(stopped, NOW + A_MOMENT)

        assert again == run_with(next_at=NOW + A_MOMENT)


class TestWhateverHappens:
    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from(["applied", "fails", "taken"]), min_size=1, max_size=20),
        st.lists(st.integers(0, 100), min_size=1, max_size=10),
    )
    def test_it_ends_and_no_batch_follows_one_that_failed(self, fates: list[str], deaths: list[int]) -> None:
        """Given drivers that die after some of a batch has moved, then each letter ends as its fate is, or is left."""
        run, now = run_with(), NOW
        held = letters(*[LetterState.SELECTED] * len(fates))
        gone = {number for number, fate in enumerate(fates, 1) if fate == "taken"}
        for turn in range(200):
            now += timedelta(seconds=6)
            held = [believe(letter, _seen(letter, fates[letter.number - 1], gone), now) for letter in held]
            planned = plan(run, held, now)
            run = planned.run
            if run.state is not RunState.RUNNING:
                break
            held = [replace(x, state=LetterState.SENDING, since=now) if x.number in planned.batch else x for x in held]
            dies_after = deaths[turn] if turn < len(deaths) else len(fates)
            gone |= set(planned.batch[:dies_after])

        failed = [letter for letter in held if letter.state is LetterState.FAILED_AGAIN]
        assert run.state is not RunState.RUNNING
        assert bool(failed) == (run.state is RunState.STOPPED)
        assert run.reason == ("failed_again" if failed else None)
        if run.state is RunState.DONE:
            ended = {LetterState.APPLIED: "applied", LetterState.GONE: "taken"}
            assert [ended[letter.state] for letter in held] == fates


def _seen(letter: Letter, fate: str, gone: set[int]) -> Sight:
    if letter.number not in gone:
        return THERE
    return Sight(failed_again="bad" if fate == "fails" else None, is_applied=fate == "applied")
