"""The finance service: what was earned, told from the rows that the others have committed.

Owns: a read model of orders, payments, refunds and the ledger: revenue, refunds and what was captured of what was
ordered, by day, seller and currency; how old it is; which orders do not fit together.
Publishes: nothing. Consumes: no event; the stream cdc.changes alone, as `python -m finance_service feed`.
Nobody asks it for permission and nobody waits for it: it may be away, or behind, without harm to an order.
"""
