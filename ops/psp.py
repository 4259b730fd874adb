"""Owns: `ordersaga psp`: the payment simulator's behaviour, cards and book on a screen. Must not know: its database."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from ops.command_line import pairs, readable_errors
from ops.display import plain
from ops.errors import StackError
from ops.operator_client import json_option, show_answer
from ops.psp_client import PspClient
from ops.stack import Stack


@click.group(name="psp")
def commands() -> None:
    """See and change how the simulated payment provider behaves."""


@commands.command()
@json_option
@click.pass_obj
@readable_errors
def show(stack: Stack, as_json: bool) -> None:
    """Show its behaviour."""
    _show_behaviour(_client(stack).behaviour(), as_json)


@commands.command(name="set")
@click.argument("changes", nargs=-1, required=True, callback=pairs, metavar="NAME=VALUE...")
@json_option
@click.pass_obj
@readable_errors
def change(stack: Stack, changes: dict[str, str], as_json: bool) -> None:
    """Change its behaviour; it takes effect within a second."""
    _show_behaviour(_client(stack).change_behaviour(_numbers(changes)), as_json)


@commands.command()
@json_option
@click.pass_obj
@readable_errors
def reset(stack: Stack, as_json: bool) -> None:
    """Have it behave well again."""
    _show_behaviour(_client(stack).reset_behaviour(), as_json)


@commands.command()
@click.option("--last", default=20, show_default=True, type=click.IntRange(1, 500), help="How many charges.")
@json_option
@click.pass_obj
@readable_errors
def book(stack: Stack, last: int, as_json: bool) -> None:
    """Show its newest charges: what it says that it took, gave back and told."""
    document = _client(stack).book(last)
    show_answer(document, as_json, lambda: _charges(document["charges"]))


@commands.command()
@json_option
@click.pass_obj
@readable_errors
def cards(stack: Stack, as_json: bool) -> None:
    """Show the test cards and what each does."""
    document = _client(stack).cards()
    show_answer(document, as_json, lambda: _cards(document["cards"]))


def _client(stack: Stack) -> PspClient:
    url = stack.environment().get("PSP_URL")
    if url is None or not any(process.name == "psp" for process in stack.processes()):
        raise StackError("the payment simulator does not run here", hint="start everything with `ordersaga up`")
    return PspClient(url)


def _numbers(changes: Mapping[str, str]) -> dict[str, float]:
    try:
        numbers = {name: float(value) for name, value in changes.items()}
    except ValueError as error:
        raise click.BadParameter("a value is a number") from error
    if not all(math.isfinite(number) for number in numbers.values()):
        raise click.BadParameter("a value is a finite number")
    return numbers


def _show_behaviour(document: Mapping[str, Any], as_json: bool) -> None:
    show_answer(document, as_json, lambda: _behaviour(document["behaviour"]))


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def _behaviour(settings: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("setting", "value", "default", "meaning", right=("value", "default"))
    for setting in settings:
        value, default = f"{setting['value']:g}", f"{setting['default']:g}"
        shown = value if value == default else f"[bold yellow]{value}[/]"
        table.add_row(setting["name"], shown, default, plain(setting["meaning"]))
    return table


def _charges(charges: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("made at", "key", "amount", "refunded", "status", "reason", "webhooks", right=("amount", "refunded"))
    for charge in charges:
        colour = "green" if charge["status"] == "APPROVED" else "yellow"
        table.add_row(
            charge["createdAt"][11:23],
            plain(charge["key"]),
            f"{charge['amount']} {plain(charge['currency'])}",
            charge["refunded"] if charge["refunded"] != "0.00" else "",
            f"[{colour}]{charge['status']}[/]",
            plain(charge["reason"] or ""),
            _webhooks(charge["webhooks"]),
        )
    return table


def _webhooks(webhooks: Sequence[Mapping[str, Any]]) -> str:
    delivered = sum(webhook["deliveredAt"] is not None for webhook in webhooks)
    return f"{delivered} of {len(webhooks)}" if webhooks else ""


def _cards(cards_: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("number", "does", "the same as")
    for card in cards_:
        number = card["number"]
        spaced = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
        table.add_row(spaced, card["behaviour"].replace("_", " "), card["token"])
    return table
