"""Owns: what is counted before and after every rehearsal: orders, stock, money, queues, figures.

Must not know: which rehearsal it is for. The whole stack is counted, whoever else uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ops.books import Books
from ops.rehearsals.figures import Figure, samples_of, values_of
from ops.rehearsals.queues import ready
from ops.stack import Stack

Measured = Mapping[str, Decimal | float | int]
"""Title → number, in the order in which it is shown."""

ALWAYS = (
    Figure(name="ordersaga_events_applied_total"),
    Figure(name="ordersaga_relay_events_published_total"),
    Figure(name="ordersaga_events_retried_total"),
    Figure(name="ordersaga_events_dead_lettered_total"),
    Figure(name="ordersaga_inbox_duplicates_total"),
)
_ORDERS = "select status || coalesce(' (' || reason || ')', ''), count(*) from orders group by 1 order by 1"
_UNITS = "select coalesce(sum(on_hand), 0), coalesce(sum(reserved), 0) from stock"
_HELD = "select count(*) from reservations where status = 'RESERVED'"
_CAPTURED = """
select currency, sum(amount) from payment_attempts where kind = 'CHARGE' and status = 'SUCCEEDED' group by 1 order by 1
"""
_REFUNDED = "select currency, sum(refunded) from payments where refunded > 0 group by 1 order by 1"
_UNPUBLISHED = "select count(*) from outbox where published_at is null"


def measure(stack: Stack, books: Books, figures: Sequence[Figure]) -> Measured:
    """Everything as it is at this moment; one after the other, so exact when nothing is under way."""
    return {
        **{f"orders {status}": count for status, count in books.rows("order", _ORDERS)},
        **_stock(books),
        **{f"captured {currency}": amount for currency, amount in books.rows("payment", _CAPTURED)},
        **{f"refunded {currency}": amount for currency, amount in books.rows("payment", _REFUNDED)},
        "events not yet published": sum(books.number(name, _UNPUBLISHED) for name in ("order", "inventory", "payment")),
        **depths(ready(stack.environment()["AMQP_URI"])),
        **values_of((*ALWAYS, *figures), samples_of(stack)),
    }


def _stock(books: Books) -> dict[str, int]:
    [(on_hand, reserved)] = books.rows("inventory", _UNITS)
    return {
        "stock on hand": int(on_hand),
        "stock reserved": int(reserved),
        "reservations held": books.number("inventory", _HELD),
    }


def depths(messages: Mapping[str, int]) -> dict[str, int]:
    """Work, retries and dead letters in all; each queue of dead letters that holds any by itself."""
    dead = {name: count for name, count in messages.items() if name.endswith(".dead")}
    retrying = {name: count for name, count in messages.items() if ".retry." in name}
    work = sum(count for name, count in messages.items() if name not in dead and name not in retrying)
    return {
        "messages in work queues": work,
        "messages in retry queues": sum(retrying.values()),
        "dead letters": sum(dead.values()),
        **{f"dead letters {name}": count for name, count in sorted(dead.items()) if count},
    }


def change_of(before: Measured, after: Measured, title: str) -> Decimal | float | int:
    """What is not there counts as 0."""
    return after.get(title, 0) - before.get(title, 0)  # type: ignore[operator]  # one title is one kind of number


def titles(before: Measured, after: Measured) -> list[str]:
    """All of both, in groups by their first word."""
    every = dict.fromkeys([*after, *before])
    groups = list(dict.fromkeys(_group(title) for title in every))
    return sorted(every, key=lambda title: groups.index(_group(title)))


def _group(title: str) -> str:
    return title.partition(" ")[0]
