"""`ordersaga chaos`: what it refuses by itself, what it asks the gateway, and what it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops import chaos
from ops.cli import main
from shared.chaos.kinds import KINDS

SWITCH = {
    "id": "01a214ee-d001-7c1f-8a51-2f6f8d0b7b11",
    "service": "payment_service",
    "kind": "psp_failure",
    "target": "psp",
    "amount": 0.5,
    "note": "a [rehearsal]",
    "setBy": "operator",
    "setAt": "2026-01-31T12:00:00Z",
    "until": "2026-01-31T12:05:00Z",
    "remainingS": 299.6,
}


class Client:
    """Answers as a gateway with ``switches`` on; remembers what was sent."""

    def __init__(self, *switches: dict[str, Any]) -> None:
        self.switches = list(switches)
        self.sent: list[tuple[Any, ...]] = []
        self.unanswered: list[str] = []

    def get(self, path: str) -> Any:
        behaviour = [{"name": "latency_ms", "value": 5, "default": 0}]
        return {"behaviour": behaviour, "switches": self.switches, "unanswered": self.unanswered}

    def post(self, path: str, body: Any) -> Any:
        self.sent.append(("POST", path, body))
        return SWITCH

    def delete(self, path: str) -> Any:
        self.sent.append(("DELETE", path))
        return {"switches": self.switches} if path.endswith("/chaos") else self.switches[0]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client(SWITCH)
    monkeypatch.setattr(chaos, "operator_client", lambda _stack: client)
    return client


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--stack", str(tmp_path / "none"), "chaos", *arguments])


def test_on(tmp_path: Path, client: Client) -> None:
    result = run(tmp_path, "on", "psp_failure", "--amount", "0.5", "--for", "2m", "--note", "why")
    wanted = {"kind": "psp_failure", "target": "psp", "amount": 0.5, "durationS": 120.0, "note": "why"}
    assert (result.exit_code, client.sent) == (0, [("POST", "/admin/chaos", wanted)])
    (line,) = [line for line in result.stdout.splitlines() if "psp_failure" in line]
    assert line.split() == [SWITCH["id"], "psp_failure", "psp", "50%", "300", "s", "operator", "a", "[rehearsal]"]


def test_a_pause_has_no_amount(tmp_path: Path, client: Client) -> None:
    assert run(tmp_path, "on", "relay_pause", "--target", "order_service", "--note", "why").exit_code == 0
    assert client.sent[0][2] == {"kind": "relay_pause", "target": "order_service", "durationS": 300.0, "note": "why"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["on"],
        ["on", "flood", "--note", "x"],
        ["on", "psp_failure", "--amount", "1"],
        ["on", "psp_failure", "--note", "x"],
        ["on", "psp_failure", "--amount", "many", "--note", "x"],
        ["on", "consumer_error", "--amount", "1", "--note", "x"],
        ["on", "relay_pause", "--note", "x"],
        *(["on", "psp_failure", "--amount", "1", "--note", "x", "--for", t] for t in ("0", "5d", "25h", "-1", "x", "")),
        ["off"],
        ["off", "01", "--all"],
    ],
)
def test_wrong_usage(tmp_path: Path, client: Client, arguments: list[str]) -> None:
    assert run(tmp_path, *arguments).exit_code == 2
    assert client.sent == []


def test_off_by_the_beginning_of_an_id(tmp_path: Path, client: Client) -> None:
    result = run(tmp_path, "off", "01A214", "--json")
    assert json.loads(result.stdout) == {"switches": [SWITCH]}
    assert client.sent == [("DELETE", f"/admin/chaos/{SWITCH['id']}")]


def test_off_of_what_is_not_on(tmp_path: Path, client: Client) -> None:
    result = run(tmp_path, "off", "ff")
    assert (result.exit_code, client.sent) == (1, [])
    assert "chaos status" in result.stderr


def test_all_off(tmp_path: Path, client: Client) -> None:
    result = run(tmp_path, "off", "--all")
    assert (result.exit_code, client.sent) == (0, [("DELETE", "/admin/chaos")])
    assert "switched off: 1" in result.stderr


def test_status_says_what_is_not_known(tmp_path: Path, client: Client) -> None:
    client.unanswered = ["order_service"]
    result = run(tmp_path, "status")
    assert result.exit_code == 0
    assert "psp_failure" in result.stdout
    assert "latency_ms=5" in result.stderr
    assert "order_service does not answer" in result.stderr


def test_status_for_scripts(tmp_path: Path, client: Client) -> None:
    assert json.loads(run(tmp_path, "status", "--json").stdout)["switches"] == [SWITCH]


def test_kinds_needs_no_stack(tmp_path: Path) -> None:
    shown = run(tmp_path, "kinds")
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in KINDS)
    assert {kind["kind"] for kind in json.loads(run(tmp_path, "kinds", "--json").stdout)["kinds"]} == set(KINDS)


@pytest.mark.parametrize("command", [["status"], ["off", "--all"]])
def test_without_a_stack(tmp_path: Path, command: list[str]) -> None:
    result = run(tmp_path, *command)
    assert result.exit_code == 1
    assert "ordersaga up" in result.stderr
