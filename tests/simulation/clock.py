"""Time that passes only when the simulation says so, in Python and in PostgreSQL alike.

Owns: the moment it is now, and how statements that ask PostgreSQL for the time get to hear it.
Must not know: what waits for which moment.

Unqualified now() and transaction_timestamp() are found in the schema ``clock`` first, because the databases' search
path names pg_catalog last. They answer with the setting ``clock.now`` of the session: the services' SQL is unchanged.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, tzinfo=UTC)

INSTALL_CLOCK = """
create schema clock;
create function clock.transaction_timestamp() returns timestamptz language sql stable
    as $$ select pg_catalog.current_setting('clock.now')::pg_catalog.timestamptz $$;
create function clock.now() returns timestamptz language sql stable
    as $$ select pg_catalog.current_setting('clock.now')::pg_catalog.timestamptz $$;
"""
SET_NOW = "select pg_catalog.set_config('clock.now', %s, false)"


class Clock:
    """``now`` grows by at least a microsecond with every transaction: no two of them happen at the same moment."""

    def __init__(self) -> None:
        self.now = START

    def tick(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def advance_to(self, moment: datetime) -> None:
        self.now = max(self.now, moment)

    @property
    def elapsed_s(self) -> float:
        return (self.now - START).total_seconds()
