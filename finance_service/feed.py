"""The feed: reads the stream of changes and applies it, batch by batch. One is at work, any number stand by.

Owns: where reading begins, the read → apply → acknowledge cycle.
Must not know: what changes mean, AMQP.

Exactly once: the place in the stream is moved in the transaction that applies what stands before it. Election lives as
long as the one database session that also applies, so one that has lost it cannot apply; and the place is locked and
compared, whoever comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from finance_service import figures, handlers, queries
from finance_service.domain import Arrived, Continuity, Place, continuity
from finance_service.handlers import Applied
from finance_service.stream import FIRST, LAST
from shared.database import Transaction
from shared.elected import ElectedLoop
from shared.errors import BrokenRule, OrderSagaError, TransientError
from shared.logs import get_logger

log = get_logger(__name__)

BATCH = 500
POLL_S = 1.0
# Under load: a batch costs a few statements, however many rows it holds.
GATHER_S = 0.1
# Shorter than the time after which the database ends an idle session, and with it the election.
KEPT_AWAKE_S = 10.0


class Reader(Protocol):
    """What the feed needs of StreamReader."""

    @property
    def is_open(self) -> bool: ...

    def open(self, offset: int | str) -> None: ...

    def read(self, most: int, patience_s: float, gather_s: float) -> list[Arrived]: ...

    def acknowledge(self, arrived: Sequence[Arrived]) -> None: ...

    def close(self) -> None: ...


class Database(Protocol):
    """What the feed needs of OneSession: every transaction on the session that was elected."""

    @property
    def is_open(self) -> bool: ...

    def is_elected(self) -> bool: ...

    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class FeedState:
    """``silent_s``: how long ago the feed last went round. One on standby needs no broker."""

    is_active: bool
    has_database: bool
    has_broker: bool
    silent_s: float


class Feed(ElectedLoop):
    """Survives the loss of broker and database."""

    survives = (TransientError,)

    def __init__(self, stream: str, database: Database, reader: Reader) -> None:
        super().__init__(figures.ACTIVE)
        self._stream, self._database, self._reader = stream, database, reader
        self._place: Place | None = None
        self._is_behind = False
        self._asked_at = time.monotonic()

    def state(self) -> FeedState:
        """Safe from any thread."""
        return FeedState(
            is_active=self._is_active,
            has_database=self._database.is_open,
            has_broker=self._reader.is_open,
            silent_s=self.silent_s,
        )

    def _say_interrupted(self, error: Exception) -> None:
        log.warning("feed_interrupted", code=getattr(error, "code", None), error=str(error)[:300])
        figures.INTERRUPTIONS.inc()

    def _step_down(self) -> None:
        self._reader.close()
        self._database.close()

    def _is_elected(self) -> bool:
        return self._database.is_elected()

    def _work(self) -> None:
        self._begin()
        while not self._stopping:
            self._beat()
            arrived = self._reader.read(BATCH, POLL_S, 0.0 if self._is_behind else GATHER_S)
            self._is_behind = len(arrived) >= BATCH // 2
            self._take(arrived)

    # Where reading begins

    def _begin(self) -> None:
        """The message before the place is asked for too: it tells whether this is the stream that was read."""
        with self._database.transaction() as tx:
            self._place = queries.place(tx, self._stream)
        if self._place is None:
            self._reader.open(FIRST)
        else:
            self._reader.open(max(self._place.next_offset - 1, 0))
        log.info("feed_active", stream=self._stream, offset=self._place.next_offset if self._place else FIRST)
        if self._place is not None:
            self._check_continuity(self._place)

    def _check_continuity(self, place: Place) -> None:
        while not self._stopping:
            self._beat()
            self._stay_awake()
            if first := self._reader.read(1, POLL_S, 0.0):
                self._judge(place, first)
                return
            # The message before the place should have come at once. A stream that ends before it tells nothing.
            if self._ends_before(place):
                self._begin_anew(place)
                return
            self._reader.open(max(place.next_offset - 1, 0))

    def _judge(self, place: Place, first: Sequence[Arrived]) -> None:
        match continuity(place, first[0]):
            case Continuity.WHOLE:
                self._take(first)
            case Continuity.LOST:
                self._say_lost(place.next_offset, first[0].offset - 1, first[0].offset)
                self._take(first)
            case Continuity.ANOTHER:
                self._begin_anew(place)

    def _ends_before(self, place: Place) -> bool:
        """By its newest messages; an empty stream may be anything, and is looked at again."""
        self._reader.open(LAST)
        newest = self._reader.read(BATCH, POLL_S, POLL_S)
        return bool(newest) and newest[-1].offset < place.next_offset - 1

    def _begin_anew(self, place: Place) -> None:
        """Nobody knows what was in the old stream behind the place."""
        self._reader.open(FIRST)
        self._say_lost(place.next_offset, None, 0)

    def _say_lost(self, lost_from: int, lost_to: int | None, next_offset: int) -> None:
        with self._database.transaction() as tx:
            queries.record_loss(tx, self._stream, next_offset, lost_from, lost_to)
        self._place = Place(next_offset=next_offset, last_message_id=None)
        figures.LOSSES.inc()
        log.error(
            "changes_lost",
            stream=self._stream,
            lost_from=lost_from,
            lost_to=lost_to,
            hint="a snapshot tells all rows again: `ordersaga cdc snapshot`",
        )

    # What arrives

    def _take(self, arrived: Sequence[Arrived]) -> None:
        known = self._place.next_offset if self._place else 0
        new = [one for one in arrived if one.offset >= known]
        if new:
            self._apply(new)
        else:
            self._stay_awake()
        self._reader.acknowledge(arrived)

    def _apply(self, arrived: Sequence[Arrived]) -> None:
        """Together; where the database refuses one of them, each by itself, so that it harms no other."""
        try:
            self._save(
                lambda tx: handlers.apply_batch(tx, self._stream, self._place, arrived, _say_unreadable), len(arrived)
            )
        except BrokenRule as error:
            if len(arrived) > 1:
                for one in arrived:
                    self._apply([one])
                return
            _say_unreadable(arrived[0], error)
            self._save(lambda tx: handlers.leave_out(tx, self._stream, self._place, arrived[0]), 1)

    def _save(self, work: Callable[[Transaction], Applied], size: int) -> None:
        began = time.perf_counter()
        with self._database.transaction() as tx:
            applied = work(tx)
        self._place, self._asked_at = applied.place, time.monotonic()
        figures.count(applied, time.perf_counter() - began, size)

    def _stay_awake(self) -> None:
        if time.monotonic() - self._asked_at > KEPT_AWAKE_S:
            with self._database.transaction() as tx:
                queries.place(tx, self._stream)
            self._asked_at = time.monotonic()


def _say_unreadable(arrived: Arrived, error: OrderSagaError) -> None:
    """Without what it says, which may be anybody's address."""
    log.error("change_left_out", offset=arrived.offset, message_id=arrived.message_id, error=str(error)[:200])
