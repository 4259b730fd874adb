"""Owns: `ordersaga demo`: a few scenarios played on a real stack, shown as they happen, checked at the end.
Must not know: how scenarios work (scenarios/) or what makes an order whole (invariants.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.display import show_where_to_look
from ops.invariants import Books
from ops.people import client_of
from ops.proof import prove, show_invariants
from ops.scenarios.endings import CONFIRMED, Outcomes, cancelled, in_words
from ops.scenarios.player import Player, Scene
from ops.scenarios.shop import Shop, order
from ops.stack import Stack

_LANES = {
    "order_service": "[cyan]order    [/]",
    "inventory_service": "[magenta]inventory[/]",
    "payment_service": "[yellow]payment  [/]",
}
_BAD = ("FAILED", "REJECTED", "CANCELLED", "REFUNDED", "DEADLINE")


def run(stack: Stack, console: Console, external: Mapping[str, str]) -> int:
    """Play everything; 0 only if each scenario ended as it must and every invariant holds. Raises StackError.

    The stack is started if need be; ``external`` is an environment that may name servers to use instead.
    """
    stack.up(external=external)
    environment = stack.environment()
    shop = Shop(client_of(environment))
    console.rule("[bold]a small catalogue")
    shop.stock_up()
    console.print(f"{shop.lamp}: 10 pieces, {shop.chair}: 5, {shop.vase}: 1")
    scenes = _play(stack, shop, console)
    broken = prove(environment, console)
    _show_results(scenes, shop, environment, console)
    show_invariants(broken, console)
    show_where_to_look(console, stack)
    is_good = not broken and all(scene.is_as_expected for scene in scenes)
    console.print(
        "[bold green]every order ended whole[/]" if is_good else "[bold red]not everything is as it must be[/]"
    )
    return 0 if is_good else 1


def _play(stack: Stack, shop: Shop, console: Console) -> list[Scene]:
    screen = TimelineScreen(console)
    player = Player(stack, shop, screen.show)
    scenes = []
    for name, expected, bodies in _simple_scenarios(shop):
        console.rule(f"[bold]{name}")
        scenes.append(player.follow(player.begin(name, expected, *bodies)))
    scenes.append(_play_cancel(player, shop, console))
    scenes.append(_play_kill(player, shop, console))
    return scenes


Simple = tuple[str, Outcomes, tuple[dict[str, Any], ...]]


def _simple_scenarios(shop: Shop) -> Sequence[Simple]:
    return (
        ("a confirmed order", (CONFIRMED,), (order("ada", {shop.lamp: 2, shop.chair: 1}),)),
        (
            "a declined card (rolled back)",
            (cancelled("payment_failed"),),
            (order("bob", {shop.lamp: 3}, paymentMethod="tok_insufficient_funds"),),
        ),
        (
            "out of stock (all lines or none)",
            (cancelled("out_of_stock"),),
            (order("cyd", {shop.lamp: 1, shop.chair: 50}),),
        ),
        (
            "two customers race for the last piece",
            (CONFIRMED, cancelled("out_of_stock")),
            (order("ada", {shop.vase: 1}), order("bob", {shop.vase: 1})),
        ),
    )


def _play_cancel(player: Player, shop: Shop, console: Console) -> Scene:
    name = "given up by its customer before paying"
    console.rule(f"[bold]{name}")
    scene = player.begin(name, (cancelled("customer"),), order("ada", {shop.chair: 1}, paymentMode="manual"))
    player.cancel(scene)
    return player.follow(scene)


def _play_kill(player: Player, shop: Shop, console: Console) -> Scene:
    name = "kill -9 of the payment service with the order in hand"
    console.rule(f"[bold]{name}")
    with player.frozen_payment_service():
        scene = player.begin(name, (CONFIRMED,), order("ada", {shop.lamp: 1}))
        player.kill_payment_service_over(scene)
    console.print("[red]payment_service killed[/]; the supervisor starts it again, the broker delivers again")
    return player.follow(scene)


class TimelineScreen:
    """Prints each event of an order once, as it appears."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, set[str]] = {}

    def show(self, order_: Mapping[str, Any]) -> None:
        shown = self._shown.setdefault(order_["id"], set())
        if not shown:
            self._console.print(f"order {order_['id']}  {order_['price']} {order_['currency']}")
        started = datetime.fromisoformat(order_["createdAt"])
        for event in order_["timeline"]:
            if event["eventId"] not in shown:
                shown.add(event["eventId"])
                self._print(event, started)

    def _print(self, event: Mapping[str, Any], started: datetime) -> None:
        passed_ms = (datetime.fromisoformat(event["at"]) - started).total_seconds() * 1000
        colour = "red" if any(bad in event["type"] for bad in _BAD) else "green"
        reason = event["payload"].get("reason")
        note = " ".join(part for part in (f"({reason})" if reason else "", event["note"]) if part)
        lane = _LANES.get(event["source"], event["source"])
        self._console.print(f"  {passed_ms:>8.0f} ms  {lane}  [{colour}]{event['type']:<20}[/] [dim]{note}[/]")


def _show_results(scenes: Sequence[Scene], shop: Shop, environment: Mapping[str, str], console: Console) -> None:
    console.rule("[bold]results")
    orders = Table("scenario", "expected", "seen", "")
    for scene in scenes:
        mark = "[green]as expected[/]" if scene.is_as_expected else f"[red]{scene.problem or 'different'}[/]"
        orders.add_row(scene.name, _words(scene.expected), _words(scene.seen), mark)
    console.print(orders)
    stock = Table("item", "on hand", "reserved", "available")
    for item in shop.items():
        product = shop.client.get(f"/products/{item}")
        stock.add_row(item, *(str(product[name]) for name in ("onHand", "reserved", "available")))
    console.print(stock)
    console.print(_ledger(scenes, environment))


def _words(statuses: Sequence[tuple[str, str | None]]) -> str:
    return ", ".join(in_words(status, reason) for status, reason in sorted(statuses, key=str))


def _ledger(scenes: Sequence[Scene], environment: Mapping[str, str]) -> Table:
    ids = [order_id for scene in scenes for order_id in scene.order_ids]
    with Books(environment) as books:
        rows = books.rows(
            "payment",
            """select account, currency, sum(amount) from ledger_entries
               where order_id::text = any(%s) group by account, currency order by account""",
            (ids,),
        )
    table = Table("ledger account", "balance")
    for account, currency, balance in rows:
        table.add_row(account, f"{balance} {currency}")
    total = sum(balance for _, _, balance in rows)
    table.add_row("[bold]sum[/]", f"[bold]{total}[/]")
    return table
