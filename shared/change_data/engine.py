"""Debezium's engine inside this process, as one blocking call.

Owns: an engine's life: snapshot when one is wanted, then the log, until it is stopped or fails; acknowledging batches.
Must not know: what is done with the changes.

What is handed over is acknowledged when ``handle`` returns, and never before. The position is the slot's own, kept by
PostgreSQL: whoever is killed begins behind the last transaction that was acknowledged as a whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import psycopg2

from shared.change_data import machine, position
from shared.change_data.changes import Change, Heartbeat, read_record
from shared.change_data.properties import NOTIFICATIONS, snapshot_properties, streaming_properties
from shared.change_data.settings import EngineSettings
from shared.change_data.slot import ensure_slot
from shared.errors import TransientError
from shared.logs import get_logger

log = get_logger(__name__)

Handle = Callable[[Sequence[Change | Heartbeat]], None]

_LOOK_EVERY_S = 0.1
_CLOSE_LIMIT_S = 60.0


class ChangeEngineFailed(TransientError):
    """The engine has ended without being asked to; what was not acknowledged comes again."""

    code = "change_engine_failed"


class ChangeEngine:
    """``handle`` gets batches in the order of the log, one at a time, in a thread of Java's.

    Where it raises, its batch is not acknowledged and the engine ends. It should give up waiting once stop() was
    called.
    """

    def __init__(self, settings: EngineSettings, handle: Handle) -> None:
        self._settings = settings
        self._handle = handle
        self._is_stopping = False
        self._wants_snapshot = False
        self._is_snapshotting = False

    @property
    def is_snapshotting(self) -> bool:
        return self._is_snapshotting

    def stop(self) -> None:
        """Have :meth:`run` return. From any thread, and from a signal handler."""
        self._is_stopping = True

    def request_snapshot(self) -> None:
        """Have all rows read (again) before the log is gone on with. From any thread; outlives a restart."""
        position.forget_snapshot(self._settings)
        self._wants_snapshot = True

    def run(self) -> None:
        """Blocks until stop(). Raises ChangeEngineFailed; Misconfigured where the extra or Java is missing."""
        machine.start()
        while not self._is_stopping:
            self._wants_snapshot = False
            try:
                slot, is_new = ensure_slot(self._settings)
            except psycopg2.Error as error:
                raise ChangeEngineFailed(f"the slot {self._settings.slot} cannot be used: {error}".strip()) from error
            if is_new:
                position.forget_snapshot(self._settings)
            if self._settings.snapshot_mode == "initial" and not position.has_snapshot(self._settings):
                self._read_all_rows(slot.restart)
            else:
                self._read_log(slot.confirmed)

    def _read_all_rows(self, lsn: int) -> None:
        """A row gets the position behind which every change lies that the snapshot may not have seen."""
        log.info("snapshot_started", engine=self._settings.name)
        self._is_snapshotting = True
        snapshot = _Run(self._settings, self._handle, snapshot_lsn=lsn)
        try:
            snapshot.until(snapshot_properties(self._settings), lambda: self._is_stopping or snapshot.is_complete)
        finally:
            self._is_snapshotting = False
        if snapshot.is_complete:
            position.snapshot_is_complete(self._settings)
            log.info("snapshot_complete", engine=self._settings.name, rows=snapshot.handed_over)

    def _read_log(self, lsn: int) -> None:
        log.info("streaming_started", engine=self._settings.name, slot=self._settings.slot, lsn=lsn)
        position.write_offset(self._settings, lsn)
        streaming = _Run(self._settings, self._handle)
        streaming.until(streaming_properties(self._settings), lambda: self._is_stopping or self._wants_snapshot)


class _Run:
    """One engine of Debezium's, from its start to its end; they cannot be started twice."""

    def __init__(self, settings: EngineSettings, handle: Handle, snapshot_lsn: int | None = None) -> None:
        self.is_complete = False
        self.handed_over = 0
        self._database = settings.database
        self._handle = handle
        self._snapshot_lsn = snapshot_lsn
        self._error: BaseException | None = None
        self._message = ""

    def until(self, properties: dict[str, str], is_over: Callable[[], bool]) -> None:
        """Let it run until then. Raises ChangeEngineFailed when it ends before, or does not end."""
        try:
            engine = machine.build_engine(properties, self._handle_batch, self._ended)
        except Exception as error:
            raise ChangeEngineFailed(f"the engine cannot be made: {error}"[:500]) from error
        thread = threading.Thread(target=self._run, args=(engine,), name="change engine", daemon=True)
        thread.start()
        # Short waits: a signal's handler runs in between.
        while thread.is_alive() and not is_over():
            thread.join(_LOOK_EVERY_S)
        if is_over():
            self._close(engine, thread)
        elif self._error is not None:
            raise ChangeEngineFailed(f"{type(self._error).__name__}: {self._error}"[:500]) from self._error
        else:
            raise ChangeEngineFailed(self._message or "the engine has ended")

    def _run(self, engine: Any) -> None:
        try:
            engine.run()
        except Exception as error:  # of Java's own kinds, which are not known here
            self._error = self._error or error

    def _close(self, engine: Any, thread: threading.Thread) -> None:
        deadline = time.monotonic() + _CLOSE_LIMIT_S
        is_closing = False
        while thread.is_alive():
            if time.monotonic() > deadline:
                raise ChangeEngineFailed(f"the engine did not end within {_CLOSE_LIMIT_S:g} s")
            if not is_closing:
                is_closing = _is_closed(engine)
            thread.join(_LOOK_EVERY_S)

    def _handle_batch(self, records: Any, committer: Any) -> None:
        try:
            self._hand_over(records)
        except BaseException as error:
            self._error = self._error or error
            raise
        # One partition: the last one's offset stands for all before it.
        if len(records):
            committer.markProcessed(records[len(records) - 1])
        committer.markBatchFinished()

    def _hand_over(self, records: Any) -> None:
        batch, is_complete = [], False
        for record in records:
            value = record.value()
            if value is None:
                continue
            if str(record.destination()) == NOTIFICATIONS:
                is_complete = is_complete or _says_complete(bytes(value))
                continue
            key = record.key()
            read = read_record(self._database, None if key is None else bytes(key), bytes(value), self._snapshot_lsn)
            if read is not None:
                batch.append(read)
        if batch:
            self._handle(batch)
            self.handed_over += len(batch)
        self.is_complete = self.is_complete or is_complete

    def _ended(self, is_good: Any, message: Any, error: Any) -> None:
        if not is_good:
            self._message = f"{message or ''} {error or ''}".strip()[:500]


def _is_closed(engine: Any) -> bool:
    """Whether it has begun to close; one that is starting cannot be closed yet."""
    try:
        engine.close()
    except Exception as error:
        if machine.may_be_closed_later(error):
            return False
        raise
    return True


def _says_complete(notification: bytes) -> bool:
    said = orjson.loads(notification)
    return said.get("aggregate_type") == "Initial Snapshot" and said.get("type") in ("COMPLETED", "SKIPPED")
