"""`ordersaga alerts`: what Prometheus thinks is wrong just now.

Owns: the command, and asking Prometheus. Must not know: which alerts there are.
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ops import display
from ops.command_line import readable_errors
from ops.errors import StackError
from ops.operator_client import json_option
from ops.stack import Stack

_TIMEOUT_S = 10.0
_FIRING = 4
_COLOURS = {"critical": "red", "warning": "yellow"}


@click.command()
@json_option
@click.pass_obj
@readable_errors
def alerts(stack: Stack, as_json: bool) -> None:
    """Show the alerts that fire or are about to; exit code 4 if any fires."""
    found = sorted(active_alerts(stack), key=lambda alert: (alert["state"], alert["alert"]))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(Console(highlight=False), found)
    if any(alert["state"] == "firing" for alert in found):
        sys.exit(_FIRING)


def active_alerts(stack: Stack) -> list[dict[str, Any]]:
    """Each with its name, state (pending, firing), labels, annotations and since when. Raises StackError."""
    url = stack.environment().get("PROMETHEUS_URL")
    if url is None or not stack.is_up():
        raise StackError("no Prometheus runs in this stack", hint="start it with `ordersaga up --monitoring`")
    try:
        with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=_TIMEOUT_S) as response:  # noqa: S310 - our own
            answer = json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise StackError(f"Prometheus does not answer on {url}: {error}", log=stack.log("prometheus")) from error
    return [_alert(alert) for alert in answer["data"]["alerts"]]


def _alert(alert: dict[str, Any]) -> dict[str, Any]:
    labels = {name: value for name, value in alert["labels"].items() if name not in ("alertname", "severity")}
    return {
        "alert": alert["labels"]["alertname"],
        "severity": alert["labels"].get("severity", ""),
        "state": alert["state"],
        "since": alert["activeAt"],
        "labels": labels,
        "summary": alert["annotations"].get("summary", ""),
        "runbook": alert["annotations"].get("runbook", ""),
    }


def show(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        console.print("no alert")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("alert", "state", "for", "what", "runbook"):
        table.add_column(heading, overflow="fold")
    for alert in found:
        colour = _COLOURS.get(alert["severity"], "blue") if alert["state"] == "firing" else "dim"
        table.add_row(
            f"[{colour}]{display.plain(alert['alert'])}[/]",
            alert["state"],
            display.duration(_age_s(alert["since"])),
            display.plain(alert["summary"]),
            display.plain(alert["runbook"]),
        )
    console.print(table)


def _age_s(moment: str) -> float:
    """Prometheus writes nanoseconds, which Python does not read."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment[:19]).replace(tzinfo=UTC)).total_seconds()
