"""One way to talk to a service's own PostgreSQL: a transaction with the database's time, errors sorted by what helps.

Owns: engine options, the Transaction handed to handlers, which database errors are transient.
Must not know: any table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, cast

import orjson
from sqlalchemy import CursorResult, Row, TextClause, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.errors import BrokenRule, DatabaseUnavailable, OrderSagaError, TransientError

STATEMENT_TIMEOUT_MS = 15_000
MOST_CHUNKS = 200
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000

# Without these a partition in the middle of a query hangs for more than 25 s (eventlet ignores connect_timeout).
CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
    "options": (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC"
    ),
}

ENGINE_OPTIONS: dict[str, Any] = {
    "pool_size": 10,
    "max_overflow": 20,
    "pool_timeout": 10,
    "pool_recycle": 1800,
    # Statements may end up in logs; the values in them (addresses, names) must not.
    "hide_parameters": True,
    "connect_args": CONNECT_ARGS,
}

_NOW = text("select transaction_timestamp() as now")
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)")
_BUSY = {"40001", "40P01", "55P03", "57014"}  # serialization, deadlock, lock timeout, statement timeout
# 08 connection, 53 resources (too many clients, disk full), 57P shutdown and crash, 58 system error
_AWAY = ("08", "53", "57P", "58", "25006")
# A value no column holds, or one that a constraint forbids: the same however often it is tried.
_REFUSED = ("22", "23502", "23514")


class Sessions(Protocol):
    """What nameko-sqlalchemy's provider injects into a worker."""

    def get_session(self, close_on_exit: bool = ...) -> Session: ...


class SessionFactory:
    """Sessions for code that lives longer than a worker, from the same kind of session class."""

    def __init__(self, make_session: Callable[..., Session]) -> None:
        self._make_session = make_session

    def get_session(self, close_on_exit: bool = False) -> Session:
        return self._make_session(close_on_exit=close_on_exit)


class Transaction:
    """An open transaction and the one moment everything in it happens at.

    Round trips are what a small batch costs most of: what is written waits, and goes with the next question or the end.
    """

    def __init__(self, session: Session, now: datetime | None = None) -> None:
        self.session = session
        self._now = now
        self._unsent: list[tuple[TextClause, dict[str, Any]]] = []
        self._afterwards: list[Callable[[], object]] = []

    @property
    def now(self) -> datetime:
        """The database's clock at the transaction's start (UTC): replicas with wrong clocks agree on deadlines."""
        if self._now is None:
            self._now = self.fetch(_NOW)[0].now
        return self._now

    def fetch(self, statement: TextClause, **parameters: Any) -> Sequence[Row[Any]]:
        """Rows. Lists among ``parameters`` are arrays of texts: cast them in the statement to what they are."""
        unsent, self._unsent = self._unsent, []
        return self._send([*unsent, (statement, parameters)]).fetchall()

    def execute(self, statement: TextClause, **parameters: Any) -> None:
        """Run it together with the next question, or at the end."""
        self._unsent.append((statement, parameters))

    def save(self, statement: TextClause, rows: Sequence[dict[str, Any]], **parameters: Any) -> None:
        """Run ``statement`` with its parameter ``:rows``, for a json_to_recordset; nothing to do without rows."""
        if rows:
            self.execute(statement, rows=rows_json(rows), **parameters)

    def flush(self) -> None:
        """Send what waits, in order."""
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._send(unsent)

    def after_commit(self, count: Callable[[], object]) -> None:
        """Call ``count`` once this transaction has committed, and never if it has not. It must not fail."""
        self._afterwards.append(count)

    def has_committed(self) -> None:
        for count in self._afterwards:
            count()

    def happens_at(self, now: datetime) -> None:
        """What the database said along with something else."""
        self._now = now

    def _send(self, statements: Sequence[tuple[TextClause, dict[str, Any]]]) -> CursorResult[Any]:
        """The rows of the last one."""
        together = _together(tuple(statement for statement, _ in statements))
        parameters = {
            f"{name}_{number}": value for number, (_, own) in enumerate(statements) for name, value in own.items()
        }
        return cast("CursorResult[Any]", self.session.execute(together, _bound(parameters)))


def _bound(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: _array(value) if isinstance(value, list) else value for name, value in parameters.items()}


def _array(values: list[str]) -> str:
    """PostgreSQL's own notation: one constant to read, where psycopg2 would send an expression with a part for each."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


@lru_cache(maxsize=500)
def _together(statements: tuple[TextClause, ...]) -> TextClause:
    """One text of several statements, the parameters of each with its number behind their names."""
    return text(";\n".join(_PARAMETER.sub(rf":\1_{number}", s.text) for number, s in enumerate(statements)))


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Transaction]:
    """Commit at the end of the block, roll back on any error.

    Raises DatabaseUnavailable when the database cannot be reached, TransientError when it was busy (deadlock,
    timeout); both mean that nothing was saved, except when the connection broke during the commit itself: then it
    is unknown, which every handler must bear (inbox and idempotency keys see to that).
    """
    with translated_errors(), sessions.get_session(close_on_exit=True) as session:
        tx = Transaction(session)
        yield tx
        tx.flush()
        # crash point: transaction.uncommitted
    # crash point: transaction.committed
    tx.has_committed()


@contextmanager
def translated_errors() -> Iterator[None]:
    """SQLAlchemy's errors as members of our tree, by what helps: wait for the database, or try again."""
    try:
        yield
    except OrderSagaError:
        raise
    except PoolTimeout as error:
        raise TransientError(f"no database connection free: {error}") from error
    except DBAPIError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except SQLAlchemyError as error:
        # For example a session whose connection was lost between two statements.
        raise TransientError(f"{type(error).__name__}: {error}") from error


def _translate(error: DBAPIError) -> OrderSagaError | None:
    sqlstate: str | None = getattr(error.orig, "pgcode", None)
    # The first line only: the details that follow quote the row.
    first_line = next(iter(str(error.orig).strip().splitlines()), "")
    summary = f"{type(error.orig).__name__} {sqlstate or ''}: {first_line}"
    if sqlstate in _BUSY:
        return TransientError(summary)
    if sqlstate and sqlstate.startswith(_REFUSED):
        return BrokenRule(summary)
    if error.connection_invalidated or (sqlstate and sqlstate.startswith(_AWAY)):
        return DatabaseUnavailable(summary)
    if sqlstate is None and type(error.orig).__name__ in {"OperationalError", "InterfaceError"}:
        return DatabaseUnavailable(summary)
    return None


def purge(sessions: Sessions, statement: TextClause, **parameters: Any) -> None:
    """Run a deletion that takes ``:now`` and removes a chunk at a time, until nothing is left of it.

    A transaction for each chunk, so that nothing is locked for long; bounded, so that a timer comes to its end.
    """

    def delete(tx: Transaction) -> int:
        result = tx.session.execute(statement, {"now": tx.now, **parameters})
        return getattr(result, "rowcount", 0) or 0

    in_rounds(sessions, delete, full=1, most_rounds=MOST_CHUNKS)


def in_rounds(sessions: Sessions, work: Callable[[Transaction], int], *, full: int, most_rounds: int) -> None:
    """Do ``work``, each time in a transaction of its own, until it did less than ``full``.

    Bounded, so that a timer comes to its end: the next tick goes on.
    """
    for _ in range(most_rounds):
        with transaction(sessions) as tx:
            done = work(tx)
        # crash point: timer.round_committed
        if done < full:
            return


def rows_json(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as one JSON parameter for ``json_to_recordset``: one statement text whatever the number of rows."""
    return orjson.dumps(rows, default=_plain).decode()


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into a row")
