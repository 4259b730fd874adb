"""Owns: orders for more than there is: all lines or none, nothing charged, nothing left held.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

from ops.rehearsals.figures import Figure
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.script import count, ended_charges, words

_SHORT = "CANCELLED (out_of_stock)"


def play(play: Play) -> Conclusion:
    plenty, scarce = play.product(), play.product(on_hand=3)
    play.step(f"{plenty}: 10 on the shelf; {scarce}: 3")
    first = play.ended(play.place(scarce, 2))
    play.expect("2 of 3 pieces", "CONFIRMED", words(first))
    _too_much(play, scarce)
    _one_line_of_two(play, plenty, scarce)
    _last_piece(play, scarce)
    play.step("a delivery comes: 5 more of it")
    play.ask("/inventory/adjust", {"item": scarce, "delta": 5, "reason": "delivery"})
    play.expect("ordered again", "CONFIRMED", words(play.ended(play.place(scarce, 2))))
    play.expect_stock(scarce, 8, 5)
    play.expect_stock(plenty, 10, 0)
    return harmless(
        "4 orders found too little: none was charged, none kept a part of it, and the last piece went to one"
    )


def _too_much(play: Play, scarce: str) -> None:
    play.step("an order for 2 more, of which there is 1")
    order = play.ended(play.place(scarce, 2))
    play.expect("order", _SHORT, words(order))
    play.expect("charged", 0, count(order, "PAYMENT_SUCCESS"))
    play.expect("stock", "3 on hand, 2 reserved", play.stock(scarce))


def _one_line_of_two(play: Play, plenty: str, scarce: str) -> None:
    play.step("an order of two lines, of which one cannot be held")
    lines = [{"item": plenty, "quantity": 4}, {"item": scarce, "quantity": 9}]
    order = play.ended(play.place(plenty, items=lines))
    play.expect("order", _SHORT, words(order))
    play.expect("charges at the provider", 0, _charges(play, order["id"]))
    play.expect("of the line that there was", "10 on hand, 0 reserved", play.stock(plenty))


def _charges(play: Play, order_id: str) -> int:
    """An order of which payment has not heard yet has no payment at all."""
    order = play.order(order_id)
    known = order["payment"] or {}
    return len(ended_charges(play.payment(order))) if known.get("paymentId") else 0


def _last_piece(play: Play, scarce: str) -> None:
    play.step("three customers want the last piece")
    racing = [play.place(scarce, 1) for _ in range(3)]
    ended = sorted(words(play.ended(order_id)) for order_id in racing)
    play.expect("orders", f"{_SHORT}, {_SHORT}, CONFIRMED", ", ".join(ended))
    play.expect("stock", "3 on hand, 3 reserved", play.stock(scarce))


REHEARSAL = Rehearsal(
    name="inventory_shortage",
    what="Customers order more than there is: too much of one thing, one line of two, the last piece three times.",
    why="A shop that keeps half an order, or charges for what it has not got, pays for it with every shortage.",
    watch=(
        Place(
            where="dashboard", what="/admin/sagas?state=ended; the item's page below /seller/products shows each move"
        ),
        Place(where="UI, Queues", what="order_service.INVENTORY_REJECTED, payment_service.ORDER_CANCELLED"),
        Place(where="command", what="ordersaga saga ID"),
        Place(where="figures", what="ordersaga_reservations_total{outcome=rejected}"),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    figures=(
        Figure(name="ordersaga_reservations_total", labels={"outcome": "rejected"}),
        Figure(name="ordersaga_orders_reached_status_total", labels={"reason": "out_of_stock"}),
        Figure(name="ordersaga_stock_oversold_items", is_gauge=True),
    ),
)
