"""Owns: one good order, looked at from every side: what services say, and what stands in each database.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ops.rehearsals.figures import Figure
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.provider import booked
from ops.scenarios.script import charges, money, types, words

_STORY = ("ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_SUCCESS", "ORDER_CONFIRMED")
_ROW = """
select status || ', ' || price || ' ' || currency || ', stock ' || stock || ', money ' || money
from orders where id = %s
"""
_LINES = "select string_agg(item || ' x ' || quantity, ', ' order by item) from order_items where order_id = %s"
_HISTORY = "select string_agg(status, ', ' order by id) from order_status_history where order_id = %s"
# As recorded: what has overtaken another stands before it.
_TIMELINE = "select string_agg(event_type, ', ' order by event_type) from order_events where order_id = %s"
_RESERVATION = """
select string_agg(
    status || ', generation ' || generation || case when expires_at is null then ', kept' else '' end, '; '
)
from reservations where order_id = %s
"""
_MOVED = """
select string_agg(item || ' ' || kind || ' ' || delta_reserved, ', ' order by item) from stock_movements
where order_id = %s
"""
_PAYMENT = "select status || ', ' || amount || ' ' || currency from payments where order_id = %s"
_ATTEMPTS = "select string_agg(kind || ' ' || status, ', ' order by id) from payment_attempts where order_id = %s"
_LEDGER = """
select string_agg(account || ' ' || amount, ', ' order by account) || ', sum ' || sum(amount)
from ledger_entries where order_id = %s
"""
_OUTBOX = """
select string_agg(event_type, ', ' order by id), count(*) filter (where published_at is null)
from outbox where aggregate_id = %s
"""
_IDS = "select event_id::text from outbox where aggregate_id = %s"
_HEARD = "select string_agg(event_type, ', ' order by event_type) from inbox where event_id = any(cast(%s as uuid[]))"


def play(play: Play) -> Conclusion:
    teapot, cup = play.product(price="24.50"), play.product(price="4.00")
    lines = [{"item": teapot, "quantity": 1}, {"item": cup, "quantity": 4}]
    order_id = play.place(teapot, items=lines)
    play.step(f"order {order_id}: two lines of one seller, to be paid at once")
    order = play.ended(order_id)
    play.step("it has ended; what the services say of it:")
    _through_the_services(play, order, (teapot, cup))
    play.step("the same, read from each database as an operator would:")
    _in_the_databases(play, order)
    took_ms = _took_ms(play, order_id)
    play.facts |= {"orderId": order_id, "status": order["status"], "tookMs": took_ms}
    return harmless(f"one order, CONFIRMED after {took_ms} ms, and three databases and the provider's book agree on it")


def _through_the_services(play: Play, order: Mapping[str, Any], items: tuple[str, str]) -> None:
    play.expect("order", "CONFIRMED", words(order))
    play.expect("timeline", ", ".join(_STORY), ", ".join(event for event in types(order) if event in _STORY))
    payment = play.payment(order)
    play.expect("payment", f"SUCCEEDED, 0.00 of {order['price']} refunded", money(payment))
    play.expect("charges", "SUCCEEDED", charges(payment))
    reservation = play.get(f"/reservations/{order['id']}")
    play.expect("reservation", "order RESERVED", f"{reservation['kind']} {reservation['status']}")
    quantities = {line["item"]: line["quantity"] for line in order["items"]}
    for item in items:
        play.expect_stock(item, 10, quantities[item])


def _in_the_databases(play: Play, order: Mapping[str, Any]) -> None:
    _events(play, order["id"])
    price, lines = order["price"], sorted((line["item"], line["quantity"]) for line in order["items"])
    sold = ", ".join(f"{item} x {quantity}" for item, quantity in lines)
    moved = ", ".join(f"{item} reserved {quantity}" for item, quantity in lines)
    ledger = f"customer_payments -{price}, psp_receivable {price}, sum 0.00"
    for database, what, statement, expected in (
        ("order", "orders", _ROW, f"CONFIRMED, {price} EUR, stock HELD, money TAKEN"),
        ("order", "order_items", _LINES, sold),
        ("order", "order_status_history", _HISTORY, "PENDING, RESERVED, CONFIRMED"),
        ("order", "order_events", _TIMELINE, _listed(types(order))),
        ("inventory", "reservations", _RESERVATION, "RESERVED, generation 1, kept"),
        ("inventory", "stock_movements", _MOVED, moved),
        ("payment", "payments", _PAYMENT, f"SUCCEEDED, {price} EUR"),
        ("payment", "payment_attempts", _ATTEMPTS, "CHARGE SUCCEEDED"),
        ("payment", "ledger_entries", _LEDGER, ledger),
    ):
        play.expect(f"{database}: {what}", expected, _value(play, database, statement, order["id"]))
    play.expect("psp: charges", f"APPROVED {price}", "{status} {amount}".format(**booked(play, order)))


def _events(play: Play, order_id: str) -> None:
    """Each once: recorded by its publisher, published, applied by whoever consumes it."""
    for database, said, heard in (
        ("order", "ORDER_CREATED, ORDER_CONFIRMED", "INVENTORY_RESERVED, PAYMENT_SUCCESS"),
        ("inventory", "INVENTORY_RESERVED", "ORDER_CREATED, PAYMENT_SUCCESS"),
        ("payment", "PAYMENT_SUCCESS", "INVENTORY_RESERVED"),
    ):
        play.until(partial(_has_published, play, database, order_id), f"{database} has published all")
        play.expect(f"{database}: outbox", said, play.books.rows(database, _OUTBOX, (order_id,))[0][0])
        play.until(partial(_has_heard, play, database, order_id, heard), f"{database} has heard all")
        play.expect(f"{database}: inbox", heard, _heard(play, database, order_id))


def _listed(events: Iterable[str]) -> str:
    return ", ".join(sorted(events))


def _has_published(play: Play, database: str, order_id: str) -> bool:
    return int(play.books.rows(database, _OUTBOX, (order_id,))[0][1]) == 0


def _has_heard(play: Play, database: str, order_id: str, events: str) -> bool:
    return _heard(play, database, order_id) == events


def _heard(play: Play, database: str, order_id: str) -> str:
    ids = [id_ for name in ("order", "inventory", "payment") for (id_,) in play.books.rows(name, _IDS, (order_id,))]
    return str(play.books.rows(database, _HEARD, (ids,))[0][0])


def _value(play: Play, database: str, statement: str, order_id: str) -> str:
    rows = play.books.rows(database, statement, (order_id,))
    return str(rows[0][0]) if rows else "no row"


_TOOK = """
select round(extract(epoch from max(at) - min(at)) * 1000)::int from order_status_history where order_id = %s
"""


def _took_ms(play: Play, order_id: str) -> int:
    return int(play.books.rows("order", _TOOK, (order_id,))[0][0])


REHEARSAL = Rehearsal(
    name="e2e_checkout_success",
    what="One customer orders two things and pays at once; then every table that should know of it is read.",
    why="Whoever rehearses failures has to know first how it looks when nothing fails.",
    watch=(
        Place(where="dashboard", what="/orders: the newest order; its page draws the saga as it runs"),
        Place(where="UI, Exchanges", what="order_service.events, inventory_service.events, payment_service.events"),
        Place(where="command", what="ordersaga saga ID; ordersaga logs --order ID"),
        Place(where="figures", what="ordersaga_saga_seconds{outcome=confirmed}, ordersaga_reservations_total"),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    figures=(
        Figure(name="ordersaga_orders_reached_status_total", labels={"status": "CONFIRMED"}),
        Figure(name="ordersaga_payment_attempts_ended_total", labels={"kind": "CHARGE", "status": "SUCCEEDED"}),
    ),
)
