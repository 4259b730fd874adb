"""Owns: payments that are heard of only after their reservations have run out: first in a naive shop, then here.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ops.rehearsals.figures import Figure
from ops.rehearsals.naive_shop import naive_shop
from ops.rehearsals.options import Option, Options
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.script import stock

_USUAL_TTL_S = 1800.0
_USUAL_LIMIT_S = 30.0
# A charge begins only if it can end this long before the reservation does.
_MARGIN_S = 5.0
_EXPIRED = "CANCELLED (reservation_expired)"
_SHARES = "select coalesce(sum(refunded), 0) from payments where order_id = any(cast(%s as uuid[]))"
_HELD_TWICE = """
select count(*) from reservations
where order_id = any(cast(%s as uuid[])) and generation = 2 and status = 'RESERVED'
"""
_LAPSED = """
select count(*) from reservations where order_id = any(cast(%s as uuid[])) and generation = 1 and status = 'EXPIRED'
"""


def settings(options: Options) -> Mapping[str, str]:
    ttl_s = options.number("ttl")
    limit_s = min(_USUAL_LIMIT_S, (ttl_s - _MARGIN_S) / 2)
    limit = {} if limit_s == _USUAL_LIMIT_S else {"PSP_LIMIT_S": f"{limit_s:g}"}
    return limit if ttl_s == _USUAL_TTL_S else {"RESERVATION_TTL_S": f"{ttl_s:g}", **limit}


def play(play: Play) -> Conclusion:
    units, ttl_s = play.options.whole("units"), play.options.number("ttl")
    play.patience_s += ttl_s + play.options.number("apart")
    naively_sold = _naively(play, units, ttl_s)
    wanted, left = play.product(on_hand=units), play.product(on_hand=units)
    early, later, lapsing = _late_payments(play, units, wanted, left)
    play.step("all news has come; each order comes to its end")
    for order_id in (*early, *later, *lapsing):
        play.ended(order_id)
    _expect_endings(play, units, early, later, lapsing)
    play.expect("wanted item", stock(units, units), play.stock(wanted))
    play.expect("item that nobody else wanted", stock(units, units), play.stock(left))
    sold = sum(play.statuses([*early, *later]).get(status, 0) for status in ("CONFIRMED", "FULFILLED"))
    play.expect("sold of the wanted item", units, sold)
    _compare(play, units, naively_sold, sold)
    play.facts |= {"units": units, "naivelySold": naively_sold, "sold": sold, "refunded": units, "heldAgain": units}
    return harmless(
        f"{units} units, {2 * units} customers who paid: here {sold} were sold and {units} got their money back; "
        f"{units} late ones whose goods were still there kept them; the naive shop sold {naively_sold} of {units}"
    )


def _naively(play: Play, units: int, ttl_s: float) -> int:
    """The same customers and minutes in the shop that only looks at its clock; how many it sells."""
    with naive_shop(play.environment["INVENTORY_DATABASE_URL"], item="pen", units=units, ttl_s=ttl_s) as shop:
        play.step(f"a naive shop (temporary tables, a clock of its own): {units} units, {units} customers hold them")
        early = [f"early-{number}" for number in range(units)]
        later = [f"later-{number}" for number in range(units)]
        play.expect("naive: holds of the early ones", units, sum(shop.hold(name, 0.0) for name in early))
        play.expect("naive: others before the time is up", 0, sum(shop.hold(name, ttl_s / 2) for name in later))
        play.step("their holds run out while the provider is still at work; others take the same units and pay")
        play.expect("naive: others after the time is up", units, sum(shop.hold(name, ttl_s + 1.0) for name in later))
        for name in later:
            shop.paid(name)
        play.step("then the early ones' payments come in, and each is a sale")
        for name in early:
            shop.paid(name)
        play.expect("naive: sold", f"{2 * units} of {units}", f"{shop.sold} of {units}")
        play.expect("naive: left on the shelf", -units, shop.on_hand)
        return shop.sold


def _late_payments(play: Play, units: int, wanted: str, left: str) -> tuple[list[str], list[str], list[str]]:
    """Orders whose goods are taken by others meanwhile, those others, and orders whose goods nobody else wants."""
    at_most_s = 3 * play.patience_s
    with ExitStack() as unheard:
        unheard.enter_context(play.trouble("relay_pause", "payment_service", at_most_s=at_most_s))
        early = _paid(play, wanted, units, "early customers pay; the news of it is held back")
        play.wait(play.options.number("apart"), "the others come later")
        lapsing = _paid(play, left, units, "more pay for a thing that nobody else wants; held back, too")
        play.until(lambda: play.all_are(early, _EXPIRED), "the early reservations have run out")
        play.step("the early ones' reservations have run out: order_service has heard of no payment, and cancels")
        play.expect("their units are free again", stock(units, 0), play.stock(wanted))
        later = _paid(play, wanted, units, "other customers order and pay the same units")
        with play.trouble("relay_pause", "inventory_service", at_most_s=at_most_s):
            play.until(lambda: _count(play, _LAPSED, lapsing) == units, "the other reservations have run out as well")
            play.step("the last reservations have run out, and nobody has heard of that either")
            unheard.close()
            play.until(lambda: play.all_are(lapsing, "CONFIRMED"), "their payments are heard of")
            play.step("payments are heard of first: order_service confirms, inventory has to hold the goods again")
    return early, later, lapsing


def _paid(play: Play, item: str, units: int, what: str) -> list[str]:
    orders = [play.place(item) for _ in range(units)]
    play.until(lambda: play.charged(orders) == units, f"the money of {units} orders is taken")
    play.step(f"{what}: {units} orders for {item}")
    return orders


def _expect_endings(play: Play, units: int, early: Sequence[str], later: Sequence[str], lapsing: Sequence[str]) -> None:
    play.expect_counts("early orders", {_EXPIRED: units}, play.statuses(early))
    refunded = play.books.rows("payment", _SHARES, (list(early),))[0][0]
    play.expect("given back to them", f"{10 * units}.00", refunded)
    play.expect_counts("later orders", {"CONFIRMED": units}, play.statuses(later))
    play.expect_counts("orders whose goods nobody took", {"CONFIRMED": units}, play.statuses(lapsing))
    play.until(lambda: _count(play, _HELD_TWICE, lapsing) == units, "their goods are held again")
    play.expect("held again, as a second generation", units, _count(play, _HELD_TWICE, lapsing))


def _count(play: Play, statement: str, order_ids: Sequence[str]) -> int:
    return int(play.books.rows("inventory", statement, (list(order_ids),))[0][0])


def _compare(play: Play, units: int, naively_sold: int, sold: int) -> None:
    rows = (
        ("a naive shop", units, 2 * units, naively_sold, naively_sold - units),
        ("here", units, 2 * units, sold, sold - units),
    )
    play.grid("units of one item, and customers who paid for one", ("shop", "units", "paid", "sold", "oversold"), rows)


REHEARSAL = Rehearsal(
    name="oversell",
    what="Payments are heard of only after their reservations have run out, when others have bought the same units.",
    why="A reservation that lapses by its time alone sells a thing twice as soon as a payment is late.",
    watch=(
        Place(
            where="dashboard",
            what="/admin/chaos: relay_pause, with a banner everywhere; /admin/sagas; /seller/reservations",
        ),
        Place(where="UI, Exchanges", what="payment_service.events: nothing is published while the relay pauses"),
        Place(where="UI, Queues", what="inventory_service.PAYMENT_SUCCESS, order_service.INVENTORY_REFUNDED"),
        Place(
            where="command",
            what='ordersaga psql payment_service -- -c "select count(*) from outbox where published_at is null"',
        ),
        Place(
            where="figures",
            what="ordersaga_outbox_oldest_age_seconds (alert: OutboxNotDraining), ordersaga_stock_oversold_items",
        ),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    options=(
        Option(
            name="ttl", usual=120, short=20, least=10, most=3600, meaning="Seconds that stock is held for a payment."
        ),
        Option(
            name="apart", usual=20, short=14, least=3, most=300, meaning="Seconds between the two groups of early ones."
        ),
        Option(name="units", usual=5, short=2, least=1, most=100, meaning="Units of each item.", is_whole=True),
    ),
    settings=settings,
    figures=(
        Figure(name="ordersaga_reservations_total", labels={"outcome": "expired"}),
        Figure(name="ordersaga_reservations_total", labels={"outcome": "reserved"}),
        Figure(name="ordersaga_payment_attempts_ended_total", labels={"kind": "REFUND", "status": "SUCCEEDED"}),
        Figure(name="ordersaga_stock_oversold_items", is_gauge=True),
        Figure(name="ordersaga_chaos_acts_total", labels={"kind": "relay_pause"}),
    ),
)
