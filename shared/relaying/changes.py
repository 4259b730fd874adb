"""The source that takes rows from the write-ahead log, and polls for whatever does not come by it.

Owns: which of both is asked when. Must not know: publishing, the engine behind the feed.

The log alone is not enough. It does not have what was recorded while nobody kept it (CDC was off, the slot was lost),
nor a row that is to be published once more; and what it has, it tells once, also where an earlier row was refused. So
the table is read

- while the feed does not stream, as by the source that polls;
- once after it has begun to, so that nothing is missing from before: until then its batches wait;
- each POLL_S for aggregates that are held (order.py);
- each SWEEP_S, and when told that a row is to go once more, for everything.

Reading the table is safe at any time, as one thread does all of it: what it publishes first is skipped when the log
tells it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.change_data import Change
from shared.envelope import Envelope
from shared.logs import get_logger
from shared.messaging.pipelined_publisher import Window
from shared.outbox import (
    AGAIN_CHANNEL,
    AGGREGATES_OF_PARKED,
    AGGREGATES_WITH_UNPUBLISHED,
    IS_ANY_IN_PROGRESS,
    LOOK_UP,
    READ_UNPUBLISHED,
    READ_UNPUBLISHED_OF,
    OutboxRow,
    row_from_record,
)
from shared.relaying.database import RelayDatabase
from shared.relaying.feed import ChangeFeed
from shared.relaying.figures import FELL_BACK, STREAMING, TAKEN
from shared.relaying.order import RowsInHand
from shared.relaying.sources import POLL_S, WINDOW, Waiter

log = get_logger(__name__)

SWEEP_S = 30.0
UNRIPE_S = 0.005


class ChangeSource:
    """A row source (sources.py) with a feed. ``is_caught_up``: the log is followed, the table is read beside it."""

    def __init__(self, database: RelayDatabase, service: str, *, feed: ChangeFeed, sweep_s: float = SWEEP_S) -> None:
        self._database = database
        self._service = service
        self._feed = feed
        self._sweep_s = sweep_s
        self._hand: RowsInHand[OutboxRow] = RowsInHand()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._hand.drop()
        self._has_changes = False
        self._is_unripe = False
        self._is_catching_up = False
        self.is_caught_up = False
        self._read_held_at = self._sweep_at = 0.0

    @property
    def has_more(self) -> bool:
        return not self._hand.is_empty

    def begin(self) -> None:
        self._database.listen(AGAIN_CHANNEL)
        self._tell(is_streaming=False)

    def end(self) -> None:
        self._feed.stop()
        self._begin_anew()
        STREAMING.set(0)
        FELL_BACK.set(0)

    def window(self) -> list[OutboxRow]:
        if self._hand.is_empty:
            self._refill()
        return self._hand.window(WINDOW)

    def settled(self, outcome: Window) -> None:
        self._hand.settled(outcome.confirmed, outcome.refused.keys())
        if self._hand.is_empty:
            self._worked_off()

    def wait(self, waiter: Waiter) -> None:
        handoff = self._feed.handoff
        if self._is_unripe:
            waiter.wait(UNRIPE_S)
        elif handoff is None or not self.is_caught_up:
            waiter.wait(POLL_S)
        else:
            waiter.wait(POLL_S, wake_up=handoff)

    def _refill(self) -> None:
        self._feed.keep_running()
        if not self._feed.is_streaming:
            self._fall_back()
            self._read_table("polling")
        elif not self.is_caught_up:
            self._catch_up()
        else:
            self._read_what_is_due()
            self._take_changes()
        if self._hand.is_empty:
            self._worked_off()

    def _fall_back(self) -> None:
        if self.is_caught_up:
            log.warning("relay_fell_back")
        self.is_caught_up = self._is_catching_up = False
        self._has_changes = self._is_unripe = False
        self._tell(is_streaming=False)

    def _catch_up(self) -> None:
        """A read that left nothing out, after the feed had begun: from now on all is told, or held.

        What is refused on the way is parked by then, and so its aggregate is held.
        """
        self._is_catching_up = self._read_table("catching up") < WINDOW

    def _worked_off(self) -> None:
        """Nothing of what was taken is left in hand: it is published and marked, or held."""
        if self._is_catching_up:
            self._is_catching_up, self.is_caught_up = False, True
            self._hand.hold(name for (name,) in self._database.rows(AGGREGATES_OF_PARKED))
            self._sweep_at = time.monotonic() + self._sweep_s
            self._tell(is_streaming=True)
            log.info("relay_streaming", held=len(self._hand.held))
        handoff = self._feed.handoff
        if self._has_changes and handoff is not None:
            handoff.done()
        self._has_changes = False

    def _tell(self, *, is_streaming: bool) -> None:
        STREAMING.set(is_streaming)
        FELL_BACK.set(not is_streaming)

    def _read_what_is_due(self) -> None:
        now = time.monotonic()
        if self._database.was_notified() or now >= self._sweep_at:
            whole = self._read_table("sweep") < WINDOW
            self._sweep_at = now + (self._sweep_s if whole else 0)
        elif self._hand.held and now >= self._read_held_at:
            self._read_held()

    def _read_held(self) -> None:
        """Those that have nothing unpublished any more are moved by changes again."""
        held = {"aggregates": list(self._hand.held)}
        self._hand.free_all_but(name for (name,) in self._database.rows(AGGREGATES_WITH_UNPUBLISHED, held))
        rows = self._rows_of(READ_UNPUBLISHED_OF, aggregates=list(self._hand.held))
        self._add_read(rows, "held")
        self._read_held_at = time.monotonic() + (0 if rows else POLL_S)

    def _read_table(self, way: str) -> int:
        """How many rows there were; WINDOW or more: there may be others behind them."""
        rows = self._rows_of(READ_UNPUBLISHED)
        self._add_read(rows, way)
        return len(rows)

    def _rows_of(self, statement: str, **parameters: Any) -> list[OutboxRow]:
        records = self._database.rows(statement, {"limit": WINDOW, **parameters})
        return [row_from_record(record, self._service) for record in records]

    def _add_read(self, rows: Sequence[OutboxRow], way: str) -> None:
        self._hand.add_read(rows)
        TAKEN.labels(way).inc(len(rows))

    def _take_changes(self) -> None:
        handoff = self._feed.handoff
        changes = handoff.peek() if handoff is not None else None
        self._is_unripe = changes is not None and not self._add_changes(changes)
        self._has_changes = changes is not None and not self._is_unripe

    def _add_changes(self, changes: Sequence[Change]) -> bool:
        """False: not all of them can be seen in the table yet, so that it could not be marked."""
        ids = [int(_recorded(change)["id"]) for change in changes]
        is_published = dict(self._database.rows(LOOK_UP, {"ids": ids}))
        unseen = [change for id_, change in zip(ids, changes, strict=True) if id_ not in is_published]
        if unseen:
            if self._are_in_progress(unseen):
                return False
            # They may have ended since the first look. What is not there now was purged long ago, and is told again.
            is_published = dict(self._database.rows(LOOK_UP, {"ids": ids}))
        fresh = [change for id_, change in zip(ids, changes, strict=True) if is_published.get(id_) is False]
        self._hand.add_changes(row_from_change(change, self._service) for change in fresh)
        TAKEN.labels("change").inc(len(fresh))
        return True

    def _are_in_progress(self, changes: Sequence[Change]) -> bool:
        transactions = sorted({c.transaction_id for c in changes if c.transaction_id is not None})
        return bool(self._database.rows(IS_ANY_IN_PROGRESS, {"transactions": transactions})[0][0])


def row_from_change(change: Change, source: str) -> OutboxRow:
    """The row that was recorded, as a value; ``source`` is the publishing service."""
    row = _recorded(change)
    causation_id = row["causation_id"]
    return OutboxRow(
        id=int(row["id"]),
        aggregate_id=row["aggregate_id"],
        body=row["payload"].encode(),
        envelope=Envelope(
            event_id=UUID(row["event_id"]),
            type=row["event_type"],
            source=source,
            correlation_id=row["correlation_id"],
            causation_id=UUID(causation_id) if causation_id else None,
            occurred_at=datetime.fromisoformat(row["occurred_at"]),
            schema_version=int(row["schema_version"]),
            traceparent=row["traceparent"],
        ),
    )


def _recorded(change: Change) -> Any:
    return change.after
