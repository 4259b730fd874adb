"""`ordersaga finance`: what it asks for, what it shows, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.openapi_examples import ANSWERS
from ops import finance
from ops.cli import main
from ops.errors import StackError

[VIEW] = ANSWERS["showFinance"].values()
[ROW] = VIEW["rows"]
[DIFFERENCE] = VIEW["differences"]["orders"]
NONE = {"certain": 0, "uncertain": 0, "isCut": False, "orders": []}
DAYS = {"from": "2026-01-01", "to": "2026-01-31"}


class Gateway:
    """Answers one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, {name: value for name, value in query.items() if value is not None}))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


Run = Callable[..., tuple[Gateway, Result]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def play(*arguments: str, answers: tuple[Any, ...]) -> tuple[Gateway, Result]:
        gateway = Gateway(*answers)
        monkeypatch.setattr(finance, "operator_client", lambda _stack: gateway)
        return gateway, CliRunner().invoke(main, ["--stack", str(tmp_path), "finance", *arguments])

    return play


def view(verdict: str = "agrees", *, unbalanced: int = 0, **changes: Any) -> dict[str, Any]:
    """Nothing differs, unless ``changes`` say so."""
    books = {**VIEW["reconciliation"], "verdict": verdict, "meaning": f"it {verdict}", "unbalanced": unbalanced}
    return {**VIEW, "differences": NONE, "reconciliation": books, **changes}


@pytest.mark.parametrize(
    ("seen", "exit_code"),
    [
        (view(), 0),
        (view("behind"), 0),
        (view(differences={**NONE, "uncertain": 1}), 0),
        (view("differs"), 5),
        (view(unbalanced=1), 5),
        (view(differences={**NONE, "certain": 1}), 5),
        (view("unknown"), 6),
        (view(isStale=True), 6),
        (view(isWhole=False), 6),
        (view("differs", isStale=True), 5),
        (view("unknown", unbalanced=1), 5),
        (view("unknown", differences={**NONE, "certain": 1}, isWhole=False), 5),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_how_it_ends(run: Run, options: tuple[str, ...], seen: dict[str, Any], exit_code: int) -> None:
    """What differs counts also where the view is old."""
    assert run(*options, answers=(seen,))[1].exit_code == exit_code


def test_where_there_is_no_view_it_says_so(run: Run) -> None:
    _, result = run(answers=(StackError("refused: 503 finance_view_off: there is none"),))
    assert (result.exit_code, "finance_view_off" in result.stderr, result.stdout) == (1, True, "")


class TestAsking:
    def test_nothing_is_chosen_that_nobody_named(self, run: Run) -> None:
        gateway, _ = run(answers=(view(),))
        assert gateway.asked == [("/admin/finance", {"limit": 100})]

    def test_filters_are_passed_on(self, run: Run) -> None:
        options = ("--from", "2026-01-30", "--to", "2026-01-31", "--seller", "potter", "--currency", "EUR")
        gateway, _ = run(*options, answers=(view(),))
        wanted = {"from": "2026-01-30", "to": "2026-01-31", "seller": "potter", "currency": "EUR", "limit": 100}
        assert gateway.asked == [("/admin/finance", wanted)]

    def test_further_pages_are_of_the_first_ones_days(self, run: Run) -> None:
        """Midnight may have come: the later pages know other days."""
        later = {"from": "2026-01-02", "to": "2026-02-01", "rows": [{**ROW, "sellerId": "weaver"}]}
        pages = (view(nextCursor="c"), view("differs", **later, nextCursor="d"), view(**later))
        gateway, result = run("--seller", "potter", "--json", answers=pages)

        assert [query for _, query in gateway.asked] == [
            {"seller": "potter", "limit": 100},
            {**DAYS, "seller": "potter", "limit": 100, "cursor": "c"},
            {**DAYS, "seller": "potter", "limit": 100, "cursor": "d"},
        ]
        said = json.loads(result.stdout)
        assert [row["sellerId"] for row in said["rows"]] == ["potter", "weaver", "weaver"]
        assert (said["from"], said["nextCursor"], result.exit_code) == ("2026-01-01", None, 0)


def test_json_is_what_the_gateway_said(run: Run) -> None:
    assert json.loads(run("--json", answers=(VIEW,))[1].stdout) == VIEW


class TestScreen:
    def lines(self, run: Run, seen: dict[str, Any]) -> list[str]:
        return [" ".join(line.split()) for line in run(answers=(seen,))[1].stdout.splitlines()]

    def test_age_figures_and_ledger(self, run: Run) -> None:
        assert self.lines(run, view("behind")) == [
            "as of 2026-01-31T12:00:10.000000Z, 1.2 s old",
            "day seller orders ordered not captured revenue refunds net",
            "2026-01-31 potter 2 30.00 10.00 20.00 5.00 15.00 EUR",
            "all 2 30.00 10.00 20.00 5.00 15.00 EUR",
            "EUR captured ledger 30.00 view 20.00 missing now 10.00, of it really 0.00",
            "EUR refunded ledger 5.00 view 5.00 missing now 0.00, of it really 0.00",
            "against the ledger, 1.2 s behind: behind: it behind",
        ]

    def test_a_view_that_is_old_or_lost_something_says_so(self, run: Run) -> None:
        stream = {**VIEW["stream"], "unreadable": 3}
        first, second, third, *_ = self.lines(run, view(isStale=True, isWhole=False, stream=stream))
        assert first.endswith("1.2 s old: stale")
        assert second.startswith("changes were lost before they were read: `ordersaga cdc snapshot`")
        assert third.startswith("3 messages could not be read")

    def test_where_nothing_is_known_no_age_is_made_up(self, run: Run) -> None:
        books = {**view("unknown")["reconciliation"], "lagS": None, "lines": [], "trouble": "[payment] is silent"}
        lines = self.lines(run, view(asOf=None, ageS=None, rows=[], totals=[], reconciliation=books))
        assert lines == [
            "nothing is known yet: have changes been captured?",
            "nothing was ordered and no money moved from 2026-01-01 to 2026-01-31",
            "against the ledger: unknown: it unknown ([payment] is silent)",
        ]

    def test_orders_that_do_not_fit_certain_or_not(self, run: Run) -> None:
        unknown = {**DIFFERENCE, "isCertain": True, "orderStatus": None, "price": None, "paymentStatus": None}
        found = {**NONE, "certain": 1, "uncertain": 1, "orders": [unknown, DIFFERENCE]}
        shown = [line for line in self.lines(run, view(differences=found)) if DIFFERENCE["orderId"] in line]
        assert [line[0] for line in shown] == ["✗", "·"]
        assert "order unknown, payment none, captured" in shown[0]
        assert "payment none, captured 0.00" in shown[0]
        assert "order CONFIRMED 10.00, payment PENDING, captured 0.00, refunded 0.00, ledger 0.00" in shown[1]
        assert "1 of these may be explained by what is still on its way" in self.lines(run, view(differences=found))

    def test_a_ledger_that_does_not_balance(self, run: Run) -> None:
        assert "2 transactions of the ledger do not add up to nothing" in self.lines(run, view(unbalanced=2))

    def test_rows_without_a_seller_and_names_that_are_markup(self, run: Run) -> None:
        rows = [{**ROW, "sellerId": None}, {**ROW, "sellerId": "[red]shop[/red]"}]
        shown = "\n".join(self.lines(run, view(rows=rows)))
        assert "2026-01-31 unknown 2" in shown
        assert "[red]shop[/red] 2" in shown
