"""The scenarios as CI plays them: short, on a running stack, each with the facts behind its verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from harness.gateway import Gateway
from harness.waiting import wait_until

from ops.cli import main
from ops.folder import StackFolder
from ops.rehearsals.commands import command_of
from ops.rehearsals.inventory_shortage import REHEARSAL as SHORTAGE
from ops.rehearsals.rehearsal import Ending
from ops.scenarios.script import Script
from ops.stack import Stack
from ops.state import load_state

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]

# As it is by default; said, so that the module has processes of its own: what others have left in their memory is no
# part of "before and after".
SETTINGS = {"CHAOS_ENABLED": "on"}


def rehearsed(stack: Stack, name: str, *arguments: str) -> dict[str, Any]:
    """As somebody types it; it ended as foretold."""
    result = CliRunner().invoke(main, ["--stack", str(stack.folder), "scenario", name, "--json", "--short", *arguments])
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["asForetold"]
    assert document["brokenInvariants"] == []
    return document


def settings_of(stack: Stack) -> Mapping[str, str]:
    state = load_state(StackFolder(root=stack.folder))
    assert state is not None
    return state.settings


def change(document: Mapping[str, Any], title: str) -> Any:
    return document["metrics"][title]["change"]


def test_e2e_checkout_success(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "e2e_checkout_success")

    assert document["verdict"].startswith("VERDICT: harmless: one order, CONFIRMED")
    assert change(document, "orders CONFIRMED") == 1
    assert change(document, "captured EUR") == "40.50"
    assert change(document, "stock reserved") == 5
    assert change(document, "ordersaga_relay_events_published_total") >= 4
    assert {"order: orders", "inventory: reservations", "payment: ledger_entries", "psp: charges"} <= {
        expectation["what"] for expectation in document["expectations"]
    }


def test_psp_timeout(gateway: Gateway, stack: Stack) -> None:
    """Given settings of its own, then the stack has those that it had before when it ends."""
    before = settings_of(stack)

    document = rehearsed(stack, "psp_timeout")

    assert document["facts"]["rolledBack"] == 2
    # The limit is 8; the order service may hear of the reservation, from which it is counted, after the payments do.
    assert document["facts"]["failedAfterS"] >= 6
    assert change(document, "orders CANCELLED (payment_failed)") == 2
    assert change(document, 'ordersaga_payment_attempts_ended_total{kind="CHARGE",status="TIMED_OUT"}') == 2
    assert settings_of(stack) == before


def test_inventory_shortage(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "inventory_shortage")

    assert change(document, "orders CANCELLED (out_of_stock)") == 4
    assert change(document, "captured EUR") == "50.00"


def test_oversell(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "oversell")

    facts = document["facts"]
    assert (facts["units"], facts["naivelySold"], facts["sold"]) == (2, 4, 2)
    assert (facts["refunded"], facts["heldAgain"]) == (2, 2)
    assert change(document, "refunded EUR") == "20.00"
    assert gateway.get("/admin/chaos")["switches"] == []


def test_thousand_reservations(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "thousand_reservations")

    assert (document["facts"]["reservations"], document["facts"]["granted"]) == (200, 190)
    assert change(document, "reservations held") == 0
    [table] = document["tables"]
    assert [row[1] for row in table["rows"]] == ["190", "10"]


def test_flash_sale(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "flash_sale")

    assert (document["facts"]["buyers"], document["facts"]["confirmed"]) == (200, 20)
    assert change(document, "orders CONFIRMED") == 20
    assert change(document, "orders CANCELLED (out_of_stock)") == 180


def test_schema_drift(gateway: Gateway, stack: Stack) -> None:
    document = rehearsed(stack, "schema_drift")

    assert document["verdict"].startswith("VERDICT: hurts: ")
    assert (document["facts"]["deadLetters"], document["facts"]["upcast"]) == (4, 6)
    [letters] = document["tables"]
    assert sorted(row[1] for row in letters["rows"]) == [*["invalid_payload"] * 2, *["unknown_schema_version"] * 2]
    assert "PYTHONPATH" not in settings_of(stack)
    assert gateway.get("/admin/dead-letters")["depth"] == 0


def test_beside_somebody_elses_trouble_it_does_not_begin(gateway: Gateway, stack: Stack) -> None:
    """Given a switch that is on, then a scenario with settings of its own refuses before it restarts anything."""
    trouble = {"kind": "relay_pause", "target": "payment_service", "note": "a test", "durationS": 600}
    assert gateway.call("POST", "/admin/chaos", trouble)[0] == 200
    before = {process.name: process.pid for process in stack.processes()}
    try:
        result = CliRunner().invoke(main, ["--stack", str(stack.folder), "scenario", "psp_timeout", "--short"])
    finally:
        assert gateway.call("DELETE", "/admin/chaos")[0] == 200

    assert (result.exit_code, "somebody makes trouble already: relay_pause of payment_service" in result.stderr) == (
        1,
        True,
    )
    assert {process.name: process.pid for process in stack.processes()} == before


def test_a_wrong_foretelling_is_found_out(gateway: Gateway, stack: Stack) -> None:
    """Given one that foretells hurt where there is none, then it ends with 1 and says what was seen."""
    wrong = command_of(replace(SHORTAGE, foretold=Ending.HURTS))

    result = CliRunner().invoke(wrong, ["--short", "--json"], obj=stack)

    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["foretold"], document["ending"], document["asForetold"]) == ("hurts", "harmless", False)


def test_a_shop_that_behaves_otherwise_is_found_out(
    gateway: Gateway, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a shelf with more on it than the scenario believes, then the orders end otherwise, and it says which."""
    product = Script.product
    monkeypatch.setattr(Script, "product", lambda script, **more: product(script, **{**more, "on_hand": 50}))

    result = CliRunner().invoke(command_of(SHORTAGE), ["--short"], obj=stack)

    assert result.exit_code == 1
    assert "not as foretold (order: expected CANCELLED (out_of_stock), seen CONFIRMED" in " ".join(
        result.stdout.split()
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_it_leaves_the_stack_as_it_found_it(gateway: Gateway, stack: Stack, ending: signal.Signals) -> None:
    """Given a script that is ended while a relay is paused and messages are spoilt, then nothing of it is left."""
    before = settings_of(stack)
    # Whoever started the tests in the background had Ctrl-C ignored, and that is inherited.
    heard = ["env", f"--default-signal={signal.SIGINT.name.removeprefix('SIG')}"]
    script = subprocess.Popen(
        [*heard, sys.executable, str(ROOT / "scripts" / "schema_drift.py"), "--short"],
        env={**os.environ, "ORDERSAGA_STACK": str(stack.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: gateway.get("/admin/chaos")["switches"], "it makes trouble")
        script.send_signal(ending)
        assert script.wait(60) == 130
    finally:
        script.kill()
        script.wait(10)

    assert gateway.get("/admin/chaos")["switches"] == []
    assert gateway.get("/admin/dead-letters")["depth"] == 0
    assert settings_of(stack) == before
