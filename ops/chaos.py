"""Owns: `ordersaga chaos`: trouble made on purpose, from the command line. Must not know: how a kind is carried out."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from ops.command_line import console, readable_errors
from ops.display import plain
from ops.errors import StackError
from ops.operator_client import OperatorClient, json_option, note_option, operator_client, show_answer
from ops.stack import Stack
from shared.chaos.kinds import KINDS, LONGEST_S, PROVIDER_TARGET, Kind, Unit, Where

_PATH = "/admin/chaos"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_TARGETS = {
    Where.PROVIDER: PROVIDER_TARGET,
    Where.CONSUMER: "a service or one of its queues",
    Where.RELAY: "a service",
}


def _seconds(_context: click.Context, parameter: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh]?)", value)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_S:
        raise click.BadParameter(f"{value!r} is no time such as 90s, 5m or 2h, up to a day", param=parameter)
    return seconds


@click.group(name="chaos")
def commands() -> None:
    """Make trouble on purpose, see what there is of it, end it. Every switch goes off by itself."""


@commands.command()
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND")
@click.option("--target", help="A service, or a queue such as payment_service.ORDER_CANCELLED; psp for psp kinds.")
@click.option("--amount", type=float, help="A share from 0 to 1, or milliseconds.")
@click.option("--for", "duration_s", default="5m", show_default=True, callback=_seconds, help="90s, 5m, 2h.")
@note_option
@json_option
@click.pass_obj
@readable_errors
def on(
    stack: Stack, kind: str, target: str | None, amount: float | None, duration_s: float, note: str, as_json: bool
) -> None:
    """Switch trouble on, in place of the same kind for the same target; `chaos kinds` shows which there are."""
    wanted = {
        "kind": kind,
        "target": _target(kind, target),
        "durationS": duration_s,
        "note": note,
        **_amount(kind, amount),
    }
    switch = operator_client(stack).post(_PATH, wanted)
    show_answer(switch, as_json, lambda: _switches([switch]))


@commands.command()
@click.argument("switch_id", required=False, metavar="[ID]")
@click.option("--all", "everything", is_flag=True, help="Every switch; the provider behaves well again, too.")
@json_option
@click.pass_obj
@readable_errors
def off(stack: Stack, switch_id: str | None, everything: bool, as_json: bool) -> None:
    """Switch one off before its end, or all; the id's first characters are enough."""
    if everything == (switch_id is not None):
        raise click.UsageError("an id, or --all")
    client = operator_client(stack)
    if switch_id is None:
        ended = client.delete(_PATH)["switches"]
    else:
        ended = [client.delete(f"{_PATH}/{_whole_id(client, switch_id)}")]
    if not as_json:
        console().print(f"switched off: {len(ended)}")
    show_answer({"switches": ended}, as_json, lambda: _switches(ended))


@commands.command()
@json_option
@click.pass_obj
@readable_errors
def status(stack: Stack, as_json: bool) -> None:
    """Show which switches are on, for how long, and who said so."""
    found = operator_client(stack).get(_PATH)
    if not as_json:
        _say_what_else(found)
    show_answer(found, as_json, lambda: _switches(found["switches"]))


@commands.command()
@json_option
@readable_errors
def kinds(as_json: bool) -> None:
    """Show every kind of trouble and what it does."""
    document = [
        {"kind": name, "target": _TARGETS[kind.where], "unit": kind.unit, "most": kind.most, "meaning": kind.meaning}
        for name, kind in KINDS.items()
    ]
    show_answer({"kinds": document}, as_json, _kinds)


def _target(kind: str, target: str | None) -> str:
    if target is None and KINDS[kind].where is not Where.PROVIDER:
        raise click.UsageError(f"{kind} needs a --target: {_TARGETS[KINDS[kind].where]}")
    return target or PROVIDER_TARGET


def _amount(kind: str, amount: float | None) -> dict[str, float]:
    if KINDS[kind].has_amount and amount is None:
        raise click.UsageError(f"{kind} needs an --amount: {_unit(KINDS[kind])}")
    return {} if amount is None else {"amount": amount}


def _whole_id(client: OperatorClient, beginning: str) -> str:
    found = [switch["id"] for switch in client.get(_PATH)["switches"] if switch["id"].startswith(beginning.lower())]
    if len(found) != 1:
        raise StackError(
            f"{len(found) or 'no'} switches with an id that begins so are on", hint="`ordersaga chaos status`"
        )
    return str(found[0])


def _say_what_else(found: Mapping[str, Any]) -> None:
    screen = console()
    changed = [setting for setting in found["behaviour"] or () if setting["value"] != setting["default"]]
    for setting in changed:
        said = f"{setting['name']}={setting['value']:g}"
        screen.print(f"the provider itself is set to {said}, without an end (`ordersaga psp reset`)")
    for service in found["unanswered"]:
        screen.print(f"[yellow]{service} does not answer[/]: what is on there is not known")
    if not found["switches"]:
        screen.print("no switch is on")


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def _switches(switches: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("id", "kind", "target", "amount", "ends in", "set by", "note", right=("amount", "ends in"))
    for switch in switches:
        table.add_row(
            switch["id"],
            switch["kind"],
            plain(switch["target"]),
            _amount_words(switch),
            f"{switch['remainingS']:.0f} s",
            plain(switch["setBy"]),
            plain(switch["note"]),
        )
    return table


def _amount_words(switch: Mapping[str, Any]) -> str:
    kind = KINDS.get(switch["kind"])
    if kind is None or not kind.has_amount:
        return ""
    return f"{switch['amount']:.0%}" if kind.unit is Unit.SHARE else f"{switch['amount']:g} ms"


def _kinds() -> Table:
    table = _table("kind", "target", "amount", "what happens")
    for name, kind in KINDS.items():
        table.add_row(name, _TARGETS[kind.where], _unit(kind), plain(kind.meaning))
    return table


def _unit(kind: Kind) -> str:
    return {Unit.SHARE: "a share up to 1", Unit.MILLISECONDS: f"ms up to {kind.most:g}", Unit.NOTHING: ""}[kind.unit]
