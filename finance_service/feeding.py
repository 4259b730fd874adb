"""The process `feed`: the one database session that is elected and applies, signals, probes.

Owns: how the feed is put together from the environment. Must not know: what it does with a batch.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from finance_service import queries
from finance_service.feed import Feed
from finance_service.settings import Settings
from finance_service.stream import StreamReader
from shared.config import ProcessSettings, Source
from shared.database import Transaction, transaction, translated_errors
from shared.elected import ELECTED_CONNECT_ARGS
from shared.elected_probes import probes_of
from shared.errors import Misconfigured
from shared.logs import configure_logs
from shared.probes import serve_probes
from shared.process import limit_the_end

ELECTION_LOCK = 0x0FEED
_ELECT = text(f"select pg_try_advisory_lock({ELECTION_LOCK})")


class _CommittingSession(Session):
    """Ends with its block, as those of nameko-sqlalchemy do."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.commit()
            else:
                self.rollback()
        finally:
            self.close()


class OneSession:
    """A database session that is opened when it is needed, and in which everything is done."""

    def __init__(self, database_url: str) -> None:
        self._engine = create_engine(
            database_url, poolclass=NullPool, hide_parameters=True, connect_args=ELECTED_CONNECT_ARGS
        )
        self._connection: Connection | None = None
        self._is_elected = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def is_elected(self) -> bool:
        """The lock lives as long as this session: a feed that dies frees it for one on standby."""
        if not self._is_elected:
            with self.transaction() as tx:
                self._is_elected = bool(tx.fetch(_ELECT)[0][0])
        return self._is_elected

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with transaction(self) as tx:
            yield tx

    def get_session(self, close_on_exit: bool = True) -> Session:
        with translated_errors():
            if self._connection is None:
                self._connection = self._engine.connect()
        return _CommittingSession(bind=self._connection)

    def close(self) -> None:
        connection, self._connection, self._is_elected = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def run(environment: Mapping[str, str]) -> None:
    """Until SIGTERM. Raises Misconfigured."""
    source = Source(values=environment)
    process, settings = ProcessSettings.read(source), Settings.read(source)
    configure_logs(process="finance_service.feed", level=process.log_level, style=process.log_format)
    database = OneSession(source.text("FINANCE_DATABASE_URL"))
    feed = Feed(settings.stream, database, StreamReader(process.amqp_uri, settings.stream))
    limit_the_end()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: feed.stop())
    serve_probes(source, "finance_service.feed", probes_of(feed.state))
    feed.run()


def forget_everything(environment: Mapping[str, str]) -> None:
    """Raises Misconfigured while a feed is active: what it has in hand would be half of something."""
    database = OneSession(Source(values=environment).text("FINANCE_DATABASE_URL"))
    try:
        if not database.is_elected():
            raise Misconfigured("a feed is active: stop every `python -m finance_service feed` first")
        with database.transaction() as tx:
            queries.forget_everything(tx)
    finally:
        database.close()
