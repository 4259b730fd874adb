"""The replication slot, which is where an engine's position is kept: in the database, and nowhere else.

Owns: looking at the slot, making it, dropping one whose log is gone. Must not know: Java.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

from shared.change_data.settings import EngineSettings
from shared.logs import get_logger

log = get_logger(__name__)

_READ = """
select restart_lsn - '0/0'::pg_lsn, confirmed_flush_lsn - '0/0'::pg_lsn, wal_status
from pg_replication_slots where slot_name = %s and database = current_database()
"""
# Making one waits until the transactions that are open have ended.
_OPTIONS = "-c statement_timeout=120000 -c lock_timeout=5000 -c timezone=UTC"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """``restart``: where the oldest transaction begins that is not wholly acknowledged; ``confirmed``: what is."""

    restart: int
    confirmed: int


@contextmanager
def database_session(settings: EngineSettings) -> Iterator[Any]:
    """A cursor in autocommit. Raises psycopg2.Error."""
    connection = psycopg2.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.dbname,
        user=settings.user,
        password=settings.password,
        connect_timeout=5,
        options=_OPTIONS,
        application_name=settings.name,
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def ensure_slot(settings: EngineSettings) -> tuple[Slot, bool]:
    """The slot, and whether it is a new one: then nobody knows what was committed before it. Raises psycopg2.Error."""
    with database_session(settings) as cursor:
        found = _read(cursor, settings.slot)
        if found is not None:
            return found, False
        cursor.execute("select 1 from pg_replication_slots where slot_name = %s", (settings.slot,))
        if cursor.fetchone() is not None:
            # max_slot_wal_keep_size was passed: the log it needs is gone, and it can be used no more.
            log.error("slot_lost", slot=settings.slot)
            cursor.execute("select pg_drop_replication_slot(%s)", (settings.slot,))
        cursor.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (settings.slot,))
        made = _read(cursor, settings.slot)
        if made is None:
            raise psycopg2.OperationalError(f"the slot {settings.slot} was made and is not there")
        log.info("slot_made", slot=settings.slot)
        return made, True


def _read(cursor: Any, name: str) -> Slot | None:
    """None: there is none, or the log that it needs is gone."""
    cursor.execute(_READ, (name,))
    row = cursor.fetchone()
    if row is None or row[0] is None or row[1] is None or row[2] == "lost":
        return None
    return Slot(restart=int(row[0]), confirmed=int(row[1]))
