"""The scenario of change data capture that stands still, as CI plays it, with connectors and the finance view."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from click.testing import CliRunner
from harness.change_data import NEEDS_DEBEZIUM, forget_finance
from harness.waiting import wait_until

from ops.cli import main
from ops.people import NO_LIMITS
from ops.stack import Stack

pytestmark = [pytest.mark.e2e, *NEEDS_DEBEZIUM]


# The short scenario's own, so that it finds it and restarts nothing.
SETTINGS = {**NO_LIMITS, "FINANCE_STALE_AFTER_S": "5"}


def states(stack: Stack) -> set[str]:
    shown = CliRunner().invoke(main, ["--stack", str(stack.folder), "cdc", "status", "--json"])
    return {one["state"] for one in json.loads(shown.stdout)["connectors"]}


@pytest.fixture(scope="module")
def captured(stack: Stack, empty_stack: None, stack_environment: Mapping[str, str]) -> Iterator[Stack]:
    """Everything, with change data capture; only broker and databases stay up afterwards, without slots."""
    forget_finance(stack_environment)
    stack.up(infrastructure_only=False, cdc=True, settings=SETTINGS)
    yield stack
    stack.up(infrastructure_only=True, cdc=False, settings=dict.fromkeys(SETTINGS, ""))


def test_reconciliation_lag(captured: Stack) -> None:
    """Given connectors that are paused, then finance is behind, says so, and catches up; they are resumed."""
    result = CliRunner().invoke(
        main, ["--stack", str(captured.folder), "scenario", "reconciliation_lag", "--json", "--short"]
    )

    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["asForetold"]
    assert (document["facts"]["pausedS"], document["facts"]["missing"]) == (15, "30.00")
    assert document["facts"]["oldestViewS"] >= 15
    [table] = document["tables"]
    assert [row[2] for row in table["rows"]][-1] == "yes", "it is called stale"
    assert document["metrics"]["ordersaga_finance_losses_total"]["change"] == 0

    wait_until(lambda: states(captured) == {"streaming"}, "both connectors are at work again")
