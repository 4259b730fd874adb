"""Owns: `ordersaga finance`: revenue on a screen, how old it is, whether the ledger agrees. Must not know: any figure.

Exit codes: 0 the ledger agrees, or what differs is on its way; 5 it really differs, or orders do not fit their money;
6 nothing can be said, because the view is stale or not whole, or the ledger does not answer. Without a view: 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ops.command_line import readable_errors
from ops.display import plain
from ops.operator_client import json_option, operator_client
from ops.reconcile import DIFFERS
from ops.stack import Stack

CANNOT_SAY = 6
PATH = "/admin/finance"
_MOST_PAGES = 50
_COLUMNS = (
    ("day", "day"),
    ("sellerId", "seller"),
    ("standingOrders", "orders"),
    ("ordered", "ordered"),
    ("notCaptured", "not captured"),
    ("captured", "revenue"),
    ("refunded", "refunds"),
    ("net", "net"),
    ("currency", ""),
)
_COLOURS = {"agrees": "green", "behind": "yellow", "differs": "bold red"}


@click.command(name="finance")
@click.option("--from", "first", metavar="DAY", help="The first day of UTC, such as 2026-01-31.  [default: 30 days]")
@click.option("--to", "last", metavar="DAY", help="The last day, included.  [default: today]")
@click.option("--seller", metavar="SHOP", help="Of one seller alone; the ledger is compared for all.")
@click.option("--currency", metavar="EUR", help="In one currency alone.")
@json_option
@click.pass_obj
@readable_errors
def command(
    stack: Stack, first: str | None, last: str | None, seller: str | None, currency: str | None, as_json: bool
) -> None:
    """Show revenue by day and seller, how old that is, and whether the ledger agrees.

    Needs change data capture (`ordersaga up --cdc`). Exit code 5: it really differs; 6: nothing can be said.
    """
    operator = operator_client(stack)
    wanted = {"from": first, "to": last, "seller": seller, "currency": currency, "limit": 100}
    view = operator.get(PATH, **wanted)
    rows, cursor = list(view["rows"]), view["nextCursor"]
    for _ in range(_MOST_PAGES):
        if cursor is None:
            break
        # The days as the first page had them: midnight may have come.
        page = operator.get(PATH, **{**wanted, "from": view["from"], "to": view["to"], "cursor": cursor})
        rows, cursor = [*rows, *page["rows"]], page["nextCursor"]
    view = {**view, "rows": rows, "nextCursor": cursor}
    if as_json:
        click.echo(json.dumps(view, indent=2))
    else:
        _show(Console(highlight=False, soft_wrap=True), view)
    sys.exit(exit_code(view))


def exit_code(view: Mapping[str, Any]) -> int:
    """A difference counts also while the view is old: it is in what both must know."""
    verdict = view["reconciliation"]["verdict"]
    if verdict == "differs" or view["reconciliation"]["unbalanced"] or view["differences"]["certain"]:
        return DIFFERS
    return CANNOT_SAY if verdict == "unknown" or view["isStale"] or not view["isWhole"] else 0


def _show(screen: Console, view: Mapping[str, Any]) -> None:
    _show_age(screen, view)
    if view["rows"]:
        screen.print(_figures(view["rows"], view["totals"]))
    else:
        screen.print(f"nothing was ordered and no money moved from {view['from']} to {view['to']}")
    _show_differences(screen, view["differences"])
    _show_ledger(screen, view["reconciliation"])


def _show_age(screen: Console, view: Mapping[str, Any]) -> None:
    if view["asOf"] is None:
        screen.print("[yellow]nothing is known yet[/]: have changes been captured?")
    else:
        old = f"{view['ageS']:.1f} s old"
        screen.print(f"as of {view['asOf']}, {f'[yellow]{old}: stale[/]' if view['isStale'] else old}")
    if not view["isWhole"]:
        screen.print("[red]changes were lost before they were read[/]: `ordersaga cdc snapshot` tells all rows again")
    if view["stream"]["unreadable"]:
        screen.print(f"[yellow]{view['stream']['unreadable']} messages could not be read[/], see finance_feed's log")


def _figures(rows: Sequence[Mapping[str, Any]], totals: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, title in _COLUMNS:
        table.add_column(title, justify="left" if name in ("day", "sellerId", "currency") else "right")
    for row in rows:
        table.add_row(
            *(plain(str(row[name] or "unknown")) if name == "sellerId" else _cell(row[name]) for name, _ in _COLUMNS)
        )
    for total in totals:
        table.add_row(*(_cell(total.get(name, "all" if name == "day" else "")) for name, _ in _COLUMNS), style="bold")
    return table


def _cell(value: Any) -> str:
    return plain(str(value))


def _show_differences(screen: Console, found: Mapping[str, Any]) -> None:
    for one in found["orders"]:
        mark = "[bold red]✗[/]" if one["isCertain"] else "[yellow]·[/]"
        order = f"{one['orderStatus']} {one['price']}" if one["orderStatus"] else "unknown"
        says = f"order {order}, payment {one['paymentStatus'] or 'none'}"
        screen.print(
            f"{mark} {one['kind']} {one['orderId']}: {plain(says)}, captured {one['captured']}, "
            f"refunded {one['refunded']}, ledger {one['receivable']}"
        )
    if found["uncertain"]:
        screen.print(f"{found['uncertain']} of these may be explained by what is still on its way")


def _show_ledger(screen: Console, books: Mapping[str, Any]) -> None:
    for line in books["lines"]:
        for what in ("captured", "refunded"):
            screen.print(
                f"{line['currency']} {what:<8}  ledger {line['ledger'][what]:>12}  view {line['view'][what]:>12}  "
                f"missing now {line['missing'][what]}, of it really {line['settledMissing'][what]}"
            )
    if books["unbalanced"]:
        screen.print(f"[bold red]{books['unbalanced']} transactions of the ledger do not add up to nothing[/]")
    lag = "" if books["lagS"] is None else f", {books['lagS']:.1f} s behind"
    why = f" ({plain(books['trouble'])})" if books["trouble"] else ""
    colour = _COLOURS.get(books["verdict"], "yellow")
    screen.print(f"against the ledger{lag}: [{colour}]{books['verdict']}[/]: {plain(books['meaning'])}{why}")
