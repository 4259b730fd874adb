"""The arithmetic behind the figures: no stack, no load."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from benchmarks import cpu
from benchmarks.bench import ALL, per_order_ms
from benchmarks.phases import PHASES, chosen
from benchmarks.plots import charts, page
from benchmarks.preload import copying
from ops.distribution import milliseconds, percentile

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


FIGURES = {
    "saga_orders_per_s": 1234.5,
    "http_kept_up": True,
    "cpu_ms_per_order": {"gateway": 0.1, "order_service": 0.4, "postgres: psp": 0.3, "rabbitmq": 0.2, "all": 1.0},
    "naive_cpu_ms_per_order": {"naive_order": 5.0, "postgres: naive_order": 2.0, "elsewhere": 7.0, "all": 7.0},
}
RESULTS = {
    "figures": FIGURES,
    "details": {
        "latency": {
            "count": 200,
            "ms_by_percent": {"50.0": 20.0, "75.0": 25.0, "90.0": 30.0, "95.0": 31.0, "99.0": 80.0},
        },
        "http": {
            "ms_by_percent": {"50": 9, "75": 11, "90": 20, "95": 22, "99": 41, "99.9": 70, "99.99": 90},
            "per_second": {"second": [0, 1, 2], "placed": [400, 420, 30], "ended": [350, 430, 40]},
        },
        "growth": {
            "steps": [{"finished_orders": 1000, "grown_orders_per_s": 990, "empty_orders_per_s": 1000}],
        },
        "memory": {"samples": [{"gateway": 70.0, "psp": 50.0}, {"gateway": 71.0, "psp": 50.0}]},
    },
}


class TestPage:
    def test_the_page_says_what_the_results_beside_it_say(self) -> None:
        """Whoever changes a figure by hand, or forgets to make the page anew, hears of it here."""
        now, before = (json.loads(path.read_text()) if path.exists() else None for path in (page.RESULTS, page.BEFORE))
        written = page.PAGE.read_text(encoding="utf-8")

        assert page.filled(written, now, before) == written
        for name, svg in (page.drawn(now, before) if now else {}).items():
            assert (page.IMAGES / name).read_text(encoding="utf-8") == svg

    def test_without_results_it_says_so_and_nothing_else(self) -> None:
        text = "Before\n<!-- figures: summary -->\nold\n<!-- end -->\nAfter\n"

        assert page.filled(text, None, None) == text.replace("old", page.NOT_YET)

    def test_figures_stand_between_their_marks_whatever_stood_there(self) -> None:
        filled = page.filled("<!-- figures: summary -->\nold\n<!-- end -->\n", RESULTS, None)

        assert "| `saga_orders_per_s` | 1,234 |" in filled
        assert "old" not in filled

    def test_every_plot_is_a_document_of_its_own(self) -> None:
        drawn = page.drawn(RESULTS, RESULTS)

        names = ("latency", "throughput", "growth", "cost", "memory", "before-after")
        assert set(drawn) == {f"bench-{name}.svg" for name in names}
        for svg in drawn.values():
            assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own

    def test_parts_of_a_cost_are_grouped_without_what_is_not_ours(self) -> None:
        assert sum(charts._grouped(FIGURES["naive_cpu_ms_per_order"]).values()) == 7.0
        assert charts._grouped(FIGURES["cpu_ms_per_order"])["services"] == 0.4


class TestCopying:
    def test_a_copy_of_an_id_differs_at_its_beginning_only(self) -> None:
        """Ids of version 7 begin with their time: a copy's is the copy's time."""
        given = copying.parameters(newest_ms=0x0123456789AB, number=2, step=timedelta(milliseconds=5))

        assert given == {"slot": "0123456789a1", "back": "10 milliseconds"}

    @pytest.mark.parametrize(
        ("type_", "values", "ids", "expected"),
        [
            ("uuid", 5, 5, "id"),
            ("uuid", 0, 0, "plain"),
            ("text", 5, 5, "text"),
            ("text", 5, 4, "plain"),
            ("timestamp with time zone", 5, 0, "time"),
            ("jsonb", 5, 0, "json"),
            ("integer", 5, 0, "plain"),
        ],
    )
    def test_what_a_column_holds_follows_from_its_type_and_its_values(
        self, type_: str, values: int, ids: int, expected: str
    ) -> None:
        assert copying.kind_of(type_, values, ids) == expected
