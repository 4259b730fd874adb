"""What must hold once everything has settled, whatever happened before: the auditor's checks, and a few more.

Owns: when a test may say that all is well. Must not know: which faults there were.
"""

from __future__ import annotations

import time

from harness.broker import Broker
from harness.databases import Databases
from harness.waiting import PAUSE_S
from ops.invariants import Books
from ops.invariants import violations as audited

# (database, what must not exist, statement that counts it); beside what the auditor looks for
_NONE_OF = (
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
        "payment_service",
        "payments with an unresolved charge or attempt",
        """select (select count(*) from payments where charging)
                + (select count(*) from payment_attempts where ended_at is null)""",
    ),
    (
        "payment_service",
        "ledger transactions that do not balance",
        "select count(*) from (select 1 from ledger_entries group by transaction_id having sum(amount) <> 0) t",
    ),
    (
        "payment_service",
        "payments kept of orders that the provider was paid for more than once",
        """select count(*) from (select 1 from ledger_entries where account = 'psp_receivable' and amount > 0
           group by order_id having count(*) > 1) t""",
    ),
)


def violations(databases: Databases) -> list[str]:
    """Every promise broken in the databases, in words; empty when all is well."""
    with Books(databases.environment) as books:
        found = audited(books)
    return found + [
        f"{count} {what}"
        for database, what, statement in _NONE_OF
        if (count := databases.value(database, statement)) != 0
    ]


def assert_whole(databases: Databases, broker: Broker, *, timeout_s: float = 60.0) -> None:
    """Nothing is broken for good: what is still under way gets ``timeout_s`` to settle. No event is a dead letter."""
    deadline = time.monotonic() + timeout_s
    while (found := violations(databases)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    found += [f"dead letters in {queue}: {letters[0].headers}" for queue, letters in broker.all_dead().items()]
    assert not found, found
