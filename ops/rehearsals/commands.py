"""Owns: `ordersaga scenario` and scripts/: options in, exit code out. Must not know: what is rehearsed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ops.command_line import console, readable_errors
from ops.display import plain
from ops.rehearsals.catalogue import REHEARSALS
from ops.rehearsals.options import Option, chosen
from ops.rehearsals.rehearsal import Rehearsal
from ops.rehearsals.running import rehearse
from ops.rehearsals.screen import Screen
from ops.stack import Stack

Command = Callable[..., Any]


@click.group(name="scenario", invoke_without_command=True)
@click.option("--list", "listing", is_flag=True, help="Show which there are, with the verdict that each foretells.")
@click.pass_context
def commands(context: click.Context, listing: bool) -> None:
    """Rehearse an incident on the running stack: what happens, what to watch, before and after, a verdict.

    Exit code 0 if it ended as foretold, 1 if not. The stack is left as it was found, also after Ctrl-C.
    """
    if context.invoked_subcommand is None or listing:
        Console(highlight=False).print(_listed())
        context.exit()


def _listed() -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("scenario", "foretold", "what"):
        table.add_column(heading, overflow="fold")
    for rehearsal in REHEARSALS:
        table.add_row(rehearsal.name, rehearsal.foretold, plain(rehearsal.what))
    return table


def command_of(rehearsal: Rehearsal) -> click.Command:
    """Its own command, with its own options."""

    @readable_errors
    def run(stack: Stack, is_short: bool, as_json: bool, **given: float | None) -> None:
        named = {name.replace("_", "-"): value for name, value in given.items()}
        options = chosen(rehearsal.options, named, is_short=is_short)
        # Whoever wants the one object on stdout sees the rest beside it.
        screen = Screen(console() if as_json else Console(highlight=False))
        report = rehearse(rehearsal, stack, options, screen, os.environ)
        if as_json:
            click.echo(json.dumps(report.document(), indent=2))
        sys.exit(report.exit_code)

    parameters: list[click.Parameter] = [
        click.Option(["--short", "is_short"], is_flag=True, help="Smaller numbers, for CI; what is given counts."),
        click.Option(["--json", "as_json"], is_flag=True, help="One JSON object on stdout."),
        *map(_parameter, rehearsal.options),
    ]
    return click.Command(
        rehearsal.name, params=parameters, callback=click.pass_obj(run), help=f"{rehearsal.what}\n\n{rehearsal.why}"
    )


def _parameter(option: Option) -> click.Option:
    limits: click.IntRange | click.FloatRange
    if option.is_whole:
        limits = click.IntRange(int(option.least), int(option.most))
    else:
        limits = click.FloatRange(option.least, option.most)
    words = f"{option.meaning}  [default: {option.usual:g}; short: {option.short:g}]"
    return click.Option([f"--{option.name}"], type=limits, help=words)


for _rehearsal in REHEARSALS:
    commands.add_command(command_of(_rehearsal))
