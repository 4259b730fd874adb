"""Owns: very many reservations in a minute, and that exactly as many are granted as there are units.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from ops.people import SHOP
from ops.rehearsals.crowd import HEADINGS, Granted, Wish, ask_all, latency_row, statuses
from ops.rehearsals.figures import Figure
from ops.rehearsals.options import Option
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.script import stock
from shared.identity import Identity, Role

_PATIENCE_S = 60.0
_RELEASED_PER_S = 100.0
# A subject may write 600 times a minute: so many people of one shop reserve in turn.
_CLERKS = 8
_HELD_FOR_S = 1800
# So many find nothing left.
_TOO_MANY_SHARE = 20


def play(play: Play) -> Conclusion:
    count, seconds = play.options.whole("count"), play.options.number("seconds")
    units = count - count // _TOO_MANY_SHARE
    item = play.product(on_hand=units)
    play.step(
        f"{count} reservations of one unit each, {count / seconds:.1f} a second, whatever the answers; {units} units"
    )
    granted = _reserve(play, item, count, seconds)
    held = [one.document["id"] for one in granted if one.status == 201]
    try:
        expected = {"201": units, "409 out_of_stock": count - units}
        play.expect_counts("answers", expected, statuses(granted))
        play.expect("stock", stock(units, units), play.stock(item))
        play.grid("from the moment a request was due to its answer", HEADINGS, _latencies(granted))
    finally:
        play.step(f"{len(held)} reservations are released again")
        released = _release(play, held)
    play.expect_counts("released", {"200": units}, statuses(released))
    play.expect("stock", stock(units, 0), play.stock(item))
    repeated = sum(one.requests - 1 for one in granted)
    play.facts |= {"reservations": count, "granted": len(held), "askedAgain": repeated}
    return harmless(
        f"{count} reservations in {seconds:g} s: exactly {units} granted for {units} units, {count - units} refused, "
        f"{repeated} had to ask again"
    )


def _reserve(play: Play, item: str, count: int, seconds: float) -> list[Granted]:
    run = secrets.token_hex(4)
    body = {"items": [{"item": item, "quantity": 1}], "ttlSeconds": _HELD_FOR_S}
    wishes = [
        Wish(
            path="/inventory/reserve",
            who=_clerk(number),
            key=f"{run}-{number}",
            body={**body, "reference": f"rehearsal-{run}-{number}"},
        )
        for number in range(count)
    ]
    return ask_all(play.environment, wishes, per_s=count / seconds, patience_s=seconds + _PATIENCE_S)


def _release(play: Play, held: Sequence[str]) -> list[Granted]:
    wishes = [
        Wish(path="/inventory/release", who=_clerk(number), key=f"release-{id_}", body={"reservationId": id_})
        for number, id_ in enumerate(held)
    ]
    return ask_all(
        play.environment, wishes, per_s=_RELEASED_PER_S, patience_s=_PATIENCE_S + len(held) / _RELEASED_PER_S
    )


def _clerk(number: int) -> Identity:
    return Identity(subject=f"clerk-{number % _CLERKS}", roles=frozenset({Role.SELLER}), seller_id=SHOP)


def _latencies(granted: Sequence[Granted]) -> list[Sequence[Any]]:
    won = [one.waited_ms for one in granted if one.status == 201]
    lost = [one.waited_ms for one in granted if one.status == 409]
    return [latency_row("reserved", won), latency_row("refused", lost)]


REHEARSAL = Rehearsal(
    name="thousand_reservations",
    what="A thousand reservations arrive within a minute, at their own pace, for a little less than a thousand units.",
    why="Under load a check and the change after it drift apart: then one unit is promised twice, or none at all.",
    watch=(
        Place(where="dashboard", what="/seller/reservations, and the item's page below /seller/products"),
        Place(where="UI, Queues", what="rpc-inventory_service: its length, and what is unacknowledged"),
        Place(
            where="command",
            what='ordersaga psql inventory_service -- -c "select status, count(*) from reservations group by 1"',
        ),
        Place(
            where="figures", what="ordersaga_rpc_request_seconds{method=reserve_stock}, ordersaga_http_request_seconds"
        ),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    options=(
        Option(name="count", usual=1000, short=200, least=20, most=20_000, meaning="Reservations.", is_whole=True),
        Option(name="seconds", usual=60, short=8, least=1, most=600, meaning="Within so many seconds."),
    ),
    figures=(
        Figure(name="ordersaga_rpc_requests_total", labels={"method": "reserve_stock"}),
        Figure(name="ordersaga_rpc_requests_total", labels={"method": "release_reservation"}),
        Figure(name="ordersaga_stock_oversold_items", is_gauge=True),
    ),
)
