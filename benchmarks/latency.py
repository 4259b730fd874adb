"""Phase ``latency``: one order at a time, from the answer to POST until CONFIRMED can be read.

Owns: saga_latency_ms_p50 and _p99. Must not know: how anything behaves under load.
"""

from __future__ import annotations

import time

from benchmarks.bench import Bench, CannotMeasure, Measured
from ops.distribution import milliseconds, percentiles
from ops.waiting import holds_within


def measure(bench: Bench) -> Measured:
    latencies_ms = [_latency_ms(bench, bench.items[number % len(bench.items)]) for number in range(bench.sizes.single)]
    return Measured(figures=milliseconds("saga_latency", latencies_ms), details=percentiles(latencies_ms))


def _latency_ms(bench: Bench, item: str) -> float:
    placed = bench.client.post("/orders", {"items": [{"item": item, "quantity": 1}]})
    started = time.perf_counter()

    def is_confirmed() -> bool:
        return str(bench.client.get(f"/orders/{placed['id']}")["status"]) == "CONFIRMED"

    if not holds_within(is_confirmed, timeout_s=30, pause_s=0.001):
        raise CannotMeasure(f"order {placed['id']} was not confirmed within 30 s")
    return (time.perf_counter() - started) * 1000
