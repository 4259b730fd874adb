"""The `ordersaga` command, as an operator types it at a stack.

Owns: what it is given and how its answer is read. Must not know: any command.
"""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from ops.cli import main
from ops.stack import Stack


class Command:
    """Each call is one `ordersaga … --json` in this process."""

    def __init__(self, stack: Stack) -> None:
        self._folder = str(stack.folder)

    def __call__(self, *arguments: str, exit_code: int = 0) -> Any:
        """What it says; AssertionError if it ends otherwise than with ``exit_code``."""
        return json.loads(self._said(arguments, exit_code))

    def lines(self, *arguments: str) -> list[Any]:
        """Of commands that say a JSON object a line."""
        return [json.loads(line) for line in self._said(arguments, 0).splitlines()]

    def _said(self, arguments: tuple[str, ...], exit_code: int) -> str:
        result = CliRunner().invoke(main, ["--stack", self._folder, *arguments, "--json"])
        assert (result.exit_code, bool(result.stdout)) == (exit_code, True), (arguments, result.stdout, result.stderr)
        return result.stdout
