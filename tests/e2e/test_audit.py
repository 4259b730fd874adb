"""The auditor finds what is wrong: each kind of damage, done to good books in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg2
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway import Gateway, payment_path
from harness.whole import assert_whole

from ops.books import DATABASES, Books, read_only
from ops.databases import driver_url
from ops.invariants import violations

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def good_books(gateway: Gateway, databases: Databases, broker: Broker) -> Mapping[str, str]:
    """One order of each kind, one return, one refund in part, one manual hold; all of it whole."""
    item = gateway.product(on_hand=50)
    confirmed = gateway.ended(gateway.order(item), "CONFIRMED")
    gateway.post(f"{payment_path(confirmed)}/refund", {"amount": "1.00"})
    shipped = gateway.fulfilled(item, 2)
    gateway.post(f"/orders/{shipped['id']}/returns", {"items": [{"item": item, "quantity": 1}], "restock": True})
    cancelled = gateway.ended(gateway.order(item), "CONFIRMED")["id"]
    gateway.post(f"/orders/{cancelled}/cancel")
    gateway.ended(cancelled, "CANCELLED")
    gateway.post("/inventory/reserve", {"items": [{"item": item, "quantity": 3}]})
    gateway.order_when(shipped["id"], lambda o: o["refunded"] == "10.00", "the return is refunded")
    gateway.order_when(confirmed["id"], lambda o: o["refunded"] == "1.00", "a part is refunded")
    assert_whole(databases, broker)
    return databases.environment


DAMAGE = [
    ("order", "update orders set status = 'RESERVED' where status = 'CONFIRMED'", "have not ended"),
    ("order", "update orders set fulfil_requested_at = now() where status = 'CONFIRMED'", "have not ended"),
    ("order", "update orders set settled_at = null where status = 'CANCELLED'", "have not ended"),
    ("payment", "update payment_attempts set ended_at = null where kind = 'REFUND'", "attempts without an outcome"),
    ("inventory", "update stock set on_hand = on_hand + 1", "stock that its movements do not explain"),
    ("inventory", "update stock set reserved = reserved - 1", "stock that its movements do not explain"),
    (
        "inventory",
        "update reservations set status = 'EXPIRED' where status = 'RESERVED'",
        "stock that its movements do not explain",
    ),
    ("inventory", "update stock_movements set kind = 'adjusted' where kind = 'committed'", "without a reason"),
    ("inventory", "update stock_movements set kind = 'adjusted' where kind = 'returned'", "without a reason"),
    ("inventory", "update return_lines set restocked = false", "without a reason"),
    ("inventory", "update sagas set manual = false", "stock held for orders that are not confirmed"),
    ("inventory", "update sagas set manual = true", "confirmed orders without stock"),
    (
        "inventory",
        "update reservations set status = 'RELEASED' where status = 'COMMITTED'",
        "fulfilled orders whose stock is not gone",
    ),
    (
        "order",
        "update orders set status = 'CONFIRMED' where status = 'FULFILLED'",
        "stock gone for orders that are not",
    ),
    ("order", "update order_return_lines set quantity = quantity + 2", "returns of what was not shipped"),
    ("inventory", "update return_lines set quantity = quantity + 1", "returns that inventory knows otherwise"),
    ("inventory", "delete from return_lines", "returns that inventory knows otherwise"),
    ("psp", "update charges set status = 'VOIDED'", "orders whose money is wrong"),
    (
        "psp",
        """insert into charges (key, reference, amount, currency, status)
           select key || '-again', reference, amount, currency, status from charges""",
        "charges that no attempt of ours explains",
    ),
    ("psp", "delete from refunds where amount = 1", "orders whose money is wrong"),
    ("order", "update orders set refunded = 0 where status = 'CONFIRMED'", "orders that heard otherwise"),
    ("payment", "update payments set refunded = refunded - 1 where refunded > 0", "refunds do not explain"),
    ("payment", "update payments set refunding = 1 where refunded = 1", "refunds do not explain"),
    ("payment", "delete from refunds where amount = 1", "refunds do not explain"),
    ("payment", "update ledger_entries set amount = amount + 1 where account = 'psp_receivable'", "out of balance"),
    ("payment", "delete from ledger_entries", "ledger and provider's book differ"),
    ("order", "update outbox set published_at = null", "unpublished events in the outbox of order"),
    ("order", "delete from order_events where event_type = 'INVENTORY_RESERVED'", "events whose cause is missing"),
]


@pytest.mark.parametrize(("database", "statement", "words"), DAMAGE)
def test_damage_is_found(good_books: Mapping[str, str], database: str, statement: str, words: str) -> None:
    def connect(url: str) -> Any:
        if url != good_books[DATABASES[database]]:
            return read_only(url)
        # Closed without a commit: nobody else ever sees the damage.
        connection = psycopg2.connect(driver_url(url))
        connection.cursor().execute(statement)
        return connection

    with Books(good_books, connect) as books:
        found = violations(books)

    assert any(words in violation for violation in found), found


def test_two_standing_charges_are_found(good_books: Mapping[str, str], databases: Databases) -> None:
    """Given a second charge at the provider that an attempt of ours explains, then it is one too many."""
    [(order_id,)] = databases.query(
        "payment_service", "select order_id from payments where status = 'PARTIALLY_REFUNDED' and refunded = 1"
    )
    charge = "select id::text from payment_attempts where order_id = %s and kind = 'CHARGE'"
    known = databases.value("payment_service", charge, order_id)
    spare = databases.value("payment_service", "select id::text from payment_attempts where kind = 'REFUND' limit 1")
    damage = {
        "payment": (
            "update payment_attempts set kind = 'CHARGE', status = 'FAILED', order_id = %s where id = %s",
            (order_id, spare),
        ),
        "psp": (
            """insert into charges (key, reference, amount, currency, status)
               select %s, reference, amount, currency, 'APPROVED' from charges where key = %s""",
            (spare, known),
        ),
    }

    def connect(url: str) -> Any:
        [database] = [name for name, variable in DATABASES.items() if good_books[variable] == url]
        if database not in damage:
            return read_only(url)
        connection = psycopg2.connect(driver_url(url))
        connection.cursor().execute(*damage[database])
        return connection

    with Books(good_books, connect) as books:
        found = violations(books)

    assert any("more than one standing charge" in violation for violation in found), found
