"""What must hold once everything has settled, whatever happened before: checked from the databases and queues.

Owns: the promises of the whole system. Must not know: which faults there were.
"""

from __future__ import annotations

import time

from harness.broker import Broker
from harness.databases import Databases
from harness.waiting import PAUSE_S

# (database, what must not exist, statement that counts it)
_NONE_OF = (
    (
        "order_service",
        "orders that did not end",
        "select count(*) from orders where status in ('PENDING', 'RESERVED')",
    ),
    (
        "order_service",
        "cancelled orders that are not settled",
        "select count(*) from orders where status = 'CANCELLED' and settled_at is null",
    ),
    (
        "order_service",
        "effects whose cause is missing from the timeline",
        """select count(*) from order_events e where causation_id is not null
           and not exists (select 1 from order_events c
                           where c.order_id = e.order_id and c.event_id = e.causation_id)""",
    ),
    (
        "order_service",
        "events twice in a timeline",
        "select count(*) from (select 1 from order_events group by order_id, event_id having count(*) > 1) t",
    ),
    (
        "order_service",
        "orders confirmed or cancelled more than once",
        """select count(*) from (select 1 from order_status_history where status in ('CONFIRMED', 'CANCELLED')
           group by order_id, status having count(*) > 1) t""",
    ),
    (
        "inventory_service",
        "stock rows that differ from their open reservations",
        """select count(*) from stock s where reserved <> (
               select coalesce(sum(l.quantity), 0) from reservations r join order_lines l using (order_id)
               where r.status = 'RESERVED' and l.item = s.item)""",
    ),
    (
        "inventory_service",
        "stock rows that differ from their movements",
        """select count(*) from stock s where (on_hand, reserved) <> (
               select coalesce(sum(delta_on_hand), 0), coalesce(sum(delta_reserved), 0)
               from stock_movements m where m.item = s.item)""",
    ),
    (
        "payment_service",
        "payments with an unresolved charge or attempt",
        """select (select count(*) from payments where charging)
                + (select count(*) from payment_attempts where ended_at is null)""",
    ),
    (
        "payment_service",
        "unbalanced ledger transactions",
        "select count(*) from (select 1 from ledger_entries group by transaction_id having sum(amount) <> 0) t",
    ),
)
_LEDGER = """
select order_id::text, sum(amount) from ledger_entries where account = 'psp_receivable'
group by order_id having sum(amount) <> 0
"""
_CHARGES = "select order_id::text, id::text from payment_attempts where kind = 'CHARGE'"
_BOOK = """
select c.key, c.amount - coalesce((select sum(r.amount) from refunds r where r.charge_key = c.key), 0)
from charges c where c.status = 'APPROVED'
"""


def violations(databases: Databases) -> list[str]:
    """Every promise broken in the databases, in words; empty when all is well."""
    found = [
        f"{count} {what}"
        for database, what, statement in _NONE_OF
        if (count := databases.value(database, statement)) != 0
    ]
    found += [f"{databases.unpublished()} unpublished outbox rows"] if databases.unpublished() else []
    return [*found, *_statuses_disagree(databases), *_money_disagrees(databases)]


def assert_whole(databases: Databases, broker: Broker, *, timeout_s: float = 60.0) -> None:
    """Nothing is broken for good: what is still under way gets ``timeout_s`` to settle. No event is a dead letter."""
    deadline = time.monotonic() + timeout_s
    while (found := violations(databases)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    found += [f"dead letters in {queue}: {letters[0].headers}" for queue, letters in broker.all_dead().items()]
    assert not found, found


def _statuses_disagree(databases: Databases) -> list[str]:
    """Stock is held and money is kept for confirmed orders, and for no other."""
    confirmed = _ids(databases, "order_service", "select id::text from orders where status = 'CONFIRMED'")
    held = _ids(databases, "inventory_service", "select order_id::text from reservations where status = 'RESERVED'")
    paid = _ids(databases, "payment_service", "select order_id::text from payments where status = 'SUCCEEDED'")
    found = [f"confirmed without stock: {sorted(confirmed - held)[:3]}"] if confirmed - held else []
    found += [f"stock held for nobody: {sorted(held - confirmed)[:3]}"] if held - confirmed else []
    found += [f"confirmed without payment: {sorted(confirmed - paid)[:3]}"] if confirmed - paid else []
    return found + ([f"money kept of: {sorted(paid - confirmed)[:3]}"] if paid - confirmed else [])


def _money_disagrees(databases: Databases) -> list[str]:
    """Our ledger and the provider's own book say the same of every order, and each was charged once at most."""
    orders = {charge: order for order, charge in databases.query("payment_service", _CHARGES)}
    book = {orders.get(key, key): amount for key, amount in databases.query("psp", _BOOK) if amount != 0}
    ledger = dict(databases.query("payment_service", _LEDGER))
    differing = sorted(o for o in {*book, *ledger} if book.get(o) != ledger.get(o))
    found = [f"ledger and provider disagree on {o}: {ledger.get(o)}, {book.get(o)}" for o in differing[:3]]
    charges = databases.query("psp", "select key from charges where status <> 'VOIDED'")
    unknown = sorted(key for (key,) in charges if key not in orders)
    return found + [f"the provider knows a charge that we do not: {key}" for key in unknown[:3]]


def _ids(databases: Databases, database: str, statement: str) -> set[str]:
    return {row[0] for row in databases.query(database, statement)}
