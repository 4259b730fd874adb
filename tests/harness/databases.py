"""The databases of the test stack, seen as their owners and as the administrator.

Owns: connections of the tests, emptying tables. Must not know: what rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2

from ops.databases import driver_url

URLS = {
    "order_service": "ORDER_DATABASE_URL",
    "inventory_service": "INVENTORY_DATABASE_URL",
    "payment_service": "PAYMENT_DATABASE_URL",
    "psp": "PSP_DATABASE_URL",
}
SERVICES = ("order_service", "inventory_service", "payment_service")
# A running charger keeps its lease in memory too: without its row its work would be taken from it. The audit log lets
# nobody delete a line.
_KEPT_TABLES = ("alembic_version", "charger_leases", "audit_log")
_TABLES = "select tablename from pg_tables where schemaname = 'public' and tablename <> all(%s) order by 1 desc"


class Databases:
    """Short statements on autocommit connections, one per database, opened anew after a restart of the server."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._connections: dict[str, Any] = {}

    def query(self, database: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        try:
            return self._query(database, statement, parameters)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self._connections.pop(database, None)
            return self._query(database, statement, parameters)

    def value(self, database: str, statement: str, *parameters: Any) -> Any:
        return self.query(database, statement, *parameters)[0][0]

    def _query(self, database: str, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if database not in self._connections:
            self._connections[database] = self._connect(database)
        with self._connections[database].cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def _connect(self, database: str) -> Any:
        connection = psycopg2.connect(driver_url(self.environment[URLS[database]]), connect_timeout=5)
        connection.autocommit = True
        return connection

    @contextmanager
    def transaction(self, database: str) -> Iterator[Any]:
        """A cursor of an open transaction, for holding locks; rolled back at the end."""
        connection = psycopg2.connect(driver_url(self.environment[URLS[database]]), connect_timeout=5)
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def empty(self) -> None:
        """Delete every row, also under running services (TRUNCATE would wait for each of their transactions)."""
        for database in URLS:
            tables = [name for (name,) in self.query(database, _TABLES, list(_KEPT_TABLES))]
            self.query(database, "; ".join(f'delete from "{table}"' for table in tables))  # noqa: S608

    def unpublished(self) -> int:
        count = "select count(*) from outbox where published_at is null"
        return sum(self.value(service, count) for service in SERVICES)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
