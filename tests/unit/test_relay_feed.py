"""A change feed: a batch is acknowledged when its rows are done, and an engine that ends is followed by another."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from harness.waiting import wait_until

from shared.change_data import Change, Heartbeat
from shared.relaying.changes import row_from_change
from shared.relaying.feed import ChangeFeed
from shared.relaying.handoff import Abandoned, Handoff

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEAT = Heartbeat(database="order", lsn=1, at=NOW)


def a_change(number: int, operation: str = "c") -> Change:
    return Change(
        database="order",
        table="outbox",
        operation=operation,
        before=None,
        after={"id": number},
        lsn=number,
        transaction_id=7,
        committed_at=NOW,
        is_snapshot=False,
    )


class ScriptedEngine:
    """Tells what it was given, then waits to be stopped; ``error``: ends with that instead."""

    def __init__(self, handle: Callable[[Any], None], news: Sequence[Any], error: Exception | None = None) -> None:
        self._handle, self._news, self._error = handle, news, error
        self._stopped = threading.Event()
        self.acknowledged: list[Any] = []
        self.ended_with: BaseException | None = None

    def run(self) -> None:
        try:
            for batch in self._news:
                self._handle(batch)
                self.acknowledged.append(batch)
        except BaseException as error:
            self.ended_with = error
            raise
        if self._error:
            raise self._error
        assert self._stopped.wait(30)

    def stop(self) -> None:
        self._stopped.set()


class Scripts:
    """Engines in the order in which they are made."""

    def __init__(self, *scripts: tuple[Sequence[Any], Exception | None]) -> None:
        self._scripts = list(scripts)
        self.made: list[ScriptedEngine] = []

    def __call__(self, handle: Callable[[Any], None]) -> ScriptedEngine:
        news, error = self._scripts.pop(0)
        self.made.append(ScriptedEngine(handle, news, error))
        return self.made[-1]


def is_readable(handoff: Handoff[Any]) -> bool:
    return bool(select.select([handoff], [], [], 0)[0])


class TestABatch:
    def test_is_acknowledged_when_it_is_done_and_not_before(self) -> None:
        batches = [[a_change(1), BEAT], [a_change(2)]]
        scripts = Scripts((batches, None))
        feed = ChangeFeed(scripts)
        feed.keep_running()
        handoff = feed.handoff
        assert handoff is not None
        for position, number in enumerate((1, 2)):
            wait_until(lambda: handoff.peek() is not None, "a batch is handed over")
            assert is_readable(handoff)
            assert [change.after for change in handoff.peek() or []] == [{"id": number}]
            assert scripts.made[0].acknowledged == batches[:position]
            handoff.done()
            assert not is_readable(handoff) or handoff.peek() is not None
        wait_until(lambda: scripts.made[0].acknowledged == batches, "both are acknowledged")
        feed.stop()

    def test_that_nobody_will_finish_is_not_acknowledged(self) -> None:
        scripts = Scripts(([[a_change(1)]], None))
        feed = ChangeFeed(scripts)
        feed.keep_running()
        wait_until(lambda: feed.is_streaming, "it is handed over")
        feed.stop()
        assert scripts.made[0].acknowledged == []
        assert isinstance(scripts.made[0].ended_with, Abandoned)
        assert feed.handoff is None

    def test_after_the_end_is_refused_at_once(self) -> None:
        handoff: Handoff[int] = Handoff()
        handoff.abandon()
        with pytest.raises(Abandoned):
            handoff.offer([1])
        handoff.done()

    def test_without_anything_recorded_is_acknowledged_by_itself(self) -> None:
        """Given a heartbeat, and a row that was changed, then nobody is asked, and the feed is known to stream."""
        batches = [[BEAT], [a_change(1, "u")]]
        scripts = Scripts((batches, None))
        feed = ChangeFeed(scripts)
        assert not feed.is_streaming
        feed.keep_running()
        wait_until(lambda: scripts.made[0].acknowledged == batches, "both are acknowledged")
        assert feed.is_streaming
        feed.stop()
        assert not feed.is_streaming


class TestAnEngineThatEnds:
    @pytest.mark.parametrize("error", [ValueError("no slot"), None])
    def test_is_followed_by_another_after_a_while(self, error: Exception | None) -> None:
        now = [100.0]
        scripts = Scripts(([[BEAT]], error), ([[BEAT]], None))
        feed = ChangeFeed(scripts, clock=lambda: now[0])
        feed.keep_running()
        wait_until(lambda: scripts.made[0].acknowledged, "it tells something")
        if error is None:
            scripts.made[0].stop()
        wait_until(lambda: not feed._life.is_running, "it ends")  # type: ignore[union-attr]

        feed.keep_running()
        assert not feed.is_streaming
        feed.keep_running()
        assert len(scripts.made) == 1, "not at once"
        now[0] += 1.0
        feed.keep_running()
        wait_until(lambda: feed.is_streaming, "the next one tells something")
        feed.stop()


def test_a_change_is_read_as_the_row_that_was_recorded() -> None:
    """The body byte for byte, the moment to the microsecond."""
    recorded = {
        "id": 17,
        "event_id": "01a1f96a-52b9-71b1-b320-1514f754d78d",
        "event_type": "ORDER_CREATED",
        "aggregate_id": "a",
        "correlation_id": "c",
        "causation_id": None,
        "schema_version": 2,
        "traceparent": None,
        "payload": '{"price" : "1.50", "b": "ü"}',
        "occurred_at": "2026-01-01T12:00:00.000001Z",
    }
    change = a_change(17)
    row = row_from_change(Change(**{**{n: getattr(change, n) for n in Change.__slots__}, "after": recorded}), "s")
    assert row.body == '{"price" : "1.50", "b": "ü"}'.encode()
    assert row.envelope.occurred_at == NOW.replace(microsecond=1)
    assert row.envelope.occurred_at.isoformat() == "2026-01-01T12:00:00.000001+00:00"
    assert (row.id, row.aggregate_id, row.envelope.source, row.envelope.causation_id) == (17, "a", "s", None)
