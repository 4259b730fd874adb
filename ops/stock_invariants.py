"""Owns: what must hold of stock, reservations and returned goods. Must not know: money, how orders are placed."""

from __future__ import annotations

from collections.abc import Iterator

from ops.books import Books, report

_STOCK = """
with moved as (
    select item, sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved from stock_movements group by item
), held as (
    select l.item, sum(l.quantity) as reserved
    from reservations r join order_lines l using (order_id) where r.status = 'RESERVED' group by l.item
)
select s.item, s.on_hand, coalesce(m.on_hand, 0), s.reserved, coalesce(m.reserved, 0), coalesce(h.reserved, 0)
from stock s left join moved m using (item) left join held h using (item)
where s.on_hand <> coalesce(m.on_hand, 0) or s.reserved <> coalesce(m.reserved, 0)
   or s.reserved <> coalesce(h.reserved, 0) or s.reserved > s.on_hand
"""
# on_hand = initial - committed + returned + adjusted: nothing else may move it, and no more than its reason says.
_UNEXPLAINED = """
with committed as (
    select l.item, sum(l.quantity) as units
    from reservations r join order_lines l using (order_id) where r.status = 'COMMITTED' group by l.item
), restocked as (
    select item, sum(quantity) as units from return_lines where restocked group by item
), moved as (
    select item,
        coalesce(-sum(delta_on_hand) filter (where kind = 'committed'), 0) as committed,
        coalesce(sum(delta_on_hand) filter (where kind = 'returned'), 0) as restocked,
        count(*) filter (where kind in ('reserved', 'released', 'expired') and delta_on_hand <> 0) as odd_on_hand,
        count(*) filter (where kind in ('initial', 'returned', 'adjusted') and delta_reserved <> 0) as odd_reserved
    from stock_movements group by item
)
select item, m.committed, coalesce(c.units, 0), m.restocked, coalesce(r.units, 0)
from moved m left join committed c using (item) left join restocked r using (item)
where m.committed <> coalesce(c.units, 0) or m.restocked <> coalesce(r.units, 0)
   or m.odd_on_hand > 0 or m.odd_reserved > 0
"""


def stock_against_movements(books: Books) -> Iterator[str]:
    shown = [
        f"{item}: on hand {on_hand} (movements {moved}), reserved {reserved} (movements {m}, reservations {h})"
        for item, on_hand, moved, reserved, m, h in books.rows("inventory", _STOCK)
    ]
    yield from report("stock that its movements do not explain", shown)
    shown = [
        f"{item}: committed {committed} (reservations {c}), returned {returned} (returns {r})"
        for item, committed, c, returned, r in books.rows("inventory", _UNEXPLAINED)
    ]
    yield from report("movements without a reason", shown)


_RESERVATIONS = """
select r.order_id, r.status from reservations r join sagas s using (order_id)
where r.status in ('RESERVED', 'COMMITTED') and not s.manual
"""


def stock_against_orders(books: Books) -> Iterator[str]:
    """Manual holds have no order: what they hold is compared with the stock alone."""
    reservations = books.rows("inventory", _RESERVATIONS)
    held = {order for order, status in reservations if status == "RESERVED"}
    gone = {order for order, status in reservations if status == "COMMITTED"}
    orders = books.rows("order", "select id, status from orders where status in ('CONFIRMED', 'FULFILLED')")
    confirmed = {order for order, status in orders if status == "CONFIRMED"}
    fulfilled = {order for order, status in orders if status == "FULFILLED"}
    yield from report("confirmed orders without stock", sorted(confirmed - held))
    yield from report("stock held for orders that are not confirmed", sorted(held - confirmed))
    yield from report("fulfilled orders whose stock is not gone", sorted(fulfilled - gone))
    yield from report("stock gone for orders that are not fulfilled", sorted(gone - fulfilled))


_RETURNED_TOO_MUCH = """
select r.order_id::text, l.item, sum(l.quantity), coalesce(max(i.quantity), 0)
from order_returns r
join order_return_lines l on l.return_id = r.id
join orders o on o.id = r.order_id
left join order_items i on i.order_id = r.order_id and i.item = l.item
group by r.order_id, l.item, o.status
having sum(l.quantity) > coalesce(max(i.quantity), 0) or o.status <> 'FULFILLED'
"""
_RETURNED = """
select r.id::text, l.item, l.quantity, r.restock
from order_returns r join order_return_lines l on l.return_id = r.id
"""
_TAKEN_BACK = "select return_id::text, item, quantity, restocked from return_lines"


def returns_against_shipments(books: Books) -> Iterator[str]:
    shown = [f"{order} {item}: {back} of {out}" for order, item, back, out in books.rows("order", _RETURNED_TOO_MUCH)]
    yield from report("returns of what was not shipped", shown)
    ours, theirs = set(books.rows("order", _RETURNED)), set(books.rows("inventory", _TAKEN_BACK))
    different = sorted({line[0] for line in ours ^ theirs})
    yield from report("returns that inventory knows otherwise or not at all", different)
