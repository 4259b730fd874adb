"""Owns: roles and databases, and whether a database answers. Must not know: tables (alembic does those).

One role per database, and a role cannot connect to another's: PUBLIC loses its right to connect everywhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import psycopg2
from psycopg2 import extensions, sql

from ops.errors import StackError

_MAINTENANCE_DATABASES = ("postgres", "template1")
_CONNECT_TIMEOUT_S = 3


def driver_url(url: str) -> str:
    """The URL as libpq and psql read it: without SQLAlchemy's driver name."""
    return re.sub(r"^postgresql\+\w+:", "postgresql:", url)


def without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def why_unreachable(url: str) -> str | None:
    """None when a login works, else the server's or the network's reason in one line."""
    try:
        psycopg2.connect(driver_url(url), connect_timeout=_CONNECT_TIMEOUT_S).close()
    except psycopg2.Error as error:
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return None


def create_databases(administrator_url: str, databases: Iterable[str], passwords: Mapping[str, str]) -> None:
    """Create what is missing, set passwords and rights anew; safe to repeat."""
    with _session(administrator_url) as cursor:
        for name in _MAINTENANCE_DATABASES:
            _close_to_public(cursor, name)
        for name in databases:
            _ensure_role(cursor, name, passwords[name])
            _ensure_database(cursor, name)
            _close_to_public(cursor, name)


@contextmanager
def _session(url: str) -> Iterator[extensions.cursor]:
    try:
        session = psycopg2.connect(driver_url(url), connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL does not let us in: {str(error).strip()}") from error
    try:
        # CREATE DATABASE does not run inside a transaction.
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SET statement_timeout = '30s'")
            yield cursor
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL refuses: {str(error).strip()}") from error
    finally:
        session.close()


def _ensure_role(cursor: extensions.cursor, name: str, password: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    statement = "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}"
    cursor.execute(sql.SQL(statement).format(sql.SQL(verb), sql.Identifier(name), sql.Literal(password)))


def _ensure_database(cursor: extensions.cursor, name: str) -> None:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))


def _close_to_public(cursor: extensions.cursor, name: str) -> None:
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
