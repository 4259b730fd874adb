"""What a connector counts, and what its slot says.

Owns: the figures' names, asking PostgreSQL for the slot's. Must not know: how changes travel.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import psycopg2
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from shared.change_data import Change, EngineSettings, Heartbeat
from shared.change_data.slot import database_session
from shared.metrics import SIZES, counter, gauge, histogram

CHANGES = counter("ordersaga_cdc_changes", "Row changes that the broker has confirmed", ("table", "operation"))
BATCHES = histogram("ordersaga_cdc_batch_changes", "Changes and heartbeats published together", buckets=SIZES)
BATCH_SECONDS = histogram("ordersaga_cdc_batch_seconds", "From a batch at hand until the broker has confirmed it")
INTERRUPTIONS = counter("ordersaga_cdc_interruptions", "Times the connector lost its broker or its database", ("what",))
PAUSED = gauge("ordersaga_cdc_paused", "1 while the connector is paused by command")
SNAPSHOTTING = gauge("ordersaga_cdc_snapshotting", "1 while all rows are read")

_REMEMBERED_S = 2.0
_SLOT = """
select coalesce(pg_current_wal_lsn() - confirmed_flush_lsn, 0) from pg_replication_slots where slot_name = %s
"""


@dataclass(kw_only=True)
class Freshness:
    """The newest moment that was published, by the database's clock."""

    newest: float | None = None

    def published(self, batch: Sequence[Change | Heartbeat]) -> None:
        """A snapshot's rows are as old as the snapshot, whatever the log says meanwhile."""
        moments = [
            (each.committed_at if isinstance(each, Change) else each.at).timestamp()
            for each in batch
            if not (isinstance(each, Change) and each.is_snapshot)
        ]
        if moments:
            self.newest = max(moments[-1], self.newest or 0.0)


def count_changes(batch: Sequence[Change | Heartbeat], seconds: float) -> None:
    BATCHES.observe(len(batch))
    BATCH_SECONDS.observe(seconds)
    for (table, operation), times in Tally(
        (each.table, each.operation) for each in batch if isinstance(each, Change)
    ).items():
        CHANGES.labels(table, operation).inc(times)


class LagFigures:
    """A collector: how far behind, in seconds and in bytes of the log. Bytes are missing while PostgreSQL is away."""

    def __init__(self, settings: EngineSettings, freshness: Freshness, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._freshness = freshness
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._bytes: float | None = None

    def collect(self) -> Iterable[Metric]:
        newest = self._freshness.newest
        if newest is not None:
            words = "Age of the newest moment up to which all that was committed is published"
            yield GaugeMetricFamily("ordersaga_cdc_lag_seconds", words, max(self._clock() - newest, 0.0))
        behind = self.lag_bytes()
        if behind is not None:
            words = "What the log holds beyond the position that was acknowledged"
            yield GaugeMetricFamily("ordersaga_cdc_lag_bytes", words, behind)

    def lag_bytes(self) -> float | None:
        with self._lock:
            if time.monotonic() - self._asked_at >= _REMEMBERED_S:
                self._bytes = self._ask()
                self._asked_at = time.monotonic()
            return self._bytes

    def _ask(self) -> float | None:
        try:
            with database_session(self._settings) as cursor:
                cursor.execute(_SLOT, (self._settings.slot,))
                row = cursor.fetchone()
        except psycopg2.Error:
            return None
        return None if row is None else float(row[0])
