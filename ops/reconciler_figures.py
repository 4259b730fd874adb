"""Owns: the reconciler's figures for Prometheus. Must not know: passes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.probes import Report


class Figures:
    """A code that was found once stays as a figure of 0, so that its alert can end."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "ordersaga_reconcile"
        self._found = Gauge(f"{prefix}_discrepancies", "What differs", ["code"], registry=self.registry)
        self._unsettled = Gauge(f"{prefix}_unsettled", "Orders to be looked at again", registry=self.registry)
        self._checked = Counter(f"{prefix}_checked", "Compared so far", ["what"], registry=self.registry)
        self._orders = Counter(f"{prefix}_orders_checked", "Orders compared so far", registry=self.registry)
        self._failed = Counter(f"{prefix}_passes_failed", "Passes that were broken off", registry=self.registry)
        self._at = Gauge(f"{prefix}_last_pass_timestamp_seconds", "When a pass ended last", registry=self.registry)
        self._seconds = Gauge(f"{prefix}_last_pass_seconds", "How long it took", registry=self.registry)
        self._codes: set[str] = set()
        self._last = "none yet"

    def ready(self) -> Report:
        """Whether the last pass came to its end: what it found is no matter of health."""
        return Report(is_good=self._last != "failed", parts={"lastPass": self._last})

    def failed(self) -> None:
        self._last = "failed"
        self._failed.inc()

    def ended(self, found: Mapping[str, int], checked: Mapping[str, int], unsettled: int, seconds: float) -> None:
        self._last = "made"
        self._codes |= set(found)
        for code in self._codes:
            self._found.labels(code).set(found.get(code, 0))
        for what, count in checked.items():
            self._checked.labels(what).inc(count)
        self._orders.inc(checked.get("orders", 0))
        self._unsettled.set(unsettled)
        self._at.set(time.time())
        self._seconds.set(seconds)
