"""Owns: `ordersaga sagas` and `ordersaga saga`: the board, one saga, and what helps one on.

Must not know: how a saga looks on a screen (saga_screens.py), or anything that the gateway does not say.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from ops import saga_screens
from ops.command_line import readable_errors
from ops.errors import StackError
from ops.operator_client import OperatorClient, json_option, note_option, operator_client
from ops.stack import Stack

LARGEST_PAGE = 100
_REFRESH_S = 1.0
_LEAST_WIDTH = 150
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_STEPS = ("approval", "answer", "payment", "stock", "shipment", "fulfilment", "compensation", "done")
_ACTORS = ("customer", "seller", "inventory", "payment", "nobody")
_STATUSES = ("PENDING", "RESERVED", "CONFIRMED", "FULFILLED", "CANCELLED")


@click.command()
@click.option("--state", type=click.Choice(("running", "stuck", "ended")), help="Stuck: flagged for an operator.")
@click.option("--step", type=click.Choice(_STEPS), help="At this step.")
@click.option("--waits-for", "waitsFor", type=click.Choice(_ACTORS), help="Whose turn it is.")
@click.option("--status", type=click.Choice(_STATUSES), help="The order's status.")
@click.option("--seller", "sellerId", metavar="SHOP", help="Of this shop.")
@click.option("--user", "userId", metavar="NAME", help="Of this customer.")
@click.option("--text", metavar="WORD", help="Order id or its beginning, customer, shop, item, tracking, request id.")
@click.option("--since", metavar="TIME", help="Begun then or later, e.g. 2026-01-31T12:00:00Z.")
@click.option("--until", metavar="TIME", help="Begun before.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="Every one there is.")
@click.option("--watch", is_flag=True, help="Look again every second until interrupted.")
@json_option
@click.pass_obj
@readable_errors
def board(stack: Stack, /, limit: int, everything: bool, watch: bool, as_json: bool, **filters: str | None) -> None:
    """Show sagas: the step each is at, whose turn it is, since when and until when; stuck ones first."""
    client = operator_client(stack)
    most = None if everything else limit

    def look() -> dict[str, Any]:
        return _sagas(client, most, filters)

    if watch:
        _watch(look, _board_screen, is_over=lambda _: False, as_json=as_json)
        return
    found = look()
    _show(found, as_json, lambda found: saga_screens.board(found["sagas"], found["asOf"]))
    if not as_json:
        click.echo(saga_screens.count(found["sagas"], found["nextCursor"] is not None))


def _sagas(client: OperatorClient, most: int | None, filters: dict[str, str | None]) -> dict[str, Any]:
    """{"sagas", "nextCursor", "asOf"} of as many pages as it takes."""
    sagas: list[Any] = []
    cursor, page = None, {}
    while True:
        wanted = LARGEST_PAGE if most is None else min(LARGEST_PAGE, most - len(sagas))
        page = client.get("/admin/sagas", limit=wanted, cursor=cursor, **filters)
        sagas += page["sagas"]
        cursor = page["nextCursor"]
        if cursor is None or (most is not None and len(sagas) >= most):
            return {"sagas": sagas, "nextCursor": cursor, "asOf": page["asOf"]}


def _board_screen(found: dict[str, Any]) -> Table:
    table = saga_screens.board(found["sagas"], found["asOf"])
    table.caption = f"{saga_screens.count(found['sagas'], found['nextCursor'] is not None)}   {found['asOf'][11:19]}"
    return table


class _ShownByDefault(click.Group):
    """`saga ID` is `saga show ID`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShownByDefault, name="saga", no_args_is_help=True)
def saga() -> None:
    """Look at one saga (`ordersaga saga ID`), or help it on."""


@saga.command()
@click.argument("order")
@click.option("--watch", is_flag=True, help="Look again every second until it is whole.")
@json_option
@click.pass_obj
@readable_errors
def show(stack: Stack, order: str, watch: bool, as_json: bool) -> None:
    """Show its timeline with durations, and the steps that are still expected. ORDER: its id, or how that begins."""
    client = operator_client(stack)
    order_id = _order_id(client, order)

    def look() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/admin/sagas/{order_id}")
        return found

    if watch:
        _watch(look, saga_screens.whole, is_over=lambda found: bool(found["isWhole"]), as_json=as_json)
    else:
        _show(look(), as_json)


@saga.command()
@click.argument("order")
@note_option
@json_option
@click.pass_obj
@readable_errors
def nudge(stack: Stack, order: str, note: str, as_json: bool) -> None:
    """Publish the event that waits for an answer once more, with its own id."""
    _help_on(stack, order, "nudge", note, as_json)


@saga.command()
@click.argument("order")
@note_option
@json_option
@click.pass_obj
@readable_errors
def cancel(stack: Stack, order: str, note: str, as_json: bool) -> None:
    """Cancel the order as an operator; what was done for it is undone."""
    _help_on(stack, order, "cancel", note, as_json)


@saga.command()
@click.argument("order")
@note_option
@json_option
@click.pass_obj
@readable_errors
def resolve(stack: Stack, order: str, note: str, as_json: bool) -> None:
    """Take the flag away; the order is not watched until it waits for something else."""
    _help_on(stack, order, "resolve", note, as_json)


def _help_on(stack: Stack, order: str, what: str, note: str, as_json: bool) -> None:
    client = operator_client(stack)
    order_id = _order_id(client, order)
    _show(client.post(f"/admin/sagas/{order_id}/{what}", {"note": note}), as_json)


def _order_id(client: OperatorClient, order: str) -> str:
    """The whole id. Raises StackError unless exactly one order is meant."""
    if _UUID.fullmatch(order):
        return order
    found = [saga_["orderId"] for saga_ in client.get("/admin/sagas", text=order, limit=10)["sagas"]]
    if len(found) == 1:
        return str(found[0])
    hint = f"for example {', '.join(found[:3])}" if found else "the first eight characters of its id are enough"
    raise StackError(f"{len(found) or 'no'} orders are meant by {order!r}", hint=hint)


def _show(
    found: dict[str, Any],
    as_json: bool,
    screen_of: Callable[[dict[str, Any]], RenderableType] = saga_screens.whole,
) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    screen = Console(highlight=False)
    screen.width = max(screen.width, _LEAST_WIDTH)
    screen.print(screen_of(found))


def _watch(
    look: Callable[[], dict[str, Any]],
    screen_of: Callable[[dict[str, Any]], RenderableType],
    *,
    is_over: Callable[[dict[str, Any]], bool],
    as_json: bool,
) -> None:
    """For scripts a line of JSON each time; for people one screen that changes."""
    if as_json:
        for found in _looks(look, is_over):
            click.echo(json.dumps(found))
        return
    with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop") as live:
        for found in _looks(look, is_over):
            live.update(screen_of(found), refresh=True)


def _looks(look: Callable[[], dict[str, Any]], is_over: Callable[[dict[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    while True:
        found = look()
        yield found
        if is_over(found):
            return
        time.sleep(_REFRESH_S)
