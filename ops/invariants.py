"""Owns: the proof that every order ended whole, read from all databases and the provider's own book.
Must not know: how orders are placed; services' code. Reads tables with SQL, as an auditor would, and changes nothing.

The four databases are read one after the other, so the answer is exact only when nothing is in progress: first
`open_work`, then `violations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.books import Books, report
from ops.money_invariants import charges_against_orders, ledger_against_provider, refunds_against_payments
from ops.stock_invariants import returns_against_shipments, stock_against_movements, stock_against_orders

__all__ = ["CHECKS", "Books", "OpenWork", "open_work", "violations"]

CHECKS = (
    "every order ended: confirmed, fulfilled, or cancelled and settled",
    "on_hand and reserved are what the movements say, and each movement has its reason",
    "stock is held exactly for confirmed orders and manual holds, and gone for good exactly for fulfilled orders",
    "nothing came back that was not shipped, and inventory knows of each return",
    "at most one standing charge per order; net 0 for cancelled orders, the price less refunds for confirmed ones",
    "the provider has confirmed every charge, void and refund",
    "refunds are what was carried out, and each order heard of its own",
    "the ledger balances and equals the provider's book",
    "every event in an outbox is published",
    "no event of a timeline lacks its cause",
)


@dataclass(frozen=True, kw_only=True)
class OpenWork:
    """What is still under way: orders and their fulfilment, attempts at the provider, unpublished events."""

    orders: int
    attempts: int
    unpublished: int

    @property
    def is_done(self) -> bool:
        return not (self.orders or self.attempts or self.unpublished)


# In the order service's own words.
_IS_OPEN = """
status in ('PENDING', 'RESERVED') or (status = 'CANCELLED' and settled_at is null)
or (status = 'CONFIRMED' and fulfil_requested_at is not null)
"""
_OPEN_ORDERS = f"select count(*) from orders where {_IS_OPEN}"  # noqa: S608
_OPEN_ORDERS_THEMSELVES = f"select id, status from orders where {_IS_OPEN}"  # noqa: S608
_OPEN_ATTEMPTS = "select count(*) from payment_attempts where ended_at is null"
_OPEN_ATTEMPTS_THEMSELVES = "select order_id, kind, status from payment_attempts where ended_at is null order by id"
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
        *_open_attempts(books),
        *stock_against_movements(books),
        *stock_against_orders(books),
        *returns_against_shipments(books),
        *charges_against_orders(books),
        *refunds_against_payments(books),
        *ledger_against_provider(books),
        *_unpublished(books),
        *_timeline_gaps(books),
    ]


def _unended_orders(books: Books) -> Iterator[str]:
    rows = books.rows("order", _OPEN_ORDERS_THEMSELVES)
    yield from report("orders that have not ended", [f"{id_} {status}" for id_, status in rows])


def _open_attempts(books: Books) -> Iterator[str]:
    """Charges, voids and refunds: until the provider has confirmed them, nobody knows whose the money is."""
    rows = books.rows("payment", _OPEN_ATTEMPTS_THEMSELVES)
    yield from report("attempts without an outcome", [f"{order} {kind} {status}" for order, kind, status in rows])


def _unpublished(books: Books) -> Iterator[str]:
    for name in ("order", "inventory", "payment"):
        rows = books.rows(name, "select event_type, event_id from outbox where published_at is null order by id")
        yield from report(f"unpublished events in the outbox of {name}", [f"{t} {id_}" for t, id_ in rows])


_GAPS = """
select e.order_id, e.event_type from order_events e join orders o on o.id = e.order_id
where e.causation_id is not null
  and not exists (select 1 from order_events c where c.order_id = e.order_id and c.event_id = e.causation_id)
"""


def _timeline_gaps(books: Books) -> Iterator[str]:
    rows = books.rows("order", _GAPS)
    yield from report("events whose cause is missing", [f"{order} {event}" for order, event in rows])
