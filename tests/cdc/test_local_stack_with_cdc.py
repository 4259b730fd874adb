"""`ordersaga up --cdc` and back: connectors that are watched and commanded, and nothing left of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner
from harness.change_data import NEEDS_DEBEZIUM, Json
from harness.databases import Databases
from harness.waiting import wait_until

from ops.cli import main
from ops.stack import Stack

pytestmark = NEEDS_DEBEZIUM

CONNECTORS = {"order_cdc", "payment_cdc"}
STARTED_WITHIN_S = 180.0


@pytest.fixture(scope="module")
def stack_with_cdc(stack: Stack, empty_stack: None) -> Iterator[Stack]:
    stack.up(cdc=True)
    yield stack
    stack.up(cdc=False)
    stack.up(infrastructure_only=True)


def told(stack: Stack, *arguments: str) -> Json:
    answer = CliRunner().invoke(main, ["--stack", str(stack.folder), "cdc", *arguments])
    assert answer.exit_code == 0, answer.output
    return dict(json.loads(answer.stdout)) if answer.stdout else {}


def states(stack: Stack) -> dict[str, str]:
    return {one["database"]: one["state"] for one in told(stack, "status", "--json")["connectors"]}


def is_measured(stack: Stack) -> Any:
    [one] = told(stack, "status", "--json", "--database", "order")["connectors"]
    return one if one["lagSeconds"] is not None else None


def test_from_up_to_down_again(
    stack_with_cdc: Stack, databases: Databases, stack_environment: Mapping[str, str]
) -> None:
    """One way through all of it: each step needs the one before."""
    stack = stack_with_cdc
    assert {process.name for process in stack.processes() if process.pid} >= CONNECTORS
    both = {"order": "streaming", "payment": "streaming"}
    wait_until(lambda: states(stack) == both, "both stream", timeout_s=STARTED_WITHIN_S)
    # It streams from its first batch on; how old that is, it knows once the broker has it.
    order = wait_until(lambda: is_measured(stack), "it says how far it is behind")
    assert order["slot"]["isRead"] is True
    assert order["slot"]["walStatus"] in ("reserved", "extended")

    told(stack, "pause", "--database", "payment")
    wait_until(lambda: states(stack) == {**both, "payment": "paused"}, "one is paused")
    stack.restart("payment_cdc")
    wait_until(lambda: states(stack)["payment"] == "paused", "it still is", timeout_s=60)
    told(stack, "resume")
    wait_until(lambda: states(stack) == both, "both stream", timeout_s=STARTED_WITHIN_S)

    assert stack.up() is False, "it is remembered"
    stack.up(cdc=False)
    assert not {process.name for process in stack.processes()} & CONNECTORS
    assert databases.value("order_service", "select count(*) from pg_replication_slots") == 0
    assert databases.value("order_service", "select count(*) from pg_roles where rolname like %s", "%\\_cdc") == 0
    # Relays that read the log would keep something beside it.
    assert not any((stack.folder / "cdc" / name).exists() for name in CONNECTORS)
    assert states(stack) == {"order": "not running", "payment": "not running"}
