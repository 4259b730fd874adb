"""The parts of a relay (shared/relay.py): where its rows come from, and in which order they may leave.

Two ways lead out of an outbox. Polling reads what is not published. CDC takes rows from the write-ahead log as they
are committed, and polls only for what the log does not have or what has to wait. Whichever is chosen, the promises are
the same, and both may be used on the same table, one after the other or across each other: `published_at` is the truth.
"""
