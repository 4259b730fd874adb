"""A relay's one session with its service's database.

Owns: connecting, statements that are each their own transaction, notifications. Must not know: what is asked.
"""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

from shared.elected import ELECTED_CONNECT_ARGS


class RelayDatabase:
    """Closed until :meth:`connect`. Any psycopg2.Error means that the session, and the election, may be gone."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self.connection: Any = None

    @property
    def is_open(self) -> bool:
        return self.connection is not None

    def connect(self) -> None:
        if self.connection is None:
            self.connection = connect_autocommit(self._database_url)

    def disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()

    def rows(self, statement: str, parameters: Any = None) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def count(self, statement: str, parameters: Any = None) -> int:
        """How many rows it changed."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return int(cursor.rowcount)

    def listen(self, channel: str) -> None:
        self.rows(f"listen {channel}")

    def was_notified(self) -> bool:
        """Since the last time. Asks the socket alone, and so finds out that a session was cut."""
        self.connection.poll()
        was_notified = bool(self.connection.notifies)
        self.connection.notifies.clear()
        return was_notified


def connect_autocommit(database_url: str) -> Any:
    """A psycopg2 connection from a SQLAlchemy URL, every statement its own transaction."""
    url = make_url(database_url)
    connection = psycopg2.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password,
        dbname=url.database,
        **ELECTED_CONNECT_ARGS,
    )
    connection.autocommit = True
    return connection
