"""docs/operations.md is where alerts and discrepancies send whoever has to act: each finds its place, and what stands
there can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from gateway.admin.reconcile.kinds import KINDS, Discrepancy
from ops.cli import main
from ops.prometheus import CONFIGURATION

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
IDS = re.findall(r'<a id="([^"]+)">', PAGE)
CODE = re.findall(r"`([^`]+)`", re.sub(r"^ *```.*?^ *```$", "", PAGE, flags=re.MULTILINE | re.DOTALL))
CONSOLE = re.findall(r"^ *\$ (.+)$", PAGE, re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def alerts() -> list[dict[str, object]]:
    groups = yaml.safe_load((CONFIGURATION / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alerts_runbook_is_a_heading(alert: dict[str, dict[str, str]]) -> None:
    page, _, place = alert["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert place in [anchor(heading) for heading in HEADINGS]


@pytest.mark.parametrize("code", KINDS)
def test_each_discrepancys_runbook_is_a_place_of_its_own(code: str) -> None:
    page, _, place = Discrepancy(code=code).document()["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert [*map(anchor, HEADINGS), *IDS].count(place) == 1


def commands() -> Iterator[str]:
    """Whatever begins with `ordersaga` on the page, and what a discrepancy says."""
    for text in (*CODE, *CONSOLE):
        for part in re.split(r"&&|\||;", " ".join(text.split()).partition(" # ")[0]):
            if re.match(r"ordersaga [a-z-]", part.strip()):
                yield part.strip()
    for code in KINDS:
        yield Discrepancy(code=code, order_id="ID", subject="SUBJECT").command


def unknown_in(line: str) -> list[str]:
    """Options and commands of a line that there are not; what is in brackets may be left out, and is looked at too."""
    command: click.Command = main
    words = re.sub(r"[\[\]]", "", line).split(" -- ")[0].split()[1:]
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    parameters = (*command.params, *main.params)
    known = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    missing = [word for word in words if re.match("--?[a-z]", word) and word not in known]
    return missing if command is not main else [line]


def test_what_is_to_be_typed_can_be_typed() -> None:
    lines = sorted(set(commands()))
    assert len(lines) > 60
    assert {line: unknown for line in lines if (unknown := unknown_in(line))} == {}
