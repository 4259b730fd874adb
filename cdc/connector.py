"""The connector: an engine's changes, published before they are acknowledged.

Owns: the connector's life, pausing, what happens when broker or database are away. Must not know: Debezium, or the form
of messages.

At least once: a batch is acknowledged when the broker has confirmed all of it. What a kill leaves unacknowledged is
published again, in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.figures import INTERRUPTIONS, PAUSED, SNAPSHOTTING, Freshness, count_changes
from cdc.memory import Memory
from cdc.messages import Numbered, messages
from shared.change_data import Change, ChangeEngine, ChangeEngineFailed, EngineSettings, Heartbeat
from shared.change_data.captured import CapturedDatabase
from shared.change_data.position import forget_snapshot
from shared.errors import BrokerUnavailable
from shared.logs import get_logger
from shared.messaging.pipelined_channel import PipelinedChannel

log = get_logger(__name__)

BACKOFF_S = (0.5, 1, 2, 5, 10)
# So many at a time are on the way: the broker's memory is not ours alone.
WINDOW = 500
_LOOK_EVERY_S = 0.1

MakeEngine = Callable[[EngineSettings, Callable[[Sequence[Change | Heartbeat]], None]], ChangeEngine]


@dataclass(frozen=True, kw_only=True)
class ConnectorState:
    """``what``: paused, starting, snapshotting, streaming or waiting (for its database)."""

    what: str
    has_broker: bool
    silent_s: float


class Connector:
    """Runs until :meth:`stop`; survives the loss of broker and database."""

    def __init__(
        self,
        captured: CapturedDatabase,
        settings: EngineSettings,
        publisher: PipelinedChannel,
        memory: Memory,
        make_engine: MakeEngine = ChangeEngine,
    ) -> None:
        self.freshness = Freshness()
        self._captured = captured
        self._settings = settings
        self._publisher = publisher
        self._memory = memory
        self._make_engine = make_engine
        self._numbered = Numbered()
        self._engine: ChangeEngine | None = None
        self._is_stopping = False
        self._what = "starting"
        self._beat_at = time.monotonic()

    def state(self) -> ConnectorState:
        """Safe from any thread."""
        engine = self._engine
        what = "snapshotting" if engine is not None and engine.is_snapshotting else self._what
        SNAPSHOTTING.set(what == "snapshotting")
        silent_s = time.monotonic() - self._beat_at
        return ConnectorState(what=what, has_broker=self._publisher.is_open, silent_s=silent_s)

    def stop(self) -> None:
        """Finish the window in hand, if the broker confirms it soon, and have :meth:`run` return.

        From any thread, and from a signal handler.
        """
        self._is_stopping = True
        self._publisher.hurry()
        self._stop_engine()

    def carry_out(self, command: str) -> None:
        """pause, resume or snapshot; from one thread of its own."""
        if command == "snapshot":
            self._snapshot()
            return
        self._memory.now_paused(command == "pause")
        PAUSED.set(self._memory.is_paused)
        if self._memory.is_paused:
            self._stop_engine()

    def _snapshot(self) -> None:
        """One that is paused reads when it is resumed."""
        forget_snapshot(self._settings)
        engine = self._engine
        if engine is not None:
            engine.request_snapshot()

    def _stop_engine(self) -> None:
        engine = self._engine
        if engine is not None:
            engine.stop()

    def run(self) -> None:
        """Raises Misconfigured where the extra or Java is missing."""
        PAUSED.set(self._memory.is_paused)
        failures = 0
        while not self._is_stopping:
            if self._memory.is_paused:
                self._sit_out()
                continue
            began = time.monotonic()
            try:
                self._stream()
            except ChangeEngineFailed as error:
                failures = 0 if time.monotonic() - began > BACKOFF_S[-1] * 2 else failures + 1
                self._interrupted("database", error)
                self._what = "waiting"
                self._sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        self._publisher.close()

    def _stream(self) -> None:
        self._what = "starting"
        self._engine = engine = self._make_engine(self._settings, self._handle)
        try:
            # What was asked for before the engine was known.
            if not (self._is_stopping or self._memory.is_paused):
                engine.run()
        finally:
            self._engine = None

    def _sit_out(self) -> None:
        log.info("connector_paused")
        self._what = "paused"
        self._publisher.close()
        while self._memory.is_paused and not self._is_stopping:
            self._sleep(_LOOK_EVERY_S)
        log.info("connector_resumed")

    def _handle(self, batch: Sequence[Change | Heartbeat]) -> None:
        """In a thread of Java's. While the broker is away the batch waits, and with it the log."""
        self._what = "streaming"
        began = time.perf_counter()
        for start in range(0, len(batch), WINDOW):
            self._publish(batch[start : start + WINDOW])
        self._beat_at = time.monotonic()
        self.freshness.published(batch)
        count_changes(batch, time.perf_counter() - began)

    def _publish(self, window: Sequence[Change | Heartbeat]) -> None:
        """Until the broker has all of it, in order: one that was refused would be overtaken by those behind it."""
        ready = list(messages(self._captured, window, self._numbered))
        failures = 0
        while True:
            try:
                if not self._publisher.is_open:
                    self._publisher.close()
                    self._publisher.connect()
                refused = self._publisher.publish_all(ready).refused
                if not refused:
                    return
                error: Exception = BrokerUnavailable(f"refused: {next(iter(refused.values()))}")
            except BrokerUnavailable as lost:
                error = lost
            self._interrupted("broker", error)
            self._sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
            if self._is_stopping or self._memory.is_paused:
                raise error

    def _interrupted(self, what: str, error: Exception) -> None:
        INTERRUPTIONS.labels(what).inc()
        log.warning("connector_interrupted", what=what, error=f"{type(error).__name__}: {error}"[:300])

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        was_paused = self._memory.is_paused
        while not self._is_stopping and self._memory.is_paused == was_paused and time.monotonic() < deadline:
            self._beat_at = time.monotonic()
            time.sleep(0.05)
