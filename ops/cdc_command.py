"""Owns: `ordersaga cdc status|pause|resume|snapshot`: options in, tables out. Must not know: how a connector works."""

from __future__ import annotations

import json

import click
from rich.table import Table

from ops.change_data import ConnectorStatus, chosen, send_command, status_of
from ops.command_line import console, readable_errors
from ops.display import duration, plain
from ops.stack import Stack
from ops.state import DATABASE_VARIABLES
from shared.change_data.captured import CAPTURED

_DATABASES = click.option(
    "--database", "databases", multiple=True, type=click.Choice(list(CAPTURED)), help="Repeatable.  [default: all]"
)


@click.group("cdc")
def commands() -> None:
    """Change data capture: how its connectors are doing, and what they are to do."""


@commands.command()
@_DATABASES
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_obj
@readable_errors
def status(stack: Stack, databases: tuple[str, ...], as_json: bool) -> None:
    """Show each connector: what it does, how far it is behind, and what its slot keeps of the log."""
    urls = stack.environment()
    found = [
        status_of(captured, stack.metrics_address(captured.slot), urls[DATABASE_VARIABLES[captured.service]])
        for captured in chosen(databases)
    ]
    if as_json:
        click.echo(json.dumps({"connectors": [one.as_dict() for one in found]}, indent=2))
    else:
        _show(found)


def _show(found: list[ConnectorStatus]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("database", "state", "behind", "changes", "slot", "read", "log", "unread", "kept"):
        table.add_column(heading, justify="right" if heading in ("behind", "changes", "unread", "kept") else "left")
    for one in found:
        behind = "" if one.lag_s is None else duration(one.lag_s)
        changes = "" if one.changes is None else str(one.changes)
        table.add_row(one.database, plain(one.process), behind, changes, *_slot_cells(one))
    console().print(table)


def _slot_cells(one: ConnectorStatus) -> tuple[str, ...]:
    slot = one.slot
    if slot is None:
        return ("none", "", "", "", "")
    is_read = "yes" if slot["isRead"] else "no"
    return (slot["name"], is_read, slot["walStatus"], size(slot["lagBytes"]), size(slot["retainedBytes"]))


def size(count: int) -> str:
    """As exact as anyone wants to know."""
    if count < 1024 * 1024:
        return f"{count / 1024:.0f} kB"
    return f"{count / 1024 / 1024:.1f} MB"


def _command(name: str, words: str) -> None:
    @commands.command(name, help=words)
    @_DATABASES
    @click.pass_obj
    @readable_errors
    def send(stack: Stack, databases: tuple[str, ...]) -> None:
        uri = stack.environment()["AMQP_URI"]
        for captured in chosen(databases):
            send_command(uri, captured, name)
            console().print(f"told {captured.slot}: {name}")


_command(
    "pause", "Have connectors stop reading; also after a restart, until they are resumed. The log is kept meanwhile."
)
_command("resume", "Have connectors go on from where they were.")
_command("snapshot", "Have connectors read all rows again, and then go on.")
