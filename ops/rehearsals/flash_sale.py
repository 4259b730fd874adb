"""Owns: thousands of buyers for one item of which there is far too little: as many are served as there are units.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ops.books import Books
from ops.people import customer
from ops.rehearsals.crowd import HEADINGS, Granted, Wish, ask_all, latency_row, statuses
from ops.rehearsals.figures import Figure
from ops.rehearsals.options import Option
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.script import stock

_PATIENCE_S = 180.0
_OUTCOMES = """
select o.status || coalesce(' (' || o.reason || ')', ''), count(*) from orders o join order_items i on i.order_id = o.id
where i.item = %s group by 1 order by 1
"""
_UNDER_WAY = """
select count(*) from orders o join order_items i on i.order_id = o.id
where i.item = %s and (o.status in ('PENDING', 'RESERVED') or (o.status = 'CANCELLED' and o.settled_at is null))
"""
_SAGA_MS = """
select o.status,
    extract(epoch from (select max(h.at) from order_status_history h where h.order_id = o.id) - o.created_at)
from orders o join order_items i on i.order_id = o.id where i.item = %s
"""
_SHELF = "select on_hand, reserved from stock where item = %s"
_LOOKED_EVERY_S = 0.05


def play(play: Play) -> Conclusion:
    buyers, units, seconds = play.options.whole("buyers"), play.options.whole("units"), play.options.number("seconds")
    play.patience_s = max(play.patience_s, _PATIENCE_S)
    item = play.product(on_hand=units)
    play.step(f"{buyers} buyers within {seconds:g} s for {units} pieces of {item}, one each")
    with _stocktaker(play, item) as stocktaker:
        granted = _buy(play, item, buyers, seconds)
        play.step("everybody has an answer; the sagas come to their ends")
        play.until(lambda: _number(play, _UNDER_WAY, item) == 0, "every order has ended")
    play.expect_counts("answers", {"202": buyers}, statuses(granted))
    outcomes = dict(play.books.rows("order", _OUTCOMES, (item,)))
    play.expect_counts("orders", {"CANCELLED (out_of_stock)": buyers - units, "CONFIRMED": units}, outcomes)
    play.expect("stock", stock(units, units), play.stock(item))
    play.expect("most that was ever reserved", f"{units} of {units}", f"{stocktaker.most_reserved} of {units}")
    _show_latencies(play, item, granted)
    repeated = sum(one.requests - 1 for one in granted)
    play.facts |= {"buyers": buyers, "units": units, "confirmed": outcomes.get("CONFIRMED", 0), "askedAgain": repeated}
    return harmless(
        f"{buyers} buyers, {units} pieces: exactly {units} confirmed and paid, {buyers - units} told "
        f"that it is sold out; at no moment more reserved than there was; {repeated} requests had to be repeated"
    )


def _buy(play: Play, item: str, buyers: int, seconds: float) -> list[Granted]:
    run = secrets.token_hex(4)
    body = {"items": [{"item": item, "quantity": 1}]}
    wishes = [
        Wish(path="/orders", who=customer(f"buyer-{run}-{number}"), key=f"{run}-{number}", body=body)
        for number in range(buyers)
    ]
    return ask_all(play.environment, wishes, per_s=buyers / seconds, patience_s=_PATIENCE_S)


def _show_latencies(play: Play, item: str, granted: Sequence[Granted]) -> None:
    sagas = [(status, float(seconds) * 1000) for status, seconds in play.books.rows("order", _SAGA_MS, (item,))]
    rows = (
        latency_row("order accepted, from when it was due", [one.waited_ms for one in granted if one.status == 202]),
        latency_row("accepted to CONFIRMED", [ms for status, ms in sagas if status == "CONFIRMED"]),
        latency_row("accepted to CANCELLED", [ms for status, ms in sagas if status == "CANCELLED"]),
    )
    play.grid("how long it took", HEADINGS, rows)


def _number(play: Play, statement: str, item: str) -> int:
    return int(play.books.rows("order", statement, (item,))[0][0])


@dataclass
class _Stocktaker:
    """Looks at the shelf again and again, on a connection of its own."""

    most_reserved: int = 0
    _enough: threading.Event = field(default_factory=threading.Event)

    def look(self, books: Books, item: str) -> None:
        while not self._enough.wait(_LOOKED_EVERY_S):
            [(_, reserved)] = books.rows("inventory", _SHELF, (item,))
            self.most_reserved = max(self.most_reserved, reserved)

    def stop(self) -> None:
        self._enough.set()


@contextmanager
def _stocktaker(play: Play, item: str) -> Iterator[_Stocktaker]:
    stocktaker = _Stocktaker()
    with Books(play.environment) as books:
        thread = threading.Thread(target=stocktaker.look, args=(books, item), name="stocktaker", daemon=True)
        thread.start()
        try:
            yield stocktaker
        finally:
            stocktaker.stop()
            thread.join()


REHEARSAL = Rehearsal(
    name="flash_sale",
    what="One item is on sale, thousands want it in the same seconds, and there is enough for a few of them.",
    why="All of them meet on one row: here it shows whether stock is counted or hoped for, and who has to wait.",
    watch=(
        Place(
            where="dashboard",
            what="/admin: orders a second; the item's page below /seller/products: reserved, available",
        ),
        Place(where="UI, Queues", what="inventory_service.ORDER_CREATED grows and is worked off; *.dead stay empty"),
        Place(where="command", what="ordersaga sagas --state running"),
        Place(
            where="figures",
            what="ordersaga_place_batch_orders, ordersaga_event_batch_events, ordersaga_saga_seconds",
        ),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    options=(
        Option(name="buyers", usual=3000, short=200, least=2, most=20_000, meaning="Customers.", is_whole=True),
        Option(name="units", usual=100, short=20, least=1, most=20_000, meaning="Pieces there are.", is_whole=True),
        Option(name="seconds", usual=10, short=2, least=0.5, most=600, meaning="Within so many seconds."),
    ),
    figures=(
        Figure(name="ordersaga_orders_reached_status_total", labels={"status": "CONFIRMED"}),
        Figure(name="ordersaga_reservations_total", labels={"outcome": "rejected"}),
        Figure(name="ordersaga_stock_oversold_items", is_gauge=True),
    ),
)
