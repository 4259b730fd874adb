"""The finance service on a database and a stream of its own, fed by messages that a test publishes.

Owns: that database, that stream, the environment of its processes. Must not know: what a test promises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any

import pika
import psycopg2
from sqlalchemy import make_url

from finance_service.__main__ import PROCESS
from harness.changes import Message
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until
from ops.databases import create_databases, driver_url
from shared.migrations import upgrade

DATABASE = "finance_test"
_PASSWORD = "of-a-test"
_TABLES = ("orders", "payments", "refunds", "ledger_entries", "sources", "positions")
_numbers = count(1)


def finance_database(environment: Mapping[str, str]) -> str:
    """The address of a migrated database on the test stack's server."""
    administrator = environment["ADMIN_DATABASE_URL"]
    create_databases(administrator, [DATABASE], {DATABASE: _PASSWORD})
    url = make_url(administrator).set(
        drivername="postgresql+psycopg2", username=DATABASE, password=_PASSWORD, database=DATABASE
    )
    address = url.render_as_string(hide_password=False)
    upgrade(PROCESS.migrations, address)
    return address


class Stream:
    """A stream that is there for one test; small segments, so that retention can drop some of it."""

    def __init__(self, amqp_uri: str) -> None:
        self._parameters = pika.URLParameters(amqp_uri)
        self._parameters.heartbeat = 0
        self.name = f"cdc.changes.test-{next(_numbers)}"
        self._connection: Any = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._channel.queue_delete(self.name)
        self.declare()

    def declare(self, **arguments: Any) -> None:
        said = {"x-queue-type": "stream", **{name.replace("_", "-"): value for name, value in arguments.items()}}
        self._channel.queue_declare(self.name, durable=True, arguments=said)

    def declare_anew(self, **arguments: Any) -> None:
        self._channel.queue_delete(self.name)
        self.declare(**arguments)

    def publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.publish_body(message.body, message.id)

    def publish_body(self, body: bytes, message_id: str | None = None) -> None:
        """Confirmed: it is in the stream when this returns."""
        properties = pika.BasicProperties(message_id=message_id, content_type="application/json", delivery_mode=2)
        self._channel.basic_publish("", self.name, body, properties, mandatory=True)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._channel.queue_delete(self.name)
            self._connection.close()


class FinanceHouse:
    """``view`` is what its tables say."""

    def __init__(self, url: str, stream: Stream, processes: Processes) -> None:
        self.url, self.stream, self._processes = url, stream, processes
        self._connection = self.connect()
        self.query("; ".join(f"delete from {table}" for table in _TABLES))  # noqa: S608 -- names of our own

    def connect(self) -> Any:
        connection = psycopg2.connect(driver_url(self.url), connect_timeout=5)
        connection.autocommit = True
        return connection

    @property
    def settings(self) -> dict[str, str]:
        return {"FINANCE_DATABASE_URL": self.url, "FINANCE_STREAM": self.stream.name}

    def feed(self, **settings: str) -> ServiceProcess:
        """A feed at work."""
        process = self.standby(**settings)
        process.wait_ready()
        return process

    def standby(self, **settings: str) -> ServiceProcess:
        return self._processes.start("finance_service", "feed", **self.settings, **settings)

    def serve(self, **settings: str) -> ServiceProcess:
        return self._processes.start_ready("finance_service", "serve", **self.settings, **settings)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def offset(self) -> int:
        """Where reading goes on."""
        found = self.query("select next_offset from positions where stream = %s", self.stream.name)
        return int(found[0][0]) if found else 0

    def messages(self) -> int:
        """How many were applied."""
        found = self.query("select messages from positions where stream = %s", self.stream.name)
        return int(found[0][0]) if found else 0

    def wait_read(self, messages: int) -> None:
        """Until so many messages of the stream are applied."""
        wait_until(lambda: self.messages() >= messages, f"{messages} messages are applied")

    def wait_known(self, at: datetime) -> None:
        """Until both databases are told of up to ``at``."""
        known = "select count(*) from sources where as_of >= %s"
        wait_until(lambda: self.query(known, at) == [(2,)], f"all is told until {at}")

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All that is told of them, in an order of their own; nothing of when it was told."""
        columns = {
            "orders": "id, seller_id, status, price, currency, created_at, is_gone",
            "payments": "order_id, seller_id, status, amount, currency, refunded, refunding, captured_at, is_gone",
            "refunds": "id, order_id, amount, currency, status, ended_at, is_gone",
            "ledger_entries": "id, order_id, account, amount, currency, at, is_gone",
        }
        return self.query(f"select {columns[table]} from {table} order by 1")  # noqa: S608 -- names of our own

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.rows(table) for table in ("orders", "payments", "refunds", "ledger_entries")}

    def position(self) -> dict[str, Any]:
        names = ("next_offset", "messages", "unreadable", "losses", "lost_from", "lost_to")
        [row] = self.query(f"select {', '.join(names)} from positions where stream = %s", self.stream.name)  # noqa: S608
        return dict(zip(names, row, strict=True))

    @contextmanager
    def held(self, table: str) -> Iterator[None]:
        """Nobody writes to ``table`` meanwhile: whoever applies a batch stands in the middle of it."""
        connection = psycopg2.connect(driver_url(self.url), connect_timeout=5)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"lock table {table} in exclusive mode")
                yield
        finally:
            connection.close()

    def close(self) -> None:
        self._connection.close()
