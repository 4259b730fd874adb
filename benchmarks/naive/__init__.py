"""The same saga as Nameko's documentation would have it written: for comparison, not for use.

``event_handler``, ``EventDispatcher``, ``rpc`` and one nameko-sqlalchemy session per event, rows one by one through the
ORM, in the same tables. It writes the same orders, reservations, payments, movements, ledger, history and timeline. It
has no outbox and no inbox, no retries, no dead letters and no deadlines: what a crash interrupts is lost, what comes
twice happens twice, and an event that overtakes another one is dealt with only where it was easy.
"""
