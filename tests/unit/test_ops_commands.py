"""`ordersaga up`, `topology`, `env`, `psql` and `shell`: what they ask of a stack, and what they become."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops import cli, display
from ops.errors import StackError

AMQP, ORDERS = "amqp://ordersaga:pass@127.0.0.1:22722/%2F", "postgresql+psycopg2://orders:pass@127.0.0.1:5432/orders"
ADDRESSES = {"AMQP_URI": AMQP, "ORDER_DATABASE_URL": ORDERS}


class Became(Exception):
    """The process is another program from then on."""


class FakeStack:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.addresses = dict(ADDRESSES)
        self.asked: list[dict[str, Any]] = []
        self.applied = 0
        self.error: StackError | None = None

    def environment(self) -> dict[str, str]:
        return self.addresses

    def up(self, **wanted: Any) -> bool:
        self.asked.append(wanted)
        return len(self.asked) == 1

    def apply_topology(self) -> None:
        if self.error is not None:
            raise self.error
        self.applied += 1


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    stack = FakeStack()
    monkeypatch.setattr(cli, "Stack", lambda _folder, report: stack)
    monkeypatch.setattr(display, "show_where_to_look", lambda _console, _stack: None)
    return stack


Run = Callable[..., Result]


@pytest.fixture
def run(stack: FakeStack, tmp_path: Path) -> Run:
    return lambda *arguments: CliRunner().invoke(cli.main, ["--stack", str(tmp_path), *arguments])


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process was to become, argument by argument."""
    seen: list[list[str]] = []

    def become(file: str, arguments: list[str]) -> None:
        assert arguments[0] == file
        seen.append(arguments)
        raise Became

    monkeypatch.setattr(os, "execvp", become)
    monkeypatch.setattr(os, "execv", become)
    return seen


class TestUp:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ((), {}),
            (("--monitoring",), {"monitoring": True}),
            (("--no-monitoring",), {"monitoring": False}),
            (("--cdc",), {"cdc": True}),
            (("--no-cdc",), {"cdc": False}),
            (("--infrastructure-only", "--no-migrations"), {"infrastructure_only": True, "migrate": False}),
            (("--replicas", "gateway=2", "--replicas", "psp=1"), {"replicas": {"gateway": 2, "psp": 1}}),
            (("--set", "A=1=2", "--set", "B="), {"settings": {"A": "1=2", "B": ""}}),
        ],
    )
    def test_what_is_not_said_stays_as_it_was(
        self, run: Run, stack: FakeStack, options: tuple[str, ...], said: dict[str, Any]
    ) -> None:
        assert run("up", *options).exit_code == 0

        [asked] = stack.asked
        assert asked.pop("external") is os.environ
        nothing = {"infrastructure_only": False, "replicas": {}, "settings": {}, "migrate": True}
        assert asked == {**nothing, "monitoring": None, "cdc": None, **said}

    def test_once_more_it_says_that_it_was_up(self, run: Run) -> None:
        assert ["already up" in run("up").stderr for _ in range(2)] == [False, True]


class TestTopology:
    def test_is_brought_onto_the_broker(self, run: Run, stack: FakeStack) -> None:
        assert (run("topology").exit_code, stack.applied) == (0, 1)

    def test_what_stands_in_its_way_is_said(self, run: Run, stack: FakeStack) -> None:
        stack.error = StackError("queue x has other arguments", hint="delete it")
        result = run("topology")
        assert result.exit_code == 1
        assert "queue x has other arguments" in result.stderr
        assert "delete it" in result.stderr


class TestEnv:
    def test_a_shell_takes_it_as_it_is(self, run: Run, stack: FakeStack) -> None:
        stack.addresses["ODD"] = """a'b "$HOME" `id` \\ ;"""
        script = run("env").stdout + 'printf "%s\\n" "$AMQP_URI" "$ODD"'
        said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30).stdout
        assert said.splitlines() == [AMQP, stack.addresses["ODD"]]

    def test_json_for_everybody_else(self, run: Run) -> None:
        assert json.loads(run("env", "--json").stdout) == ADDRESSES


class TestPsql:
    def test_is_given_the_databases_address_as_it_reads_it_and_the_rest(
        self, run: Run, became: list[list[str]]
    ) -> None:
        run("psql", "order_service", "--", "-c", "select 1")
        assert became == [["psql", "postgresql://orders:pass@127.0.0.1:5432/orders", "-c", "select 1"]]

    def test_a_view_that_this_stack_has_not(self, run: Run, stack: FakeStack, became: list[list[str]]) -> None:
        result = run("psql", "finance_service")
        assert (result.exit_code, "ordersaga up --cdc" in result.stderr, became) == (1, True, [])
        stack.addresses["FINANCE_DATABASE_URL"] = "postgresql+psycopg2://f:p@h/finance"
        run("psql", "finance_service")
        assert became == [["psql", "postgresql://f:p@h/finance"]]

    def test_a_database_that_is_none_is_wrong_usage(self, run: Run, became: list[list[str]]) -> None:
        assert (run("psql", "lunch").exit_code, became) == (2, [])

    def test_where_it_is_not_installed_it_says_how(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        result = run("psql", "order_service")
        assert (result.exit_code, "postgresql-client" in result.stderr) == (1, True)


def test_the_shell_is_namekos_on_the_broker_of_the_stack(run: Run, became: list[list[str]]) -> None:
    run("shell")
    [[python, *rest]] = became
    assert python == sys.executable
    assert rest[-4:] == [str(Path(sys.executable).with_name("nameko")), "shell", "--broker", AMQP]
