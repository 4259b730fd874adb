"""A change data engine that tells what a test wants told, when the test wants it. The real one: tests/cdc.

Owns: the engine's side of a feed. Must not know: what the feed does with it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.change_data import Change, Heartbeat

ROWS = """
select id, event_id::text, event_type, aggregate_id, correlation_id, causation_id::text, schema_version, traceparent,
       payload::text, occurred_at, xmin::text::bigint as transaction_id
from outbox where aggregate_id = any(%s) order by id
"""
_NAMES = ("id", "event_id", "event_type", "aggregate_id", "correlation_id", "causation_id", "schema_version")
_MORE_NAMES = ("traceparent", "payload", "occurred_at")


def changes_of(records: Sequence[Sequence[Any]]) -> list[Change]:
    """Records of ROWS as the write-ahead log tells of them."""
    return [_change(dict(zip((*_NAMES, *_MORE_NAMES), record[:-1], strict=True)), record[-1]) for record in records]


def _change(row: Mapping[str, Any], transaction_id: int) -> Change:
    return Change(
        database="inventory",
        table="outbox",
        operation="c",
        before=None,
        after={**row, "occurred_at": row["occurred_at"].isoformat()},
        lsn=row["id"],
        transaction_id=transaction_id,
        committed_at=row["occurred_at"],
        is_snapshot=False,
    )


class ToldEngine:
    """Makes itself known with a heartbeat. ``acknowledged``: how many batches, heartbeats included, were done."""

    def __init__(self, handle: Callable[[Sequence[Change | Heartbeat]], None]) -> None:
        self._handle = handle
        self._news: queue.Queue[Sequence[Change | Heartbeat] | Exception | None] = queue.Queue()
        self.acknowledged = 0
        self.tell([Heartbeat(database="inventory", lsn=1, at=datetime.now(UTC))])

    def tell(self, news: Sequence[Change | Heartbeat]) -> None:
        self._news.put(news)

    def fail(self) -> None:
        self._news.put(ConnectionError("the server is gone"))

    def run(self) -> None:
        while (news := self._news.get()) is not None:
            if isinstance(news, Exception):
                raise news
            self._handle(news)
            self.acknowledged += 1

    def stop(self) -> None:
        self._news.put(None)


class ToldEngines:
    """Makes engines, one after the other, as a feed asks for them."""

    def __init__(self) -> None:
        self.made: list[ToldEngine] = []

    def __call__(self, handle: Callable[[Sequence[Change | Heartbeat]], None]) -> ToldEngine:
        self.made.append(ToldEngine(handle))
        return self.made[-1]

    @property
    def newest(self) -> ToldEngine:
        return self.made[-1]
