"""Owns: the proof that every order ended whole, read from all databases and the provider's own book.
Must not know: how orders are placed; services' code. Reads tables with SQL, as an auditor would, and changes nothing.

The four databases are read one after the other, so the answer is exact only when nothing is in progress: first
`open_work`, then `violations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

DATABASES = {
    "order": "ORDER_DATABASE_URL",
    "inventory": "INVENTORY_DATABASE_URL",
    "payment": "PAYMENT_DATABASE_URL",
    "psp": "PSP_DATABASE_URL",
}
_SHOWN = 5

CHECKS = (
    "every order ended: confirmed, fulfilled, or cancelled and settled",
    "on_hand and reserved are what the movements say, and reserved what the open reservations say",
    "stock is held exactly for confirmed orders",
    "at most one charge per order; net 0 for cancelled orders, the price for confirmed ones",
    "the ledger balances and equals the provider's book",
    "every event in an outbox is published",
    "no event of a timeline lacks its cause",
)


@dataclass(frozen=True, kw_only=True)
class OpenWork:
    """What is still under way: orders, payment attempts, unpublished events."""

    orders: int
    attempts: int
    unpublished: int

    @property
    def is_done(self) -> bool:
        return not (self.orders or self.attempts or self.unpublished)


class Books:
    """Read-only connections to the four databases. Use as a context manager."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._stack = ExitStack()
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> Books:
        for name, variable in DATABASES.items():
            self._connections[name] = self._stack.enter_context(closing(_connect(self._environment[variable])))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def rows(self, database: str, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connections[database].cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def number(self, database: str, statement: str) -> int:
        return int(self.rows(database, statement)[0][0])


def _connect(database_url: str) -> Any:
    url = make_url(database_url)
    connection = psycopg2.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database, connect_timeout=5
    )
    connection.set_session(readonly=True, autocommit=True)
    return connection


_OPEN_ORDERS = """
select count(*) from orders
where status in ('PENDING', 'RESERVED') or (status = 'CANCELLED' and settled_at is null)
"""
_OPEN_ATTEMPTS = "select count(*) from payment_attempts where ended_at is null"
_UNPUBLISHED = "select count(*) from outbox where published_at is null"


def open_work(books: Books) -> OpenWork:
    """What has not ended yet."""
    return OpenWork(
        orders=books.number("order", _OPEN_ORDERS),
        attempts=books.number("payment", _OPEN_ATTEMPTS),
        unpublished=sum(books.number(name, _UNPUBLISHED) for name in ("order", "inventory", "payment")),
    )


def violations(books: Books) -> list[str]:
    """Every broken invariant in words, naming the first few orders or items; empty when all hold."""
    return [
        *_unended_orders(books),
        *_stock_against_movements(books),
        *_stock_against_orders(books),
        *_charges_against_orders(books),
        *_ledger_against_provider(books),
        *_unpublished(books),
        *_timeline_gaps(books),
    ]


def _unended_orders(books: Books) -> Iterator[str]:
    rows = books.rows(
        "order",
        """select id, status from orders
           where status in ('PENDING', 'RESERVED') or (status = 'CANCELLED' and settled_at is null)""",
    )
    yield from _report("orders that have not ended", [f"{id_} {status}" for id_, status in rows])


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


def _stock_against_movements(books: Books) -> Iterator[str]:
    shown = [
        f"{item}: on hand {on_hand} (movements {moved}), reserved {reserved} (movements {m}, reservations {h})"
        for item, on_hand, moved, reserved, m, h in books.rows("inventory", _STOCK)
    ]
    yield from _report("stock that its movements do not explain", shown)


def _stock_against_orders(books: Books) -> Iterator[str]:
    held = {row[0] for row in books.rows("inventory", "select order_id from reservations where status = 'RESERVED'")}
    confirmed = {row[0] for row in books.rows("order", "select id from orders where status = 'CONFIRMED'")}
    yield from _report("confirmed orders without stock", sorted(confirmed - held))
    yield from _report("stock held for orders that are not confirmed", sorted(held - confirmed))


_CHARGES = "select key, amount from charges where status = 'APPROVED'"
_CHARGE_REFUNDS = "select charge_key, sum(amount) from refunds group by charge_key"
_CHARGE_ATTEMPTS = "select id::text, order_id::text from payment_attempts where kind = 'CHARGE'"


def _net_charges(books: Books) -> tuple[dict[str, Decimal], dict[str, int], list[str]]:
    """Order → what the provider kept; order → number of charges; keys that belong to no attempt of ours."""
    order_of = dict(books.rows("payment", _CHARGE_ATTEMPTS))
    refunded = dict(books.rows("psp", _CHARGE_REFUNDS))
    net: dict[str, Decimal] = {}
    charges: Counter[str] = Counter()
    foreign = []
    for key, amount in books.rows("psp", _CHARGES):
        if key not in order_of:
            foreign.append(key)
            continue
        charges[order_of[key]] += 1
        net[order_of[key]] = net.get(order_of[key], Decimal(0)) + amount - refunded.get(key, Decimal(0))
    return net, dict(charges), foreign


def _charges_against_orders(books: Books) -> Iterator[str]:
    net, charges, foreign = _net_charges(books)
    yield from _report("charges that no attempt of ours explains", foreign)
    yield from _report("orders charged more than once", [order for order, count in charges.items() if count > 1])
    orders = books.rows("order", "select id::text, status, price from orders")
    wrong = [
        f"{order} {status}: price {price}, provider kept {net.get(order, Decimal(0))}"
        for order, status, price in orders
        if net.get(order, Decimal(0)) != (price if status in ("CONFIRMED", "FULFILLED") else Decimal(0))
    ]
    yield from _report("orders whose money is wrong", wrong)
    known = {order for order, _, _ in orders}
    yield from _report("money kept for unknown orders", [o for o, kept in net.items() if kept and o not in known])


_UNBALANCED = """
select transaction_id, sum(amount) from ledger_entries group by transaction_id, currency having sum(amount) <> 0
"""
_RECEIVABLE = """
select order_id::text, sum(amount) from ledger_entries where account = 'psp_receivable' group by order_id
"""


def _ledger_against_provider(books: Books) -> Iterator[str]:
    yield from _report("ledger transactions out of balance", [row[0] for row in books.rows("payment", _UNBALANCED)])
    net, _, _ = _net_charges(books)
    ours = {order: amount for order, amount in books.rows("payment", _RECEIVABLE) if amount}
    theirs = {order: amount for order, amount in net.items() if amount}
    different = sorted(order for order in ours.keys() | theirs.keys() if ours.get(order) != theirs.get(order))
    yield from _report("orders whose ledger and provider's book differ", different)


def _unpublished(books: Books) -> Iterator[str]:
    for name in ("order", "inventory", "payment"):
        rows = books.rows(name, "select event_type, event_id from outbox where published_at is null order by id")
        yield from _report(f"unpublished events in the outbox of {name}", [f"{t} {id_}" for t, id_ in rows])


_GAPS = """
select e.order_id, e.event_type from order_events e join orders o on o.id = e.order_id
where e.causation_id is not null
  and not exists (select 1 from order_events c where c.order_id = e.order_id and c.event_id = e.causation_id)
"""


def _timeline_gaps(books: Books) -> Iterator[str]:
    rows = books.rows("order", _GAPS)
    yield from _report("events whose cause is missing", [f"{order} {event}" for order, event in rows])


def _report(what: str, found: Sequence[object]) -> Iterator[str]:
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        yield f"{len(found)} {what}: {', '.join(str(one) for one in found[:_SHOWN])}{more}"
