"""`ordersaga dead-letters` against a gateway that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops import dead_letters, redriving
from ops.errors import StackError
from ops.operator_client import Refused

RUN = "01a21672-4c88-76b2-8f84-f0a60e1e06d6"
QUEUE = "order_service.PAYMENT_FAILED"
LETTER = {
    "id": "0f343b0931126a20f133d67c2b018a3b",
    "eventId": "e-1",
    "type": "PAYMENT_FAILED",
    "correlationId": "req-1",
    "reason": "invalid_payload",
    "error": "InvalidPayload: [no] id",
    "attempts": 0,
    "failedAt": "2026-01-01T12:00:00+00:00",
    "originQueue": QUEUE,
    "originExchange": "payment_service.events",
    "headers": {"schema_version": 1},
    "body": '{"reason": "[red]x[/red]"}',
    "bodyEncoding": "utf-8",
    "bodyBytes": 26,
}
NONE = dict.fromkeys(("selected", "sending", "sent", "applied", "failedAgain", "unknown", "gone", "leftOut"), 0)


def run(state: str, **letters: int) -> dict[str, Any]:
    return {
        "id": RUN,
        "state": state,
        "reason": "failed_again" if state == "STOPPED" else None,
        "detail": "InvalidPayload: no id" if state == "STOPPED" else None,
        "total": 3,
        "letters": NONE | letters,
        "createdBy": "ada",
        "createdAt": "2026-01-01T12:00:00.000000Z",
        "troubled": [{"eventId": "e-1", "destination": QUEUE, "detail": "bad"}] if state == "STOPPED" else [],
    }


def step(name: str, state: str, **letters: int) -> dict[str, Any]:
    return {"redrive": run(state, **letters), "step": name, "waitS": 0.0, "sent": 0}


class Gateway:
    """Answers by path; a list is answered one by one, an error raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("GET", path, query)

    def post(self, path: str, body: Any, **_: Any) -> Any:
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, said: Any) -> Any:
        self.asked.append((method, path, said))
        answer = self.answers[f"{method} {path}"]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def posts(self) -> list[tuple[str, Any]]:
        return [(path, body) for method, path, body in self.asked if method == "POST"]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway()
    queues = [{"queue": QUEUE, "event": "PAYMENT_FAILED", "depth": 1}, {"queue": "x.Y", "event": "Y", "depth": 0}]
    gateway.answers["GET /admin/dead-letters"] = {"consumers": [{"service": "order_service", "queues": queues}]}
    gateway.answers[f"GET /admin/dead-letters/{QUEUE}"] = {"queue": QUEUE, "matching": 1, "letters": [LETTER]}
    monkeypatch.setattr(dead_letters, "operator_client", lambda _stack: gateway)
    monkeypatch.setattr(redriving, "_PAUSE_S", 0.0)
    return gateway


@pytest.fixture
def play(gateway: Gateway) -> Callable[..., Result]:
    def play(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(dead_letters.commands, arguments, obj=None, **options)

    return play


def test_a_letter_is_shown_as_it_is(gateway: Gateway, play: Callable[..., Result]) -> None:
    shown = play("show", "an-order", "--error", "invalid_payload")

    assert shown.exit_code == 0, shown.output
    for words in ("e-1", "InvalidPayload: [no] id", "payment_service.events → ", '{"reason": "[red]x[/red]"}'):
        assert words in shown.stdout
    asked = gateway.asked[-1][2]
    assert (asked["text"], asked["error"], asked["skip"]) == ("an-order", "invalid_payload", 0)


def test_that_there_are_none_is_said_in_words(gateway: Gateway, play: Callable[..., Result]) -> None:
    gateway.answers["GET /admin/dead-letters"] = {"consumers": [], "groups": []}

    shown = play("list")

    assert shown.exit_code == 0, shown.output
    assert "no dead letters" in shown.output


class TestRedrive:
    def test_it_is_driven_to_its_end(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        gateway.answers["POST /admin/redrives"] = run("RUNNING", selected=3)
        gateway.answers[f"POST /admin/redrives/{RUN}/advance"] = [
            step("send", "RUNNING", sending=1),
            step("done", "DONE", applied=3),
        ]

        ended = play("redrive", "--error", "invalid_payload", "--rate", "5", "--yes", "--json")

        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.stdout)["state"] == "DONE"
        assert gateway.posts[0][1] == {
            "filter": {"error": "invalid_payload"},
            "pace": {"first": 1, "factor": 2.0, "most": 100, "perSecond": 5.0},
        }

    def test_nothing_moves_without_a_yes(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        gateway.answers["POST /admin/redrives"] = run("RUNNING", selected=3)
        gateway.answers[f"POST /admin/redrives/{RUN}/stop"] = run("STOPPED")

        refused = play("redrive", input="n\n")

        assert refused.exit_code == 1
        assert [path for path, _ in gateway.posts] == ["/admin/redrives", f"/admin/redrives/{RUN}/stop"]

    def test_stopped_it_says_why_and_how_to_go_on(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        gateway.answers["POST /admin/redrives"] = run("RUNNING", selected=3)
        gateway.answers[f"POST /admin/redrives/{RUN}/advance"] = step("stopped", "STOPPED", failedAgain=1)

        stopped = play("redrive", "--yes")

        assert stopped.exit_code == 1
        assert "InvalidPayload: no id" in stopped.stderr
        assert f"--resume {RUN}" in stopped.stderr

    def test_what_is_away_for_a_while_is_waited_for(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        gateway.answers[f"GET /admin/redrives/{RUN}"] = run("STOPPED")
        gateway.answers[f"POST /admin/redrives/{RUN}/resume"] = run("RUNNING", selected=3)
        gateway.answers[f"POST /admin/redrives/{RUN}/advance"] = [
            StackError("the gateway does not answer"),
            Refused("refused: 503 broker_unavailable", 503),
            step("done", "DONE", applied=3),
        ]

        assert play("redrive", "--resume", RUN).exit_code == 0

    def test_a_refusal_is_not(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        gateway.answers[f"GET /admin/redrives/{RUN}"] = run("RUNNING", selected=3)
        gateway.answers[f"POST /admin/redrives/{RUN}/advance"] = Refused("refused: 403 forbidden", 403)

        refused = play("redrive", "--resume", RUN)

        assert refused.exit_code == 1
        assert f"--resume {RUN}" in refused.stderr

    def test_a_dry_run_asks_for_all_and_sends_nothing(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        foreseen = {**LETTER, "destination": QUEUE, "verdict": "will_apply", "decision": "applied", "events": ["X"]}
        gateway.answers["POST /admin/redrives/dry-run"] = [
            {"matching": 2, "letters": [foreseen]},
            {"matching": 2, "letters": [{**foreseen, "verdict": "already_applied"}]},
        ]

        dry = play("redrive", "--dry-run", "--event", "PAYMENT_FAILED")

        assert dry.exit_code == 0, dry.output
        assert "1 already applied, 1 will apply" in dry.stderr
        assert [body["skip"] for _, body in gateway.posts] == [0, 1]


class TestDiscard:
    def test_it_needs_a_note(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        assert play("discard", "--yes").exit_code == 2
        assert gateway.asked == []

    def test_exactly_those_that_were_counted_go(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        place = f"/admin/dead-letters/{QUEUE}/discard"
        gateway.answers[f"POST {place}"] = {"queue": QUEUE, "count": 1, "done": 1, "eventIds": ["e-1"], "stopped": None}

        gone = play("discard", "--note", "test data", input="y\n")

        assert gone.exit_code == 0, gone.output
        assert gateway.posts == [(place, {"ids": [LETTER["id"]], "note": "test data"})]

    def test_no_is_no(self, gateway: Gateway, play: Callable[..., Result]) -> None:
        assert play("discard", "--note", "test data", input="n\n").exit_code == 1
        assert gateway.posts == []
