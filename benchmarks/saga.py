"""Phase ``saga``: orders placed in bulk, until the last saga has ended.

Owns: saga_orders_per_s, and what an order costs: CPU time by component, rows, commits, WAL. Must not know: HTTP.
"""

from __future__ import annotations

import time

from benchmarks import storage
from benchmarks.bench import Bench, Measured, per_order_ms
from benchmarks.orders import BATCH, place_in_bulk, wait_until_ended
from benchmarks.timeseries import per_second

_REPORTED_AFTER_S = 1.5
"""Sessions tell their counters once a second, with the next thing they do; timers and relays see to that."""


def measure(bench: Bench) -> Measured:
    orders = bench.sizes.orders
    # A tenth first, not measured: connections, plans and code paths are warm then.
    orders_per_s(bench, max(orders // 10, BATCH))
    before, tables_before = storage.read(bench.books), storage.read_tables(bench.books)
    started_at = storage.now(bench.books)
    with bench.cpu() as spent:
        per_s = orders_per_s(bench, orders)
    time.sleep(_REPORTED_AFTER_S)
    return Measured(
        figures={"saga_orders_per_s": round(per_s, 1), "cpu_ms_per_order": per_order_ms(spent, orders)},
        details={
            "orders": orders,
            "storage_per_order": storage.per_order(before, storage.read(bench.books), orders),
            "rows_per_order": storage.per_order(tables_before, storage.read_tables(bench.books), orders),
            "per_second": per_second(bench.books, started_at),
        },
    )


def orders_per_s(bench: Bench, orders: int) -> float:
    """From the first request until no saga is under way."""
    with bench.rpc() as rpc:
        started = time.perf_counter()
        place_in_bulk(rpc, bench.items, orders, bench.chance)
        placed_s = time.perf_counter() - started
        wait_until_ended(bench.books)
    ended_s = time.perf_counter() - started
    bench.say(f"{orders} orders placed in {placed_s:.1f} s, all sagas ended after {ended_s:.1f} s")
    return orders / ended_s
