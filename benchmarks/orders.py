"""Orders as everybody of a benchmark places them: two lines, every tenth card declined.

Owns: what is ordered, placing in bulk, and waiting until sagas have ended. Must not know: what is timed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.bench import SETTLE_S, CannotMeasure
from gateway.rpc import RpcClient
from ops.books import Books
from ops.waiting import holds_within

BATCH = 200
CALLERS = 4
DECLINED_SHARE = 0.1
_RUNNING = "status in ('PENDING', 'RESERVED')"
# Asked often while there are many: counting them would be a load of its own.
_ONE_RUNNING = f"select 1 from orders where {_RUNNING} limit 1"  # noqa: S608


def order(items: Sequence[str], chance: random.Random) -> dict[str, Any]:
    declined = chance.random() < DECLINED_SHARE
    return {
        "userId": f"user-{chance.randrange(1000)}",
        "items": [{"item": item, "quantity": chance.randint(1, 3)} for item in chance.sample(items, 2)],
        "paymentMethod": "tok_card_declined" if declined else "tok_success",
    }


def place_in_bulk(rpc: RpcClient, items: Sequence[str], orders: int, chance: random.Random) -> None:
    """Through the order service itself, as the gateway does it, so that the gateway is not what is measured."""
    batches = list(_batches(items, orders, chance))
    with ThreadPoolExecutor(CALLERS) as callers:
        placed = sum(callers.map(lambda batch: _place(rpc, batch), batches))
    if placed != orders:
        raise CannotMeasure(f"{placed} orders were placed instead of {orders}")


def _batches(items: Sequence[str], orders: int, chance: random.Random) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, orders, BATCH):
        yield [{"order": order(items, chance)} for _ in range(min(BATCH, orders - start))]


def _place(rpc: RpcClient, batch: list[dict[str, Any]]) -> int:
    answers = rpc.call("order_service", "place_orders", timeout_s=60, orders=batch)
    refused = [answer["error"] for answer in answers if "error" in answer]
    if refused:
        raise CannotMeasure(f"an order was refused: {refused[0]}")
    return len(answers)


def wait_until_ended(books: Books, *, timeout_s: float = SETTLE_S) -> None:
    """Until no checkout is under way."""
    if not holds_within(lambda: not books.rows("order", _ONE_RUNNING), timeout_s=timeout_s, pause_s=0.05):
        running = books.number("order", f"select count(*) from orders where {_RUNNING}")  # noqa: S608
        raise CannotMeasure(f"{running} sagas did not end within {timeout_s:.0f} s")
