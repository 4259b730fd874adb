"""The long demo tells what it saw, goes on when a flow breaks, fails when anything differs, and tidies up."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from ops import full_demo
from ops.gateway_client import Answer, GatewayClient, Refused
from ops.psp_client import PspClient
from ops.scenarios import script as scripts
from ops.scenarios.script import Finding, Flow, NotSeen, Script
from ops.scenarios.stage import Stage
from ops.stack import Stack

ORDER = {"status": "CANCELLED", "reason": "timeout", "timeline": [{"type": "ORDER_CREATED"}], "payment": None}


class FakeClient:
    """Answers from a list, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def get(self, path: str) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeStack:
    """Remembers with which settings it was brought up."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self.ups: list[Mapping[str, str]] = []

    def up(self, *, settings: Mapping[str, str], external: Mapping[str, str]) -> bool:
        self.ups.append(settings)
        return True

    def is_up(self) -> bool:
        return True

    def environment(self) -> Mapping[str, str]:
        return self._environment


def stage() -> Stage:
    return Stage(stack=cast(Stack, None), provider=cast(PspClient, None))


def script(*answers: Any, patience_s: float = 0.0) -> Script:
    return Script(name="s", client=cast(GatewayClient, FakeClient(*answers)), stage=stage(), patience_s=patience_s)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def output(console: Console) -> str:
    return cast(io.StringIO, console.file).getvalue()


class TestScript:
    def test_what_was_expected_is_compared_as_it_is_shown(self) -> None:
        played = script()
        played.expect("orders", 1, 1)
        assert played.is_as_expected
        played.expect("status", "CONFIRMED", "CANCELLED")
        assert not played.is_as_expected
        assert played.findings[-1] == Finding(what="status", expected="CONFIRMED", seen="CANCELLED")

    def test_a_flow_that_found_nothing_out_is_not_as_expected(self) -> None:
        assert not script().is_as_expected

    def test_who_is_down_is_asked_again_who_refuses_is_not(self) -> None:
        away = Refused(503, {"code": "service_unavailable"})
        assert script(away, OSError("reset"), ORDER, patience_s=5.0).get("/orders/1") == ORDER
        with pytest.raises(Refused):
            script(Refused(404, {"code": "order_not_found"}), patience_s=5.0).get("/orders/1")

    def test_a_wait_in_vain_says_for_what(self) -> None:
        with pytest.raises(NotSeen, match=r"it is PAID \(it is CANCELLED \(timeout\)\)"):
            script(ORDER).order_when("1", lambda order: False, "it is PAID")

    def test_a_wait_ends_when_everything_is_called_off(self) -> None:
        played = script(patience_s=60.0)
        played.stage.call_off()
        with pytest.raises(NotSeen, match="called off"):
            played.until(lambda: False, "the end of time")
        assert played.stage.payments_are_in.is_set()


def test_answers_and_charges_in_words() -> None:
    attempts = [
        {"kind": "CHARGE", "status": "SUCCEEDED", "reason": None, "startedAt": "2", "endedAt": "3"},
        {"kind": "REFUND", "status": "SUCCEEDED", "reason": None, "startedAt": "4", "endedAt": "5"},
        {"kind": "CHARGE", "status": "FAILED", "reason": "card_declined", "startedAt": "1", "endedAt": "2"},
    ]
    payment = {"status": "SUCCEEDED", "refunded": "0.00", "amount": "10.00", "attempts": attempts}

    assert scripts.charges(payment) == "card_declined, SUCCEEDED"
    assert len(scripts.ended_charges(payment)) == 2
    assert scripts.money(payment) == "SUCCEEDED, 0.00 of 10.00 refunded"
    assert Answer(status=202, body={}, headers={}).words == "202"
    assert Answer(status=409, body={"code": "out_of_stock"}, headers={}).words == "409 out_of_stock"


def _good(played: Script) -> None:
    played.expect("all", "well", "well")


def _raises(error: Exception) -> Callable[[Script], None]:
    def play(played: Script) -> None:
        raise error

    return play


@pytest.mark.parametrize(
    "error",
    [NotSeen("not within 60 s"), Refused(500, {"code": "internal_error"}), OSError("gone"), KeyError("payment")],
)
def test_a_flow_that_breaks_is_a_finding_and_the_others_go_on(console: Console, error: Exception) -> None:
    flows = (Flow(name="broken", play=_raises(error)), Flow(name="good", play=_good))

    played = full_demo.Performance(cast(GatewayClient, None), stage(), console).play_together(flows, 1, 1.0)

    assert [(p.name, p.is_as_expected) for p in played] == [("broken", False), ("good", True)]
    assert type(error).__name__ in played[0].findings[-1].seen


def test_leaving_early_calls_everything_off(console: Console) -> None:
    on = stage()

    def interrupted(played: Script) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full_demo.Performance(cast(GatewayClient, None), on, console).play_together(
            (Flow(name="interrupted", play=interrupted),), 1, 1.0
        )
    assert on.is_called_off


@pytest.mark.parametrize(
    ("plays", "broken", "code"),
    [
        ((_good,), [], 0),
        ((_good, _raises(NotSeen("late"))), [], 1),
        ((_good,), ["1 orders that have not ended: 7 PENDING"], 1),
    ],
)
def test_the_exit_code_says_whether_all_was_as_expected(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    console: Console,
    plays: tuple[Callable[[Script], None], ...],
    broken: list[str],
    code: int,
) -> None:
    for name in ("LONG", "LONGEST", "QUICK"):
        monkeypatch.setattr(full_demo, name, ())
    quick = tuple(Flow(name=f"flow {number}", play=play) for number, play in enumerate(plays))
    monkeypatch.setattr(full_demo, "QUICK", quick)
    monkeypatch.setattr(full_demo, "LONG", (Flow(name="long", play=_good),))
    monkeypatch.setattr(full_demo, "LAST", ())
    monkeypatch.setattr(full_demo.silence, "WITH_FLAGS", (Flow(name="flags", play=_good),))
    monkeypatch.setattr(full_demo, "prove", lambda environment, console: broken)
    monkeypatch.setattr(full_demo, "show_where_to_look", lambda console, stack: None)
    stack = FakeStack(tmp_path, {"GATEWAY_URL": "http://127.0.0.1:1", "PSP_URL": "http://127.0.0.1:2"})

    assert full_demo.run(cast(Stack, stack), console, {}) == code

    assert stack.ups[0] == full_demo.SHORT_DEADLINES
    assert set(stack.ups[-1].values()) == {""}, "the stack has its usual deadlines again"
    for line in broken:
        assert line in output(console)


def test_names_of_flows_are_told_apart() -> None:
    acts = [flow for act in full_demo.LAST for flow in act]
    flows = [*full_demo.LONG, *full_demo.LONGEST, *full_demo.QUICK, *acts]

    assert len({flow.name for flow in flows}) == len(flows)
