"""The relay: takes events from a service's outbox to the broker. One process per service, any number on standby.

Owns: the take → publish → mark cycle, purging. Must not know: what the events mean, nor by which way its rows come
(shared/relaying/).

At least once: a crash between publish and mark publishes again, and the consumers' inboxes absorb it. Rows of one
aggregate are never in flight together, so they arrive in the order recorded even when one of them is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg2
from psycopg2.extras import RealDictCursor

from shared import tracing
from shared.chaos.figures import ACTS
from shared.chaos.memory import READ_EVERY_S, ChaosMemory
from shared.chaos.switches import READ_SWITCHES, Switch, switches_of
from shared.elected import ElectedLoop
from shared.errors import BrokerUnavailable
from shared.logs import get_logger
from shared.messaging.pipelined_publisher import Window
from shared.order_log import errors_in_parts, say_in_parts
from shared.outbox import MARK_PUBLISHED, PARK_REFUSED, PURGE_CHUNK, PURGE_PUBLISHED, OutboxRow
from shared.pace import Pace
from shared.relaying import figures
from shared.relaying.database import RelayDatabase
from shared.relaying.sources import WINDOW, PollingSource, SourceMaker

log = get_logger(__name__)

# Under load: the windows of a relay set the size of every batch behind it.
GATHER_S = 0.1
PURGE_EVERY_S = 60.0
PAUSED_S = 0.2
ELECTION_LOCK = 0x0BB0  # one per database, so the same number serves every service


class Publisher(Protocol):
    """What the relay needs of PipelinedPublisher."""

    @property
    def is_open(self) -> bool: ...

    def connect(self) -> None: ...

    def publish(self, rows: list[OutboxRow]) -> Window: ...

    def wait(self, seconds: float, wake_up: Any = None) -> None: ...

    def hurry(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """``retention_s``: how long published rows are kept, for looking back and for publishing one again.

    ``may_be_paused``: whether it heeds the chaos switches in its database.
    """

    service: str
    database_url: str
    retention_s: float
    may_be_paused: bool = False


@dataclass(frozen=True, kw_only=True)
class RelayState:
    """``silent_s``: how long ago the relay last went round. One on standby needs no broker. ``chaos``: what is on."""

    is_active: bool
    has_database: bool
    has_broker: bool
    silent_s: float
    chaos: Sequence[Mapping[str, Any]]


class Relay(ElectedLoop):
    """Survives the loss of broker and database."""

    survives = (psycopg2.Error, BrokerUnavailable)

    def __init__(self, settings: RelaySettings, publisher: Publisher, make_source: SourceMaker = PollingSource) -> None:
        super().__init__(figures.ACTIVE)
        self._settings = settings
        self._publisher = publisher
        self._database = RelayDatabase(settings.database_url)
        self._source = make_source(self._database, settings.service)
        self._purge_at = 0.0
        self._pace = Pace(GATHER_S)
        self._chaos = ChaosMemory()
        self._chaos_at = 0.0
        self._is_behind = False

    def state(self) -> RelayState:
        """Safe from any thread."""
        return RelayState(
            is_active=self._is_active,
            has_database=self._database.is_open,
            has_broker=self._publisher.is_open,
            silent_s=self.silent_s,
            chaos=self._chaos.marks(),
        )

    def stop(self) -> None:
        """Finish the window in hand, if the broker confirms it soon, and return from :meth:`run`."""
        super().stop()
        self._publisher.hurry()

    def run(self) -> None:
        super().run()
        self._publisher.close()

    def _say_interrupted(self, error: Exception) -> None:
        log.warning("relay_interrupted", error=f"{type(error).__name__}: {error}"[:300])
        figures.INTERRUPTIONS.inc()

    def _step_down(self) -> None:
        """The source first: nobody should be elected while it still takes rows."""
        self._source.end()
        self._database.disconnect()

    def _is_elected(self) -> bool:
        """The lock lives as long as this database session: a relay that dies frees it for a standby."""
        self._database.connect()
        return bool(self._database.rows("select pg_try_advisory_lock(%s)", (ELECTION_LOCK,))[0][0])

    def _work(self) -> None:
        log.info("relay_active")
        self._source.begin()
        while not self._stopping:
            self._beat()
            if not self._publisher.is_open:
                self._publisher.connect()
            self._purge_if_due()
            if self._is_paused():
                self._sit_out()
                continue
            self._gather()
            if not self.relay_once():
                self._source.wait(self._publisher)

    def relay_once(self) -> bool:
        """Publish one window and mark it; False when there was nothing to publish."""
        rows = self._source.window()
        if not rows:
            return False
        self._pace.took(len(rows))
        began = time.perf_counter()
        # crash point: relay.read
        with tracing.publishing(rows) as window:
            outcome = self._publisher.publish(window.rows)
            window.settled(outcome.refused)
        # crash point: relay.published
        self._mark(outcome)
        # crash point: relay.marked
        self._source.settled(outcome)
        took_s = time.perf_counter() - began
        figures.count_window(rows, confirmed=len(outcome.confirmed), refused=len(outcome.refused), seconds=took_s)
        self._report(rows, outcome)
        self._is_behind = len(rows) >= WINDOW // 2
        return True

    def _gather(self) -> None:
        if self._is_behind or self._source.has_more:
            return
        if pause_s := self._pace.pause_s():
            self._publisher.wait(pause_s)

    def _mark(self, outcome: Window) -> None:
        if outcome.confirmed:
            self._database.rows(MARK_PUBLISHED, {"ids": outcome.confirmed})
        if outcome.refused:
            self._database.rows(PARK_REFUSED, {"ids": list(outcome.refused)})

    def _report(self, rows: list[OutboxRow], outcome: Window) -> None:
        confirmed, refused = set(outcome.confirmed), outcome.refused
        say_in_parts(log, "events_published", _ids_of([row for row in rows if row.id in confirmed]))
        if refused:
            ids = _ids_of([row for row in rows if row.id in refused])
            first = next(iter(refused.values()))
            errors_in_parts(log, "events_refused", ids, count=len(refused), first=first)

    def _purge_if_due(self) -> None:
        if time.monotonic() >= self._purge_at:
            purged = self._database.count(PURGE_PUBLISHED, {"retention_s": self._settings.retention_s})
            # A whole chunk: there is more of it; the next one follows with the next window.
            self._purge_at = time.monotonic() + (0 if purged >= PURGE_CHUNK else PURGE_EVERY_S)

    def _is_paused(self) -> bool:
        """By a chaos switch. The relay stays elected meanwhile: no standby takes over."""
        if self._settings.may_be_paused and time.monotonic() >= self._chaos_at:
            self._chaos_at = time.monotonic() + READ_EVERY_S
            self._chaos.learn(self._switches())
        if not self._chaos.is_on:
            return False
        return "relay_pause" in self._chaos.amounts(self._settings.service)

    def _sit_out(self) -> None:
        log.info("relay_paused")
        ACTS.labels("relay_pause").inc()
        while not self._stopping and self._is_paused():
            self._publisher.wait(PAUSED_S)
        log.info("relay_resumed")

    def _switches(self) -> list[Switch]:
        with self._database.connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(READ_SWITCHES)
            return switches_of(cursor.fetchall())


def _ids_of(rows: list[OutboxRow]) -> dict[str, list[object]]:
    """An event about an order has it for its aggregate; others have an item."""
    return {
        "orders": [row.aggregate_id for row in rows],
        "types": [row.envelope.type for row in rows],
        "event_ids": [row.envelope.event_id for row in rows],
    }
