"""Owns: who may read a service's log: a role for each database that can do nothing else. Must not know: what is read.

A role logs in to its own database, reads the tables that are published there, and what is written to the log. It is
made, and taken away with its slots, by an administrator of the database server: `ordersaga up --cdc` and `--no-cdc` do
it on the local stack; elsewhere ``python -m ops.replication open|close`` with ADMIN_DATABASE_URL and, for `open`, the
passwords ORDER_REPLICATION_PASSWORD, INVENTORY_REPLICATION_PASSWORD, PAYMENT_REPLICATION_PASSWORD (or files that hold
them: …_PASSWORD_FILE); a database without one is left alone.

What is not prevented: whoever may replicate can make slots, and a slot that nobody reads keeps the log back, up to
max_slot_wal_keep_size. And they may copy the whole cluster where pg_hba.conf has a line for `replication`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import psycopg2
from psycopg2 import extensions, sql
from sqlalchemy import make_url

from ops.databases import driver_url
from ops.errors import StackError
from ops.sealing import ADMIN_VARIABLE
from shared.change_data.captured import REPLICATING_SERVICES, replication_role, slots_of
from shared.config import Source
from shared.errors import Misconfigured

_TIMEOUTS = "SET lock_timeout = '5s'; SET statement_timeout = '30s'"
# An engine holds two connections, and a third while it reads all rows; a relay and a connector may have the same role.
_MOST_CONNECTIONS = 12
_PUBLISHED = "SELECT DISTINCT schemaname, tablename FROM pg_publication_tables WHERE pubname LIKE 'ordersaga%%'"
_SLOTS = """
SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = current_database() AND slot_name = ANY(%s)
"""


def password_variable(service: str) -> str:
    return f"{service.removesuffix('_service').upper()}_REPLICATION_PASSWORD"


def open_replication(administrator_url: str, passwords: Mapping[str, str]) -> None:
    """Make the roles of the services in ``passwords`` and set their rights anew; safe to repeat. Raises StackError."""
    for service, password in passwords.items():
        _in_database(administrator_url, service, partial(_open, service, password))


def close_replication(administrator_url: str, services: Iterable[str] = REPLICATING_SERVICES) -> None:
    """Take slots and roles away; safe to repeat. Whoever still reads is cut off. Raises StackError."""
    for service in services:
        _in_database(administrator_url, service, partial(_close, service))


def drop_slots(administrator_url: str, service: str, slots: Iterable[str]) -> None:
    """Those of them that there are: nothing of the log is kept for them any more. Raises StackError."""
    _in_database(administrator_url, service, lambda cursor: _drop_slots(cursor, slots))


def _open(service: str, password: str, cursor: extensions.cursor) -> None:
    role = replication_role(service)
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    rights = "LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS CONNECTION LIMIT"
    statement = sql.SQL("{} ROLE {} " + rights + " {} PASSWORD {}")
    names = sql.SQL(verb), sql.Identifier(role)
    cursor.execute(statement.format(*names, sql.Literal(_MOST_CONNECTIONS), sql.Literal(password)))
    _run(cursor, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}", role)
    _run(cursor, "GRANT CONNECT ON DATABASE {1} TO {0}", role, service)
    _run(cursor, "GRANT USAGE ON SCHEMA public TO {}", role)
    cursor.execute(_PUBLISHED)
    for schema, table in cursor.fetchall():
        _run(cursor, "GRANT SELECT ON {1}.{2} TO {0}", role, schema, table)


def _close(service: str, cursor: extensions.cursor) -> None:
    _drop_slots(cursor, slots_of(service))
    role = replication_role(service)
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    if cursor.fetchone():
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
        _run(cursor, "DROP OWNED BY {}", role)
        _run(cursor, "DROP ROLE {}", role)


def _drop_slots(cursor: extensions.cursor, slots: Iterable[str]) -> None:
    cursor.execute(_SLOTS, (list(slots),))
    for slot, reader in cursor.fetchall():
        if reader is not None:
            # With a limit PostgreSQL waits until it is gone.
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (reader,))
        cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def _run(cursor: extensions.cursor, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


def _in_database(administrator_url: str, database: str, work: Callable[[extensions.cursor], None]) -> None:
    url = make_url(administrator_url).set(database=database).render_as_string(hide_password=False)
    try:
        session = psycopg2.connect(driver_url(url), connect_timeout=5)
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL does not let us in: {str(error).strip()}") from error
    try:
        # A slot is dropped for good, whatever becomes of a transaction.
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(_TIMEOUTS)
            work(cursor)
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL refuses: {str(error).strip()}") from error
    finally:
        session.close()


def _open_named(source: Source) -> None:
    found = {service: source.secret(password_variable(service)) for service in REPLICATING_SERVICES}
    passwords = {service: password for service, password in found.items() if password}
    if not passwords:
        raise StackError(f"not set: {' or '.join(map(password_variable, REPLICATING_SERVICES))}")
    open_replication(source.text(ADMIN_VARIABLE), passwords)


def main(arguments: list[str]) -> int:
    commands: dict[str, Callable[[Source], None]] = {
        "open": _open_named,
        "close": lambda source: close_replication(source.text(ADMIN_VARIABLE)),
    }
    if len(arguments) != 1 or arguments[0] not in commands or not os.environ.get(ADMIN_VARIABLE):
        sys.stderr.write(f"usage: {ADMIN_VARIABLE}=postgresql://... python -m ops.replication open|close\n")
        return 2
    try:
        commands[arguments[0]](Source(values=os.environ))
    except (StackError, Misconfigured) as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
