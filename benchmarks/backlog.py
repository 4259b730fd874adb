"""Phase ``backlog``: a mountain of events that has grown while nobody consumed, and services that start cold.

Owns: backlog_events_per_s and how long it takes until every saga has ended. Must not know: how services start.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks import alone, storage
from benchmarks.bench import SETTLE_S, Bench, CannotMeasure, Measured, per_order_ms
from benchmarks.orders import place_in_bulk, wait_until_ended
from benchmarks.timeseries import per_second
from ops.waiting import holds_within

# Far less than this machine does; only a limit for waiting.
_SLOWEST_ORDERS_PER_S = 50
_UNPUBLISHED = "select count(*) from outbox where published_at is null"
_APPLIED = """
select count(*), extract(epoch from max(received_at) - min(received_at)) from inbox
where event_type = 'ORDER_CREATED' and received_at >= %s
"""


def measure(bench: Bench) -> Measured:
    orders = bench.sizes.backlog
    with ExitStack() as until_the_end:
        with alone.only_servers(bench):
            placed_at = storage.now(bench.books)
            _pile_up(bench, orders)
            spent = until_the_end.enter_context(bench.cpu())
            started_at, started_s = storage.now(bench.books), time.perf_counter()
        wait_until_ended(bench.books, timeout_s=SETTLE_S + orders / _SLOWEST_ORDERS_PER_S)
    ended_s = time.perf_counter() - started_s
    events, seconds = bench.books.rows("inventory", _APPLIED, (started_at,))[0]
    bench.say(f"{events} events applied in {float(seconds):.1f} s, all sagas ended {ended_s:.1f} s after the start")
    return Measured(
        figures={
            "backlog_events": int(events),
            "backlog_events_per_s": round(int(events) / float(seconds), 1),
            "backlog_ended_s": round(ended_s, 1),
            "backlog_orders_per_s": round(orders / ended_s, 1),
            "backlog_cpu_ms_per_order": per_order_ms(spent, orders),
        },
        details={"per_second": per_second(bench.books, placed_at)},
    )


def _pile_up(bench: Bench, orders: int) -> None:
    """Orders are taken and announced, and nobody listens."""
    with alone.running(bench.stack, "order_service"), alone.running(bench.stack, "order_relay"), bench.rpc() as rpc:
        place_in_bulk(rpc, bench.items, orders, bench.chance)
        if not holds_within(lambda: bench.books.number("order", _UNPUBLISHED) == 0, timeout_s=SETTLE_S):
            raise CannotMeasure("not every event reached the broker")
    bench.say(f"{orders} events wait")
