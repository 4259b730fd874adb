"""What must not exist in the databases once everything has settled, beside what the auditor looks for.

Owns: the statements. Must not know: when it has settled.
"""

from __future__ import annotations

from ops.invariants import Books

# (database, what must not exist, statement that counts it)
_NONE_OF = (
    (
        "order",
        "events twice in a timeline",
        "select count(*) from (select 1 from order_events group by order_id, event_id having count(*) > 1) t",
    ),
    (
        "order",
        "orders confirmed or cancelled more than once",
        """select count(*) from (select 1 from order_status_history where status in ('CONFIRMED', 'CANCELLED')
           group by order_id, status having count(*) > 1) t""",
    ),
    (
        "payment",
        "payments with an unresolved charge or attempt",
        """select (select count(*) from payments where charging)
                + (select count(*) from payment_attempts where ended_at is null)""",
    ),
    (
        "payment",
        "ledger transactions that do not balance",
        "select count(*) from (select 1 from ledger_entries group by transaction_id having sum(amount) <> 0) t",
    ),
    (
        "payment",
        "payments kept of orders that the provider was paid for more than once",
        """select count(*) from (select 1 from ledger_entries where account = 'psp_receivable' and amount > 0
           group by order_id having count(*) > 1) t""",
    ),
)


def broken_promises(books: Books) -> list[str]:
    """In words; empty when all is well."""
    counted = [(books.number(database, statement), what) for database, what, statement in _NONE_OF]
    return [f"{count} {what}" for count, what in counted if count]
