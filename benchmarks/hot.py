"""Phase ``hot``: thousands of customers want the same item at the same moment, and there is not enough of it.

Owns: that exactly as many are confirmed as there are units, and how long it takes. Must not know: why that is so.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter

from benchmarks.bench import SETTLE_S, Bench, CannotMeasure, Measured, stock_up
from benchmarks.loaded import order_requests
from benchmarks.orders import wait_until_ended
from ops.open_loop import OpenLoop, Sent

_TRY_AGAIN = (0, 429, 503)
"""No answer, or one that says later: the same request with the same key is sent again."""
_OUTCOMES = """
select o.status || coalesce(' ' || o.reason, ''), count(*) from orders o join order_items i on i.order_id = o.id
where i.item = %s group by 1
"""


def measure(bench: Bench) -> Measured:
    wanted, on_hand = bench.sizes.hot_orders, bench.sizes.hot_orders // 4
    (item,) = stock_up(bench.client, products=1, on_hand=on_hand)
    started_s = time.perf_counter()
    tries = asyncio.run(_order(bench, item, wanted))
    wait_until_ended(bench.books)
    seconds = time.perf_counter() - started_s
    outcomes: dict[str, int] = dict(bench.books.rows("order", _OUTCOMES, (item,)))
    bench.say(f"{wanted} orders for {on_hand} units of one item: {outcomes} after {seconds:.1f} s")
    if outcomes != {"CONFIRMED": on_hand, "CANCELLED out_of_stock": wanted - on_hand}:
        raise CannotMeasure(f"{wanted} orders for {on_hand} units ended like this: {outcomes}")
    return Measured(
        figures={
            "hot_orders": wanted,
            "hot_confirmed": outcomes["CONFIRMED"],
            "hot_ended_s": round(seconds, 1),
            "hot_requests": tries,
        }
    )


async def _order(bench: Bench, item: str, orders: int) -> int:
    """All at once, each until it is accepted; how many requests that took."""
    body = json.dumps({"items": [{"item": item, "quantity": 1}]}).encode()
    waiting = order_requests(bench.environment, [body] * orders, run=secrets.token_hex(6))
    deadline_s, requests = time.perf_counter() + SETTLE_S, 0
    while waiting:
        sent = await OpenLoop(bench.environment["GATEWAY_URL"]).run(waiting)
        requests += len(sent)
        waiting = [one.request for one in sent if one.status in _TRY_AGAIN]
        _refuse_others(sent)
        if time.perf_counter() > deadline_s:
            raise CannotMeasure(f"{len(waiting)} orders were not accepted within {SETTLE_S:.0f} s")
        await asyncio.sleep(1 if waiting else 0)
    return requests


def _refuse_others(sent: list[Sent]) -> None:
    odd = Counter(one.status for one in sent if one.status not in (*_TRY_AGAIN, 202))
    if odd:
        raise CannotMeasure(f"answers that nobody expected: {dict(odd)}")
