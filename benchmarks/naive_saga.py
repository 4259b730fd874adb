"""Phase ``naive``: the same orders through services written as Nameko's documentation shows it.

Owns: naive_orders_per_s and naive_ratio. Must not know: how those services work.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import ALL, SETTLE_S, Bench, CannotMeasure, Measured, per_order_ms
from benchmarks.cpu import ELSEWHERE, LOAD
from benchmarks.naive import running
from benchmarks.orders import order
from benchmarks.preload.preload import session
from gateway.rpc import RpcClient
from ops.waiting import holds_within
from shared.errors import TransientError

# As many as its services have workers; more only wait.
_CALLERS = 10
_WARM_UP = 50
_ENDED = "select count(*) from orders where status in ('CONFIRMED', 'CANCELLED')"


def measure(bench: Bench) -> Measured:
    orders = bench.sizes.naive_orders
    urls = running.create_tables(bench.stack)
    with running.services(bench.stack, urls) as pids, bench.rpc() as rpc:
        _stock_up(bench, rpc)
        _orders_per_s(bench, rpc, urls, _WARM_UP)
        with bench.cpu(pids) as spent:
            per_s = _orders_per_s(bench, rpc, urls, orders)
    cost = per_order_ms(_without_ours(spent), orders)
    return Measured(
        figures={
            "naive_orders_per_s": round(per_s, 1),
            "naive_ratio": round(bench.figures["saga_orders_per_s"] / per_s, 1),
            # The same in CPU time, which depends less on what else the machine does.
            "naive_cpu_ratio": round(cost[ALL] / bench.figures["cpu_ms_per_order"][ALL], 1),
            "naive_cpu_ms_per_order": cost,
        },
        details={"orders": orders},
    )


def _without_ours(spent_s: Mapping[str, float]) -> dict[str, float]:
    """The real services idle beside the naive ones; what that takes is not theirs."""
    shared = ("rabbitmq", "postgres: background", "postgres: ended sessions", LOAD, ELSEWHERE)
    return {name: seconds for name, seconds in spent_s.items() if "naive_" in name or name in shared}


def _stock_up(bench: Bench, rpc: RpcClient) -> None:
    if not holds_within(lambda: _are_up(rpc), timeout_s=60):
        raise CannotMeasure("the naive services do not answer; see their logs")
    for item in bench.items:
        rpc.call("naive_order", "create_product", timeout_s=60, item=item, price="10.00")
        rpc.call("naive_inventory", "create_stock", timeout_s=60, item=item, on_hand=1_000_000)


def _are_up(rpc: RpcClient) -> bool:
    """Each makes its queues only when it starts; until then nobody could receive the first event."""
    try:
        rpc.call("naive_order", "create_product", timeout_s=5, item="probe", price="1.00")
        rpc.call("naive_inventory", "create_stock", timeout_s=5, item="probe", on_hand=0)
        rpc.call("naive_payment", "ping", timeout_s=5)
    except TransientError:
        return False
    return True


def _orders_per_s(bench: Bench, rpc: RpcClient, urls: Mapping[str, str], orders: int) -> float:
    with session(urls["naive_order"]) as cursor, ThreadPoolExecutor(_CALLERS) as callers:

        def ended() -> int:
            cursor.execute(_ENDED)
            return int(cursor.fetchone()[0])

        before, started_s = ended(), time.perf_counter()
        wanted = [order(bench.items, bench.chance) for _ in range(orders)]
        list(callers.map(lambda one: rpc.call("naive_order", "place_order", timeout_s=60, order=one), wanted))
        if not holds_within(lambda: ended() - before == orders, timeout_s=SETTLE_S, pause_s=0.05):
            raise CannotMeasure(f"{orders - ended() + before} of {orders} naive sagas did not end")
        seconds = time.perf_counter() - started_s
    bench.say(f"{orders} orders through the naive services, all sagas ended after {seconds:.1f} s")
    return orders / seconds
