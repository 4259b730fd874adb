"""Owns: reading all databases as an auditor would, and how findings are put into words.
Must not know: what to look for.

The databases are read one after the other, so what is compared is exact only when nothing is in progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

DATABASES = {
    "order": "ORDER_DATABASE_URL",
    "inventory": "INVENTORY_DATABASE_URL",
    "payment": "PAYMENT_DATABASE_URL",
    "psp": "PSP_DATABASE_URL",
}
_SHOWN = 5
Connect = Callable[[str], Any]


class Books:
    """Read-only connections to the four databases. Use as a context manager.

    ``connect`` makes a connection out of a database's URL.
    """

    def __init__(self, environment: Mapping[str, str], connect: Connect | None = None) -> None:
        self._environment = environment
        self._connect = connect or read_only
        self._stack = ExitStack()
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> Books:
        for name, variable in DATABASES.items():
            self._connections[name] = self._stack.enter_context(closing(self._connect(self._environment[variable])))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def rows(self, database: str, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connections[database].cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def number(self, database: str, statement: str) -> int:
        return int(self.rows(database, statement)[0][0])


def read_only(database_url: str) -> Any:
    url = make_url(database_url)
    connection = psycopg2.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database, connect_timeout=5
    )
    connection.set_session(readonly=True, autocommit=True)
    return connection


def report(what: str, found: Sequence[object]) -> Iterator[str]:
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        yield f"{len(found)} {what}: {', '.join(str(one) for one in found[:_SHOWN])}{more}"
