"""The arithmetic behind the figures: no stack, no load."""

from __future__ import annotations

import os

import pytest

from benchmarks import cpu
from benchmarks.bench import ALL, per_order_ms
from benchmarks.distribution import milliseconds, percentile
from benchmarks.phases import PHASES, chosen

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def reading(machine: int, postgres: int, sessions: dict[tuple[int, int], tuple[str, int]]) -> cpu.Reading:
    return cpu.Reading(components={"gateway": 5, "postgres": postgres}, sessions=sessions, machine=machine)


class TestCpuTime:
    def test_time_of_sessions_goes_to_their_database_and_the_rest_to_those_that_ended(self) -> None:
        """Given a session that was there before, one that is new, and one that has ended meanwhile."""
        before = reading(1000, 100, {(1, 7): ("postgres: order_service", 40), (2, 8): ("postgres: psp", 10)})
        after = reading(2000, 300, {(1, 7): ("postgres: order_service", 90), (3, 9): ("postgres: order_service", 30)})

        spent_s = cpu.spent_s(before, after)

        assert spent_s["postgres: order_service"] == (50 + 30) / TICKS_PER_S
        assert spent_s["postgres: ended sessions"] == (200 - 80) / TICKS_PER_S
        assert spent_s["gateway"] == 0
        assert sum(spent_s.values()) == pytest.approx(1000 / TICKS_PER_S)

    def test_a_number_that_another_process_got_is_not_the_old_session(self) -> None:
        before = reading(0, 100, {(1, 7): ("postgres: psp", 90)})
        after = reading(0, 120, {(1, 8): ("postgres: psp", 15)})

        assert cpu.spent_s(before, after)["postgres: psp"] == 15 / TICKS_PER_S

    def test_what_else_the_machine_did_is_not_the_cost_of_an_order(self) -> None:
        cost = per_order_ms({"gateway": 1.0, "psp": 0.5, cpu.ELSEWHERE: 9.0}, orders=1000)

        assert cost == {"gateway": 1.0, "psp": 0.5, cpu.ELSEWHERE: 9.0, ALL: 1.5}


class TestPercentiles:
    @pytest.mark.parametrize(("share", "expected"), [(0, 1), (50, 50), (99, 99), (99.9, 100), (100, 100)])
    def test_is_the_smallest_value_that_so_many_do_not_exceed(self, share: float, expected: float) -> None:
        assert percentile([float(number) for number in range(1, 101)], share) == expected

    def test_of_a_single_value_is_that_value(self) -> None:
        assert milliseconds("wait", [3.0]) == {"wait_ms_p50": 3.0, "wait_ms_p99": 3.0}


class TestPhases:
    def test_what_a_phase_needs_comes_along_and_before_it(self) -> None:
        assert [phase.name for phase in chosen(["loaded"])] == ["http", "loaded"]

    def test_without_a_choice_all_run(self) -> None:
        assert chosen([]) == list(PHASES)

    def test_every_need_is_a_phase_that_runs_before(self) -> None:
        names = [phase.name for phase in PHASES]
        for phase in PHASES:
            assert set(phase.needs) <= set(names[: names.index(phase.name)])
