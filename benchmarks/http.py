"""Phase ``http``: orders over HTTP as fast as they are taken.

Owns: http_orders_per_s, and whether the sagas keep up with it. Must not know: how requests are made.
"""

from __future__ import annotations

import time

from benchmarks import storage, wrk
from benchmarks.bench import Bench, Measured, per_order_ms
from benchmarks.orders import DECLINED_SHARE, wait_until_ended
from benchmarks.timeseries import per_second

KEPT_UP_S = 5.0
"""The bar: so long after the last answer every saga has ended."""
_WARM_UP_S = 2.0


def measure(bench: Bench) -> Measured:
    wrk.install(bench.say)
    _place(bench, _WARM_UP_S)
    wait_until_ended(bench.books)
    started_at = storage.now(bench.books)
    with bench.cpu() as spent:
        found = _place(bench, bench.sizes.http_seconds)
        answered_s = time.perf_counter()
        wait_until_ended(bench.books)
    settled_s = time.perf_counter() - answered_s
    bench.say(f"{found.answers} orders over HTTP, all sagas ended {settled_s:.1f} s after the last answer")
    return Measured(
        figures={
            "http_orders_per_s": round(found.per_s, 1),
            "http_latency_ms_p50": round(found.ms_by_percent["50"], 1),
            "http_latency_ms_p99": round(found.ms_by_percent["99"], 1),
            "http_settled_after_s": round(settled_s, 1),
            "http_kept_up": settled_s <= KEPT_UP_S,
            "http_cpu_ms_per_order": per_order_ms(spent, found.answers),
        },
        details={
            "seconds": found.seconds,
            "answers": found.answers,
            "connections": wrk.CONNECTIONS,
            "ms_by_percent": dict(found.ms_by_percent),
            "per_second": per_second(bench.books, started_at),
        },
    )


def _place(bench: Bench, seconds: float) -> wrk.Found:
    return wrk.place_orders(
        bench.environment,
        bench.items,
        seconds=seconds,
        declined_share=DECLINED_SHARE,
        seed=bench.chance.randrange(1_000_000),
    )
