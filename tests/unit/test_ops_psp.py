"""`ordersaga psp`: what it refuses by itself, and what it shows."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

from ops import psp
from ops.cli import main
from ops.psp_client import _refusal

SETTING = {"name": "failure_rate", "value": 0.25, "default": 0, "least": 0, "most": 1, "meaning": "share [of] calls"}
CHARGE: dict[str, Any] = {
    "key": "01a1f947-c09f-750c-ac02-df14e4c8de9b",
    "reference": "psp_1",
    "amount": "10.00",
    "currency": "EUR",
    "status": "APPROVED",
    "reason": None,
    "createdAt": "2026-01-01T12:34:56.789Z",
    "refunded": "2.50",
    "webhooks": [{"deliveredAt": "2026-01-01T12:34:57.000Z"}, {"deliveredAt": None}],
}


def printed(table: Table) -> str:
    console = Console(width=130, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("command", [["show"], ["set", "latency_ms=1"], ["reset"], ["book"], ["cards"]])
def test_without_a_stack_there_is_no_simulator(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, ["--stack", str(tmp_path / "none"), "psp", *command])
    assert result.exit_code == 1
    assert "ordersaga up" in result.stderr


@pytest.mark.parametrize(
    "command", [["set"], ["set", "latency_ms"], ["set", "=1"], ["book", "--last", "0"], ["book", "--last", "many"]]
)
def test_wrong_usage_is_refused(tmp_path: Path, command: list[str]) -> None:
    assert CliRunner().invoke(main, ["--stack", str(tmp_path / "none"), "psp", *command]).exit_code == 2


def test_values_are_numbers() -> None:
    assert psp._numbers({"latency_ms": "20", "failure_rate": "0.5"}) == {"latency_ms": 20, "failure_rate": 0.5}
    for value in ("many", "nan", "inf", ""):
        with pytest.raises(click.BadParameter):
            psp._numbers({"latency_ms": value})


def test_behaviour_is_shown_with_its_meaning() -> None:
    (line,) = [line for line in printed(psp._behaviour([SETTING])).splitlines() if "failure_rate" in line]
    assert line.split() == ["failure_rate", "0.25", "0", "share", "[of]", "calls"]


def test_the_book_shows_what_was_taken_given_back_and_told() -> None:
    (line,) = [line for line in printed(psp._charges([CHARGE])).splitlines() if CHARGE["key"] in line]
    assert line.split() == ["12:34:56.789", CHARGE["key"], "10.00", "EUR", "2.50", "APPROVED", "1", "of", "2"]


def test_cards_are_shown_as_they_are_printed_on_plastic() -> None:
    card = {"number": "4242424242424242", "behaviour": "timeout_after_charge", "token": "tok_x"}
    assert "4242 4242 4242 4242  timeout after charge  tok_x" in printed(psp._cards([card]))


def test_a_refusal_says_what_is_wrong() -> None:
    problem = {"title": "nothing is changed", "errors": {"failure_rate": ["should be 0 to 1"]}}
    assert _refusal(problem) == "nothing is changed: failure_rate: should be 0 to 1"
    assert _refusal({}) == "refused"
