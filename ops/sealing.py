"""Owns: who owns the audit logs: while services run, a role that nobody logs in as. Must not know: what is recorded.

A service's role owns its tables, and an owner can take any trigger away. Sealed, ``audit_log`` and its trigger belong
to ``audit_keeper``, and so does the schema (a schema's owner could drop the table); the service's role keeps SELECT and
INSERT. Migrations run as the service's role: one that changes ``audit_log`` needs it unsealed. `ordersaga up` does
both; elsewhere an administrator of the database server does, with ``python -m ops.sealing seal|unseal`` and
ADMIN_DATABASE_URL.

What is not prevented: whoever is the server's superuser, or may log in as one, can change anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

import psycopg2
from psycopg2 import extensions, sql
from sqlalchemy import make_url

from ops.applications import SERVICES
from ops.databases import driver_url
from ops.errors import StackError
from shared.config import Source
from shared.errors import Misconfigured

KEEPER = "audit_keeper"
ADMIN_VARIABLE = "ADMIN_DATABASE_URL"
_FUNCTION = "audit_log_is_append_only()"
# Nobody is kept waiting behind a lock that does not come.
_LOCK_TIMEOUT = "SET lock_timeout = '5s'"
_IS_SEALED = """
SELECT pg_get_userbyid(relowner) = %s FROM pg_class WHERE oid = to_regclass('public.audit_log')
"""


def seal(administrator_url: str, databases: Iterable[str] = SERVICES) -> None:
    """Take the audit logs out of their services' hands; safe to repeat. Raises StackError."""
    for database in databases:
        _in_database(administrator_url, database, _seal)


def unseal(administrator_url: str, databases: Iterable[str] = SERVICES) -> None:
    """Give them back, for migrations; safe to repeat, and before there is any. Raises StackError."""
    for database in databases:
        _in_database(administrator_url, database, _unseal)


def _seal(cursor: extensions.cursor, role: str) -> None:
    if _is_sealed(cursor) is not False:
        return
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (KEEPER,))
    if cursor.fetchone() is None:
        cursor.execute(f"CREATE ROLE {KEEPER} NOLOGIN")
    _run(cursor, role, "ALTER SCHEMA public OWNER TO {keeper}", "GRANT USAGE, CREATE ON SCHEMA public TO {role}")
    _run(cursor, role, f"ALTER FUNCTION {_FUNCTION} OWNER TO {{keeper}}", "ALTER TABLE audit_log OWNER TO {keeper}")
    _run(cursor, role, "REVOKE ALL ON audit_log FROM PUBLIC, {role}", "GRANT SELECT, INSERT ON audit_log TO {role}")


def _unseal(cursor: extensions.cursor, role: str) -> None:
    if _is_sealed(cursor):
        _run(cursor, role, "ALTER TABLE audit_log OWNER TO {role}", f"ALTER FUNCTION {_FUNCTION} OWNER TO {{role}}")


def _is_sealed(cursor: extensions.cursor) -> bool | None:
    """None: there is no audit log yet."""
    cursor.execute(_IS_SEALED, (KEEPER,))
    row = cursor.fetchone()
    return None if row is None else bool(row[0])


def _run(cursor: extensions.cursor, role: str, *statements: str) -> None:
    for statement in statements:
        names = {"keeper": sql.Identifier(KEEPER), "role": sql.Identifier(role)}
        cursor.execute(sql.SQL(statement).format(**names))


def _in_database(administrator_url: str, database: str, work: Callable[[extensions.cursor, str], None]) -> None:
    """In one transaction: an audit log is sealed or it is not."""
    url = make_url(administrator_url).set(database=database).render_as_string(hide_password=False)
    try:
        session = psycopg2.connect(driver_url(url), connect_timeout=5)
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL does not let us in: {str(error).strip()}") from error
    try:
        with session, session.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            work(cursor, database)
    except psycopg2.Error as error:
        raise StackError(f"PostgreSQL refuses: {str(error).strip()}") from error
    finally:
        session.close()


def main(arguments: list[str]) -> int:
    commands = {"seal": seal, "unseal": unseal}
    if len(arguments) != 1 or arguments[0] not in commands or not os.environ.get(ADMIN_VARIABLE):
        sys.stderr.write(f"usage: {ADMIN_VARIABLE}=postgresql://... python -m ops.sealing seal|unseal\n")
        return 2
    try:
        commands[arguments[0]](Source(values=os.environ).text(ADMIN_VARIABLE))
    except (StackError, Misconfigured) as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
