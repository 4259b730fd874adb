"""The scenario of the parted broker as CI plays it: on three nodes and a stack of its own, which go with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.cli import main

pytestmark = pytest.mark.integration


def test_broker_partition(tmp_path: Path) -> None:
    """Given one of three nodes cut off, then it serves nobody, orders go on, and nothing is left afterwards."""
    folder = tmp_path / "rehearsal"

    result = CliRunner().invoke(
        main, ["--stack", str(folder), "scenario", "broker_partition", "--json", "--short", "--node", "2"]
    )

    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["asForetold"]
    assert document["facts"]["acceptedMeanwhile"] > 0
    assert document["metrics"]["orders CONFIRMED"]["after"] == document["facts"]["orders"]
    seen = {expectation["what"]: expectation["seen"] for expectation in document["expectations"]}
    assert seen["the one that is alone"] == "serves nobody"
    assert seen["the other two"] == "serve"
    assert list(tmp_path.iterdir()) == []
