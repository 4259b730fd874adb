"""What a relay tells Prometheus.

Owns: its figures. Must not know: when they change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from shared.metrics import SIZES, counter, gauge, histogram
from shared.outbox import OutboxRow

_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
ACTIVE = gauge("ordersaga_relay_active", "1 while this relay is the elected one, 0 while it stands by")
STREAMING = gauge("ordersaga_relay_streaming", "1 while this relay takes its rows from the write-ahead log")
FELL_BACK = gauge("ordersaga_relay_fell_back", "1 while a relay that should stream polls instead")
TAKEN = counter("ordersaga_relay_events_taken", "Events taken in hand, by the way they came", ("way",))
INTERRUPTIONS = counter("ordersaga_relay_interruptions", "Times the relay lost its broker or its database")
FEED_FAILURES = counter("ordersaga_relay_feed_failures", "Times the relay's change data capture ended by itself")
_PUBLISHED = counter("ordersaga_relay_events_published", "Events the broker has confirmed")
_REFUSED = counter("ordersaga_relay_events_refused", "Events that were parked: the broker refused or returned them")
_SIZES = histogram("ordersaga_relay_window_events", "Events published together", buckets=SIZES)
_SECONDS = histogram("ordersaga_relay_window_seconds", "From a window read until it is marked as published")
_LAG = histogram(
    "ordersaga_relay_lag_seconds", "From an event's recording until it is published; a window's oldest", buckets=_AGES
)


def count_window(rows: Sequence[OutboxRow], *, confirmed: int, refused: int, seconds: float) -> None:
    _SIZES.observe(len(rows))
    _SECONDS.observe(seconds)
    _PUBLISHED.inc(confirmed)
    _REFUSED.inc(refused)
    # Rows come by id: the first is the one that waited longest. Its time is the database's clock, this is ours.
    _LAG.observe(max(time.time() - rows[0].envelope.occurred_at.timestamp(), 0.0))
