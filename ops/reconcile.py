"""Owns: `ordersaga reconcile`: a pass, its progress, what differs on a screen, repairs. Must not know: what differs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console
from rich.status import Status

from ops.command_line import console, readable_errors
from ops.display import plain
from ops.errors import StackError
from ops.operator_client import json_option, operator_client
from ops.passes import Found, Operator, Pass, repair, run_pass, settle
from ops.stack import Stack

DIFFERS = 5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if found is None or not int(found[1]):
        raise click.BadParameter("a number with its unit, such as 30m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


@click.command(name="reconcile")
@click.option("--since", "ago_s", callback=_duration, metavar="2h", help="What changed since then.  [default: 1h]")
@click.option("--full", is_flag=True, help="Everything there is, whenever it changed.")
@click.option("--order", "order_ids", multiple=True, metavar="ID", help="Only this order; repeatable.")
@click.option("--repair", "repairs", is_flag=True, help="Repair what is safe to repair, then look again.")
@click.option("--also", multiple=True, metavar="CODE", help="Repair these too, with --order; repeatable.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before repairing.")
@click.option("--quiet", "quiet_s", type=click.IntRange(1, 3600), default=30, show_default=True, metavar="S")
@json_option
@click.pass_obj
@readable_errors
def command(
    stack: Stack,
    ago_s: int | None,
    full: bool,
    order_ids: tuple[str, ...],
    repairs: bool,
    also: tuple[str, ...],
    is_sure: bool,
    quiet_s: int,
    as_json: bool,
) -> None:
    """Compare what the services and the provider's book say of orders, money and stock.

    Nothing counts that changed within the last S seconds (--quiet): it is waited for. Exit code 5: something differs.
    """
    if also and not (repairs and order_ids):
        raise click.UsageError("--also goes with --order and --repair: such a repair is for who has looked")
    operator = operator_client(stack)
    ended = _compared(operator, ago_s, full, order_ids, quiet_s, as_json)
    done: list[Mapping[str, Any]] = []
    if repairs:
        chosen = [found for found in ended.discrepancies if found["isSafe"] or found["code"] in also]
        if chosen and _is_wanted(chosen, is_sure, as_json):
            done = _repaired(operator, ended, chosen, quiet_s, as_json)
    _show(ended, done, as_json)
    sys.exit(DIFFERS if ended.found else 0)


def _compared(
    operator: Operator, ago_s: int | None, full: bool, order_ids: Sequence[str], quiet_s: int, as_json: bool
) -> Pass:
    with nullcontext() if as_json else console().status("comparing") as status:

        def progress(so_far: Pass, stage: str) -> None:
            if isinstance(status, Status):
                status.update(f"comparing {stage}: {_counted(so_far)}")

        if order_ids:
            ended = Pass()
            ended.checked["orders"] = len(order_ids)
            ended.look_again(operator, list(order_ids), quiet_s)
        else:
            ago_s = ago_s if ago_s is not None or full else _UNITS["h"]
            ended = run_pass(operator, quiet_s=quiet_s, ago_s=ago_s, full=full, limit=500, on_page=progress)
        if isinstance(status, Status) and ended.unsettled:
            status.update(f"waiting for {len(ended.unsettled)} orders to come to rest")
        settle(operator, ended, quiet_s=quiet_s, patience_s=2.0 * quiet_s + 10)
    return ended


def _is_wanted(chosen: Sequence[Found], is_sure: bool, as_json: bool) -> bool:
    if is_sure:
        return True
    if as_json or not sys.stdin.isatty():
        raise StackError(f"{len(chosen)} repairs are to be confirmed", hint="add --yes, after a look without --repair")
    _print_found(_screen(), chosen)
    return click.confirm(f"repair these {len(chosen)}?")


def _repaired(
    operator: Operator, ended: Pass, chosen: Sequence[Found], quiet_s: int, as_json: bool
) -> list[Mapping[str, Any]]:
    """Each, and then another look at their orders, once what was begun has come to rest."""
    with nullcontext() if as_json else console().status("repairing") as status:
        done = []
        for number, found in enumerate(chosen, start=1):
            if isinstance(status, Status):
                status.update(f"repairing {number} of {len(chosen)}: {found['code']} of {found['orderId']}")
            done.append(repair(operator, found, quiet_s=quiet_s))
        orders = list(dict.fromkeys(found["orderId"] for found in chosen))
        if isinstance(status, Status):
            status.update("looking again")
        ended.forget(orders)
        ended.unsettled |= dict.fromkeys(orders)
        # What is found at once may be just about to be repaired: what is found until the end is not.
        _look_until_whole(operator, ended, orders, quiet_s)
    return done


def _look_until_whole(operator: Operator, ended: Pass, orders: Sequence[str], quiet_s: int) -> None:
    settle(operator, ended, quiet_s=quiet_s, patience_s=2.0 * quiet_s + 10)
    still = list(dict.fromkeys(found["orderId"] for found in ended.discrepancies if found["orderId"] in orders))
    if still:
        ended.unsettled |= dict.fromkeys(still)
        settle(operator, ended, quiet_s=quiet_s, patience_s=2.0 * quiet_s + 10)


def _counted(so_far: Pass) -> str:
    counted = ", ".join(f"{count:,} {what}" for what, count in so_far.checked.items()) or "nothing"
    return f"{counted}; {len(so_far.found)} differ"


def _screen() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _show(ended: Pass, done: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        document = {
            "checked": dict(ended.checked),
            "discrepancies": ended.discrepancies,
            "unsettled": list(ended.unsettled),
            "repairs": list(done),
        }
        click.echo(json.dumps(document, indent=2))
        return
    screen = _screen()
    for outcome in done:
        mark = "[green]✓[/]" if outcome["repaired"] else "[yellow]·[/]"
        screen.print(f"{mark} {outcome['code']} of {outcome['orderId']}: {plain(outcome['did'] or outcome['detail'])}")
    if ended.found:
        _print_found(screen, ended.discrepancies)
    if ended.unsettled:
        screen.print(f"[yellow]not at rest, look again later:[/] {', '.join(list(ended.unsettled)[:5])}")
    verdict = f"[bold red]{len(ended.found)} differ[/]" if ended.found else "[green]nothing differs[/]"
    screen.print(f"compared {_counted(ended).partition(';')[0]}: {verdict}")


def _print_found(screen: Console, found: Sequence[Found]) -> None:
    """A block for each: ids and commands are there to be copied, so nothing stands beside them."""
    for one in found:
        of = " ".join(plain(name) for name in (one["orderId"], one["subject"]) if name)
        screen.print(f"[bold red]✗ {one['code']}[/] {of}: {plain(one['meaning'])}")
        for who, words in one["says"].items():
            screen.print(f"    {plain(who):<12} {plain(words)}")
        screen.print(f"    {'to repair' if one['isSafe'] else 'to see more':<12} [bold]{plain(one['command'])}[/]")
