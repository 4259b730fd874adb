"""The three services as they are, put together by hand instead of by Nameko.

Owns: sessions that can fail at a commit, lanes that take deliveries, relays that take a step when told to.
Must not know: when any of that happens (scheduler.py).

Nothing of a service is replaced: its entrypoint methods, the lane that feeds them, settlement of failures,
transactions, inbox, outbox, the relay's cycle, the charger's way of asking the provider. Replaced are the threads
around them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg2
from nameko_sqlalchemy.database import Session
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine, make_url

from inventory_service.service import InventoryService
from order_service.service import OrderService
from payment_service import charger
from payment_service.charger import Charger
from payment_service.service import Charging, PaymentService
from shared.chaos.memory import ChaosMemory
from shared.envelope import new_id
from shared.errors import BrokerUnavailable, DatabaseUnavailable, OrderSagaError, TransientError
from shared.messaging.arrivals import Arrivals
from shared.messaging.batch_consumer import BatchLane, EventConsumer
from shared.messaging.pipelined_publisher import Window
from shared.outbox import OutboxRow
from shared.relay import Relay, RelaySettings
from shared.timer import Timer

from .bus import CHOREOGRAPHY, Bus, Channel, Crash, Resender
from .clock import SET_NOW, Clock
from .provider import Provider

SERVICES: dict[str, type] = {
    "order_service": OrderService,
    "inventory_service": InventoryService,
    "payment_service": PaymentService,
}
LEASE_RENEWED_S = 2.0
CALL_TIMEOUT_S = 60.0
TRUNCATED_EVERY = 25

# What can befall a transaction. The last two are told to the code, the others take the process with them.
CRASH_BEFORE_COMMIT = "crash before commit"
CRASH_AFTER_COMMIT = "crash after commit"
COMMIT_ANSWER_LOST = "answer to the commit lost"
DATABASE_AWAY = "database away"
DATABASE_BUSY = "database busy"
TRANSACTION_FAULTS = (CRASH_BEFORE_COMMIT, CRASH_AFTER_COMMIT, COMMIT_ANSWER_LOST, DATABASE_AWAY, DATABASE_BUSY)


@dataclass
class Fate:
    """What befalls the next transaction; each fault strikes once. ``has_recorded``: there may be events to relay."""

    fault: str = ""
    struck: str = ""
    has_recorded: bool = False

    def strikes(self, *faults: str) -> str:
        if self.fault not in faults:
            return ""
        self.struck, self.fault = self.fault, ""
        return self.struck


class FatefulSession(Session):  # type: ignore[misc]
    """nameko-sqlalchemy's session, whose commit may not come through."""

    def __init__(self, fate: Fate, **options: Any) -> None:
        self._fate = fate
        super().__init__(**options)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """On the connection itself: what the ORM would look up for each statement costs as much as the statement."""
        if "insert into outbox" in statement.text:
            self._fate.has_recorded = True
        if not self.in_transaction():
            self._direct = self.connection()
        return self._direct.execute(statement, parameters)

    def commit(self) -> None:
        match self._fate.strikes(CRASH_BEFORE_COMMIT, CRASH_AFTER_COMMIT, COMMIT_ANSWER_LOST, DATABASE_BUSY):
            case "":
                super().commit()
            case "crash before commit":
                raise Crash(CRASH_BEFORE_COMMIT)
            case "crash after commit":
                super().commit()
                raise Crash(CRASH_AFTER_COMMIT)
            case "answer to the commit lost":
                super().commit()
                raise DatabaseUnavailable(COMMIT_ANSWER_LOST)
            case "database busy":
                raise TransientError(DATABASE_BUSY)


@dataclass(kw_only=True)
class Sessions:
    """What a service has as ``database``."""

    engine: Engine
    fate: Fate

    def get_session(self, close_on_exit: bool = False) -> Session:
        if self.fate.strikes(DATABASE_AWAY):
            raise DatabaseUnavailable(DATABASE_AWAY)
        return FatefulSession(self.fate, bind=self.engine, close_on_exit=close_on_exit)


_TABLES = """
select format('%I', tablename) from pg_catalog.pg_tables
where schemaname = 'public' and tablename <> 'alembic_version' order by tablename
"""
# Nobody changes a line of the audit log, but here the same ids come again with each schedule.
_MAY_FORGET = "drop trigger if exists audit_log_append_only on audit_log"


class Store:
    """One service's database: an engine and a relay's connection whose time is the simulation's.

    ``skew``: how far this database's clock is off.
    """

    def __init__(self, url: str) -> None:
        self._clock = Clock()
        self.skew = timedelta()
        self.transactions = 0
        self.engine = create_engine(url, pool_size=2, max_overflow=0, pool_timeout=5)
        event.listen(self.engine, "begin", self._begin)
        parts = make_url(url)
        self.connection = psycopg2.connect(host=str(parts.query["host"]), user=parts.username, dbname=parts.database)
        self.connection.autocommit = True
        tables = [row[0] for row in self.rows(_TABLES)]
        if "audit_log" in tables:
            self.rows(_MAY_FORGET)
        deletions = (f"deletion_{number} as (delete from {name})" for number, name in enumerate(tables))  # noqa: S608
        self._delete = f"with {', '.join(deletions)} select 1"
        self._truncate = f"truncate {', '.join(tables)}"
        self._emptied = 0

    def use(self, clock: Clock, skew: timedelta) -> None:
        self._clock, self.skew = clock, skew

    def close(self) -> None:
        self.engine.dispose()
        self.connection.close()

    def _begin(self, connection: Any) -> None:
        self.transactions += 1
        cursor = connection.connection.cursor()
        cursor.execute(SET_NOW, ((self._clock.tick() + self.skew).isoformat(),))
        cursor.close()

    def set_time(self) -> None:
        """For the next statement on ``connection``, which is its own transaction."""
        self.rows(SET_NOW, ((self._clock.tick() + self.skew).isoformat(),))

    def rows(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def empty(self) -> None:
        """Truncating costs a file for each table and index, deleting leaves dead rows behind: each in its turn."""
        self.rows(self._truncate if self._emptied % TRUNCATED_EVERY == 0 else self._delete)
        self._emptied += 1


class Container:
    """What a lane needs of Nameko's: runs the method at once and hands its outcome on."""

    def __init__(self, service: Any, unexpected: Callable[[BaseException], None]) -> None:
        self.service_name = service.name
        self._service = service
        self._unexpected = unexpected

    def spawn_worker(
        self, entrypoint: Any, args: Any, kwargs: Any, *, context_data: Any, handle_result: Callable[..., Any]
    ) -> None:
        result, failure = None, None
        try:
            result = getattr(self._service, entrypoint.method_name)(*args, **kwargs)
        except Exception as error:
            if not isinstance(error, OrderSagaError):
                self._unexpected(error)
            failure = sys.exc_info()
        handle_result(None, result, failure)


class Replica:
    """One process of a service: its object, a lane for each queue, its timers."""

    def __init__(self, service: Any, bus: Bus, resender: Resender, unexpected: Callable[[BaseException], None]) -> None:
        self.service = service
        container = Container(service, unexpected)
        loop = SimpleNamespace(publisher=resender, choreography=CHOREOGRAPHY)
        self.lanes: dict[str, BatchLane] = {}
        self.timers: list[str] = []
        for name, attribute in vars(type(service)).items():
            for entrypoint in getattr(attribute, "nameko_entrypoints", ()):
                if isinstance(entrypoint, EventConsumer):
                    lane = _lane(entrypoint, name, container, loop)
                    self.lanes[lane.queue] = lane
                elif isinstance(entrypoint, Timer):
                    self.timers.append(name)

    def consume(self, channel: Channel) -> None:
        """Handle what the channel delivers; a Crash leaves unsettled what was not acknowledged."""
        try:
            self.lanes[channel.queue]._handle(channel.deliveries())
        finally:
            channel.close()

    def fire(self, timer: str) -> None:
        """A failed tick is only logged: the next one comes."""
        try:
            getattr(self.service, timer)()
        except TransientError:
            return


def _lane(entrypoint: EventConsumer, method: str, container: Container, loop: Any) -> BatchLane:
    declared: Any = SimpleNamespace(
        container=container,
        event_type=entrypoint.event_type,
        schema=entrypoint.schema,
        method_name=method,
        chaos=SimpleNamespace(memory=ChaosMemory()),
    )
    lane = BatchLane(declared, loop)
    lane._arrivals.close()
    # Prepares itself, and finds that there is nothing to wait for.
    lane.run()
    lane._arrivals = Arrivals()
    return lane


class SteppedCharger(Charger):
    """The charger without its greenlets: calls and savings are steps of the schedule."""

    def __init__(self, provider: Provider, save: Callable[[Any], Any], submitted: Callable[[Any], None]) -> None:
        super().__init__(provider, save, CALL_TIMEOUT_S)
        self._submitted = submitted
        # Both would count seconds of the wall clock.
        self._elapsed_s: Callable[[], float] = lambda: provider.clock.elapsed_s
        self._circuit._clock = self._elapsed_s
        self.to_call: list[Any] = []
        self._in_hand: list[Any] = []

    def submit(self, attempts: Any) -> None:
        for attempt in sorted(attempts or (), key=lambda attempt: str(attempt.id)):
            self._submitted(attempt)
            self.to_call.append(replace(attempt, read_at_s=self._elapsed_s()))

    def call(self, position: int) -> Any:
        attempt = self.to_call.pop(position)
        with patch.object(charger, "time", SimpleNamespace(monotonic=self._elapsed_s)):
            self._call(attempt)
        return attempt

    @property
    def has_answers(self) -> bool:
        return bool(self._in_hand or self._results)

    @property
    def last_answer(self) -> Any:
        return self._results[-1].answer

    def save(self) -> int:
        """Save what is in hand, or else all that has been answered; kept in hand until it is saved, as run() does."""
        if not self._in_hand:
            self._in_hand, self._results = self._results, []
        try:
            attempts = self._save(self._in_hand)
        except TransientError:
            return 0
        saved, self._in_hand = len(self._in_hand), []
        self.submit(attempts)
        return saved

    def forget(self) -> None:
        """The process is gone, and with it what it held in memory."""
        self.to_call, self._in_hand, self._results = [], [], []


@dataclass
class Worker:
    """A process of the payment service with calls of its own under way. A frozen one lets its lease lapse."""

    name: str
    replica: Replica
    charging: Charging
    charger: SteppedCharger
    is_frozen: bool = False
    renewed_s: float = float("-inf")
    crashes: int = field(default=0)

    def crash(self) -> None:
        """What it held in memory is gone; who takes its place has another name."""
        self.charger.forget()
        self.charging.worker_id = new_id()
        self.charging._renew_lease()
        self.is_frozen = False
        self.crashes += 1

    def keep_lease(self, elapsed_s: float) -> None:
        if not self.is_frozen and elapsed_s - self.renewed_s >= LEASE_RENEWED_S:
            self.charging._renew_lease()
            self.renewed_s = elapsed_s


def make_worker(
    name: str,
    replica: Replica,
    sessions: Sessions,
    settings: Any,
    provider: Provider,
    submitted: Callable[[Any], None],
) -> Worker:
    charging: Any = Charging()
    charging.worker_id = new_id()
    charging._settings = settings
    charging._sessions = sessions
    charging._provider = provider
    stepped = SteppedCharger(provider, charging._save, submitted)
    charging._charger = stepped
    charging.container = SimpleNamespace(spawn_managed_thread=lambda begin, identifier: begin())
    replica.service.charging = charging
    return Worker(name=name, replica=replica, charging=charging, charger=stepped)


class RelayPublisher:
    """Takes PipelinedPublisher's place. ``sent_before_crash``: the process dies after that many rows."""

    def __init__(self, publish: Callable[[OutboxRow], None]) -> None:
        self._publish = publish
        self.is_open = True
        self.sent_before_crash: int | None = None
        self.sent_before_loss: int | None = None
        self.refuses: Callable[[OutboxRow], bool] = lambda _row: False
        self.has_refused = False

    def publish(self, rows: Iterable[OutboxRow]) -> Window:
        window = Window()
        for position, row in enumerate(rows):
            if position == self.sent_before_crash:
                raise Crash("the relay died before it marked what it had published")
            if position == self.sent_before_loss:
                raise BrokerUnavailable("connection lost")
            if self.refuses(row):
                window.refused[row.id] = "refused"
                self.has_refused = True
            else:
                self._publish(row)
                window.confirmed.append(row.id)
        if self.sent_before_crash is not None:
            raise Crash("the relay died before it marked what it had published")
        return window


def make_relay(service: str, store: Store, publisher: Any) -> Relay:
    relay = Relay(RelaySettings(service=service, database_url="", retention_s=86_400), publisher)
    relay._database.connection = store.connection
    return relay
