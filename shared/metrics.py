"""The figures of one process for Prometheus: of a service, a relay, the provider's simulator or an operator's job.

Owns: the registry, how a figure is made, the text that Prometheus reads. Must not know: which figures there are; the
gateway, whose workers share theirs (gateway/metrics.py).

A figure is made once, with its module. Labels have few values: an event's type, an error's code, never an id. On the
way of events a figure is changed per batch, not per event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

__all__ = [
    "CONTENT_TYPE",
    "SECONDS",
    "SIZES",
    "BulkHistogram",
    "Collector",
    "collect_from",
    "counter",
    "gauge",
    "histogram",
    "text",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

# When each figure began is a series of its own for each figure: nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


class Collector(Protocol):
    """What is asked with each scrape, instead of being kept up to date."""

    def collect(self) -> Iterable[Metric]: ...


def counter(name: str, words: str, labels: Sequence[str] = ()) -> Counter:
    """Only grows. Prometheus sees it as ``name``_total."""
    return Counter(name, words, labels, registry=REGISTRY)


def gauge(name: str, words: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, words, labels, registry=REGISTRY)


def histogram(name: str, words: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS) -> Histogram:
    return Histogram(name, words, labels, buckets=buckets, registry=REGISTRY)


class BulkHistogram:
    """A histogram with one label that takes a batch at a time: each of the usual kind's observations costs two locks.

    To be changed by one operating-system thread only.
    """

    def __init__(self, name: str, words: str, label: str, *, buckets: Sequence[float]) -> None:
        self._name, self._words, self._label = name, words, label
        self._bounds = tuple(buckets)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        collect_from(self)

    def observe(self, value: str, seconds: Sequence[float]) -> None:
        """``value``: the label's."""
        if not seconds:
            return
        counts = self._counts.setdefault(value, [0] * (len(self._bounds) + 1))
        for each in seconds:
            counts[bisect_left(self._bounds, each)] += 1
        self._sums[value] = self._sums.get(value, 0.0) + sum(seconds)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._words, labels=(self._label,))
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for value, counts in self._counts.items():
            family.add_metric((value,), list(zip(names, accumulate(counts), strict=True)), self._sums[value])
        yield family


def collect_from(collector: Collector) -> None:
    REGISTRY.register(collector)


def text() -> bytes:
    """All figures of this process, in Prometheus' text format."""
    return generate_latest(REGISTRY)
