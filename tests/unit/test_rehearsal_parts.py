"""Rehearsals: what is counted, what is foretold and what became of it; wrong foretellings do not pass."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from ops.books import Books
from ops.cli import main
from ops.errors import StackError
from ops.gateway_client import GatewayClient
from ops.operator_client import OperatorClient
from ops.psp_client import PspClient
from ops.rehearsals import running
from ops.rehearsals.auditing import Audit, kind_of
from ops.rehearsals.catalogue import REHEARSALS
from ops.rehearsals.crowd import Granted, latency_row, statuses
from ops.rehearsals.figures import Figure, samples_in, values_of
from ops.rehearsals.measuring import change_of, depths, titles
from ops.rehearsals.options import Option, Options, chosen
from ops.rehearsals.oversell import settings as settings_of_oversell
from ops.rehearsals.playing import Play
from ops.rehearsals.psp_timeout import settings as settings_of_psp_timeout
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless, hurts
from ops.rehearsals.report import Report
from ops.rehearsals.running import rehearse
from ops.rehearsals.screen import Screen
from ops.scenarios.stage import Stage
from ops.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
NONE = Options(values={})
METRICS = """
# TYPE ordersaga_events_dead_lettered_total counter
ordersaga_events_dead_lettered_total{event="A",code="x"} 2.0
ordersaga_events_dead_lettered_total{event="B",code="x"} 3.0
ordersaga_events_dead_lettered_total{event="B",code="y"} 4.0
# TYPE payment_failure_rate gauge
payment_failure_rate 0.25
payment_failure_rate{replica="2"} 0.5
payment_failure_rate{replica="3"} +Inf
"""


class FakeOperator:
    """Remembers which switches are on."""

    def __init__(self) -> None:
        self.on: list[str] = []
        self.gone = False

    def get(self, path: str) -> Any:
        return {"switches": [{"kind": "psp_decline", "target": "psp"}] if self.on else []}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.on.append("s1")
        return {"id": "s1", **body, "until": "2030-01-01T00:00:00Z"}

    def delete(self, path: str) -> Any:
        if self.gone:
            raise StackError("the gateway does not answer")
        self.on.remove(path.rpartition("/")[2])
        return {}


class FakeClient:
    """A gateway whose services say that the trouble bites."""

    def get(self, path: str) -> Any:
        return {"chaos": [{"kind": "consumer_delay", "target": "order_service"}]}


def screen() -> Screen:
    return Screen(Console(file=io.StringIO(), width=200))


def said(shown: Screen) -> str:
    return cast(io.StringIO, shown._console.file).getvalue()


def a_play(operator: FakeOperator | None = None, teller: Screen | None = None) -> Play:
    return Play(
        name="r",
        client=cast(GatewayClient, FakeClient()),
        stage=Stage(stack=cast(Stack, None), provider=cast(PspClient, None)),
        options=NONE,
        environment={},
        external={},
        operator=cast(OperatorClient, operator or FakeOperator()),
        books=cast(Books, None),
        teller=teller or screen(),
    )


def a_rehearsal(play: Any = lambda play: harmless("nothing happened"), foretold: Ending = Ending.HARMLESS) -> Rehearsal:
    place = Place(where="UI", what="queues")
    return Rehearsal(name="r", what="it is played", why="to see", watch=(place,), foretold=foretold, play=play)


def a_report(
    concluded: Conclusion | None, *, foretold: Ending = Ending.HARMLESS, broken: Sequence[str] = (), ok: bool = True
) -> Report:
    play = a_play()
    play.expect("orders", 1, 1 if ok else 2)
    return Report(
        rehearsal=a_rehearsal(foretold=foretold),
        options=NONE,
        play=play,
        before={"orders CONFIRMED": 1, "captured EUR": Decimal("1.00")},
        after={"orders CONFIRMED": 2, "captured EUR": Decimal("3.50"), "dead letters": 0},
        concluded=concluded,
        broken=broken,
        took_s=1.0,
    )


class TestVerdict:
    def test_as_foretold(self) -> None:
        good, bad = a_report(harmless("7 sold of 7")), a_report(hurts("2 stood still"), foretold=Ending.HURTS)

        assert (good.exit_code, good.conclusion.verdict) == (0, "VERDICT: harmless: 7 sold of 7")
        assert (bad.exit_code, bad.conclusion.verdict) == (
            0,
            "VERDICT: hurts: 2 stood still, and this is how it looks",
        )

    @pytest.mark.parametrize(
        "report",
        [
            a_report(harmless("all well"), foretold=Ending.HURTS),
            a_report(hurts("it broke")),
            a_report(harmless("all well"), ok=False),
            a_report(harmless("all well"), broken=["1 orders whose money is wrong: 7"]),
            a_report(None),
        ],
        ids=["harmless, not hurts", "hurts, not harmless", "a difference", "an invariant", "no end"],
    )
    def test_not_as_foretold(self, report: Report) -> None:
        assert report.exit_code == 1
        assert not report.document()["asForetold"]

    def test_what_differs_is_in_the_verdict(self) -> None:
        report = a_report(harmless("all well"), ok=False, broken=["1 orders whose money is wrong: 7"])

        words = "VERDICT: hurts: not as foretold (orders: expected 1, seen 2; 1 orders whose money is wrong: 7)"
        assert report.conclusion.verdict == f"{words}, and this is how it looks"

    def test_the_document_is_json_and_money_stays_exact(self) -> None:
        metrics = json.loads(json.dumps(a_report(harmless("x")).document()))["metrics"]

        assert metrics["captured EUR"] == {"before": "1.00", "after": "3.50", "change": "2.50"}
        assert metrics["orders CONFIRMED"]["change"] == 1

    def test_the_screen_shows_what_was_counted_and_ends_with_the_verdict(self) -> None:
        shown = screen()
        shown.closing(a_report(harmless("7 sold of 7")))

        [row] = [line for line in said(shown).splitlines() if "captured EUR" in line]
        assert re.findall(r"[+-]?[0-9.]+", row) == ["1.00", "3.50", "+2.50"]
        assert "dead letters" not in said(shown), "0 before and after is left out"
        assert "VERDICT: harmless: 7 sold of 7" in said(shown)


class TestCounting:
    def test_figures_are_summed_over_series_and_processes_gauges_are_not(self) -> None:
        dead = Figure(name="ordersaga_events_dead_lettered_total", labels={"code": "x"})
        rate = Figure(name="payment_failure_rate", is_gauge=True)
        never = Figure(name="never_told")

        assert values_of((dead, rate, never), list(samples_in(METRICS))) == {
            'ordersaga_events_dead_lettered_total{code="x"}': 5.0,
            "payment_failure_rate": 0.5,
            "never_told": 0.0,
        }

    def test_queues_by_what_they_are_for(self) -> None:
        found = depths(
            {
                "order_service.PAYMENT_SUCCESS": 3,
                "order_service.PAYMENT_SUCCESS.dead": 2,
                "order_service.INVENTORY_RESERVED.dead": 0,
                "payment_service.retry.5s": 1,
            }
        )

        assert found == {
            "messages in work queues": 3,
            "messages in retry queues": 1,
            "dead letters": 2,
            "dead letters order_service.PAYMENT_SUCCESS.dead": 2,
        }

    def test_what_is_only_there_before_or_afterwards_is_shown_with_its_like(self) -> None:
        before = {"orders PENDING": 1, "stock on hand": 5}
        after = {"orders CONFIRMED": 1, "stock on hand": 4, "orders CANCELLED": 1}

        assert titles(before, after) == ["orders CONFIRMED", "orders CANCELLED", "orders PENDING", "stock on hand"]
        assert change_of(before, after, "orders PENDING") == -1

    def test_latencies_and_answers(self) -> None:
        granted = [Granted(status=202, body=b"{}", waited_ms=float(ms), requests=1) for ms in range(1, 101)]
        refused = Granted(status=409, body=b'{"code": "out_of_stock"}', waited_ms=1.0, requests=1)

        assert latency_row("all", [one.waited_ms for one in granted]) == ["all", "100", "50", "95", "99", "100"]
        assert latency_row("none", [])[1:3] == ["0", "-"]
        assert statuses([*granted, refused]) == {"202": 100, "409 out_of_stock": 1}


class TestAudit:
    def test_only_what_is_newly_broken_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = ["2 unpublished events in the outbox of order: A 1, B 2"]
        monkeypatch.setattr("ops.rehearsals.auditing.violations", lambda _books: found)
        monkeypatch.setattr("ops.rehearsals.auditing.open_work", lambda _books: OPEN)
        audit = Audit(cast(Books, None))

        found.append("1 orders whose money is wrong: 7: price 1")
        found[0] = "3 unpublished events in the outbox of order: A 1, B 2, C 3"
        monkeypatch.setattr("ops.rehearsals.auditing._DELIVERY_S", 0.0)

        assert audit.broken(settle_s=0.0) == ["1 orders whose money is wrong: 7: price 1"]

    def test_a_kind_is_what_is_the_same_whatever_the_numbers(self) -> None:
        assert kind_of("12 orders that have not ended: a PENDING") == "orders that have not ended"


class _Open:
    orders = attempts = unpublished = 0


OPEN = _Open()


class TestTrouble:
    def test_it_is_on_within_the_block_and_off_afterwards(self) -> None:
        operator = FakeOperator()
        play = a_play(operator)

        def interrupted() -> None:
            with play.trouble("consumer_delay", "order_service", at_most_s=60, amount=1):
                assert operator.on == ["s1"]
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()

        assert operator.on == []
        assert [step.text for step in play.steps] == [
            "chaos on: consumer_delay of order_service",
            "chaos off: consumer_delay of order_service",
        ]

    def test_one_that_cannot_be_ended_says_when_it_ends_and_hides_no_other_error(self) -> None:
        operator = FakeOperator()
        play = a_play(operator)

        def broken() -> None:
            with play.trouble("consumer_delay", "order_service", at_most_s=60, amount=1):
                operator.gone = True
                raise LookupError

        with pytest.raises(LookupError):
            broken()

        assert "it ends at 2030-01-01T00:00:00Z" in play.steps[-1].text


def test_what_is_given_counts_before_short_and_usual() -> None:
    options = tuple(
        Option(name=name, usual=100, short=10, least=1, most=1000, meaning="") for name in ("count", "seconds")
    )

    assert chosen(options, {}, is_short=False).values == {"count": 100, "seconds": 100}
    assert chosen(options, {"count": 5, "seconds": None}, is_short=True).values == {"count": 5, "seconds": 10}


def test_settings_are_changed_only_where_they_have_to_be() -> None:
    assert settings_of_psp_timeout(Options(values={"limit": 30})) == {}
    assert settings_of_psp_timeout(Options(values={"limit": 4})) == {"PSP_LIMIT_S": "4", "PSP_CALL_TIMEOUT_S": "2"}
    assert settings_of_oversell(Options(values={"ttl": 120})) == {"RESERVATION_TTL_S": "120"}
    # A charge begins only if it can end 5 s before the reservation does.
    assert settings_of_oversell(Options(values={"ttl": 12})) == {"RESERVATION_TTL_S": "12", "PSP_LIMIT_S": "3.5"}


class FakeStack:
    """Up, with nothing in it."""

    def __init__(self) -> None:
        self.folder = Path("/nowhere")

    def environment(self) -> Mapping[str, str]:
        return {"PSP_URL": "http://127.0.0.1:2", "GATEWAY_URL": "http://127.0.0.1:1"}


@contextmanager
def _house(stack: Stack, _external: Mapping[str, str], _say: Any) -> Iterator[Stack]:
    yield stack


@contextmanager
def _no_books(_environment: Mapping[str, str]) -> Iterator[Any]:
    yield None


class FakeAudit:
    known: frozenset[str] = frozenset()

    def __init__(self, _books: Any) -> None:
        pass

    def broken(self) -> list[str]:
        return []


class TestRunning:
    @pytest.fixture(autouse=True)
    def _nothing_real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operator = FakeOperator()
        monkeypatch.setattr(running, "Books", _no_books)
        monkeypatch.setattr(running, "Audit", FakeAudit)
        monkeypatch.setattr(running, "measure", lambda *_: {"orders CONFIRMED": 1})
        monkeypatch.setattr(running, "client_of", lambda _environment: FakeClient())
        monkeypatch.setattr(running, "OperatorClient", lambda _client: self.operator)

    def rehearsed(self, play: Any, foretold: Ending = Ending.HARMLESS) -> Report:
        rehearsal = Rehearsal(**{**_fields(a_rehearsal(play, foretold)), "house": _house})
        return rehearse(rehearsal, cast(Stack, FakeStack()), NONE, screen(), {})

    def test_a_play_that_breaks_is_not_as_foretold(self) -> None:
        def breaks(_play: Play) -> Conclusion:
            raise LookupError("payment")

        report = self.rehearsed(breaks)

        assert report.exit_code == 1
        assert "LookupError" in report.conclusion.verdict

    def test_a_wrong_foretelling_is_found_out(self) -> None:
        assert self.rehearsed(lambda _play: harmless("x")).exit_code == 0
        assert self.rehearsed(lambda _play: harmless("x"), Ending.HURTS).exit_code == 1

    def test_beside_somebody_elses_trouble_nothing_is_rehearsed(self) -> None:
        self.operator.on = ["theirs"]
        with pytest.raises(StackError, match="psp_decline of psp"):
            self.rehearsed(lambda _play: harmless("x"))
        assert self.operator.on == ["theirs"]

    def test_sigterm_tidies_up_like_ctrl_c_and_then_means_what_it_meant_before(self) -> None:
        def ended(play: Play) -> Conclusion:
            with play.trouble("consumer_delay", "order_service", at_most_s=60, amount=1):
                os.kill(os.getpid(), signal.SIGTERM)
                play.wait(5.0, "the signal")
            return harmless("x")

        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            self.rehearsed(ended)

        assert self.operator.on == []
        assert signal.getsignal(signal.SIGTERM) is before


def _fields(rehearsal: Rehearsal) -> dict[str, Any]:
    return {name: getattr(rehearsal, name) for name in rehearsal.__dataclass_fields__}


class TestCatalogue:
    def test_names_are_told_apart_and_each_says_where_to_look(self) -> None:
        names = [rehearsal.name for rehearsal in REHEARSALS]

        assert len(set(names)) == len(names)
        assert all(len(rehearsal.watch) >= 3 for rehearsal in REHEARSALS)

    @pytest.mark.parametrize("rehearsal", REHEARSALS, ids=lambda rehearsal: rehearsal.name)
    def test_each_is_a_script_and_a_command_that_says_what_it_takes(self, rehearsal: Rehearsal) -> None:
        script = ROOT / "scripts" / f"{rehearsal.name}.py"
        assert os.access(script, os.X_OK)
        assert f'["scenario", "{rehearsal.name}", *sys.argv[1:]]' in script.read_text(encoding="utf-8")

        told = CliRunner().invoke(main, ["scenario", rehearsal.name, "--help"])

        assert told.exit_code == 0
        for option in ("short", "json", *(option.name for option in rehearsal.options)):
            assert f"--{option}" in told.output
        for option in rehearsal.options:
            assert option.least <= option.short <= option.most
            assert option.least <= option.usual <= option.most

    def test_there_is_no_script_of_something_else(self) -> None:
        scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
        assert scripts == {rehearsal.name for rehearsal in REHEARSALS}

    def test_the_list_names_each(self) -> None:
        told = CliRunner().invoke(main, ["scenario", "--list"])
        assert told.exit_code == 0
        assert all(rehearsal.name in told.output for rehearsal in REHEARSALS)

    def test_without_a_stack_it_says_what_to_do(self, tmp_path: Path) -> None:
        told = CliRunner().invoke(main, ["--stack", str(tmp_path), "scenario", "inventory_shortage"])
        assert told.exit_code == 1
        assert "ordersaga up" in told.stderr
