"""Phase ``loaded``: orders over HTTP at half of what the stack can do, and how long each takes until CONFIRMED.

Owns: saga_latency_loaded_ms_p50 and _p99. Must not know: how a request is paced.

The latency of an order counts from the moment it was due to be sent, until its end can be read. Each order counts, not
only a sample: one statement every 20 ms asks the order service's database for all that are under way.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from benchmarks.bench import Bench, CannotMeasure, Measured, per_order_ms
from benchmarks.orders import order
from benchmarks.wrk import CUSTOMERS
from ops.books import Books
from ops.distribution import milliseconds, percentile, percentiles
from ops.open_loop import OpenLoop, Sent, post
from ops.people import customer, people_of

_ASKED_EVERY_S = 0.02
_SETTLE_S = 60.0
_ENDED = (
    "select id::text, status from orders where id = any(cast(%s as uuid[])) and status not in ('PENDING', 'RESERVED')"
)


def measure(bench: Bench) -> Measured:
    rate = bench.sizes.loaded_rate or bench.figures["http_orders_per_s"] / 2
    sagas = _Sagas(bench.books)
    bodies = _bodies(bench.items, bench.chance, int(rate * bench.sizes.loaded_seconds))
    requests = order_requests(bench.environment, bodies, run=secrets.token_hex(6))
    loop = OpenLoop(bench.environment["GATEWAY_URL"], sagas.begun)
    with bench.cpu() as spent:
        sent = asyncio.run(_run(loop, sagas, requests, rate))
    refused = [one for one in sent if one.status != 202]
    if refused:
        raise CannotMeasure(f"{len(refused)} orders were not accepted: {refused[0].status} {refused[0].body[:200]!r}")
    bench.say(f"{len(sent)} orders at {rate:.0f} per second, {len(sagas.confirmed_ms)} of them confirmed")
    return Measured(
        figures={
            "loaded_rate_per_s": round(rate, 1),
            **milliseconds("saga_latency_loaded", sagas.confirmed_ms),
            "loaded_late_ms_p99": round(percentile(sorted((s.sent_s - s.due_s) * 1000 for s in sent), 99), 1),
            "loaded_cpu_ms_per_order": per_order_ms(spent, len(sent)),
        },
        details={
            "confirmed": percentiles(sagas.confirmed_ms),
            "answered": percentiles([(s.answered_s - s.due_s) * 1000 for s in sent]),
        },
    )


async def _run(loop: OpenLoop, sagas: _Sagas, requests: Sequence[bytes], rate: float) -> list[Sent]:
    watching = asyncio.create_task(sagas.watch())
    try:
        sent = await loop.run(requests, per_s=rate)
        await asyncio.wait_for(sagas.all_ended(), _SETTLE_S)
    except TimeoutError as error:
        raise CannotMeasure(f"{len(sagas.under_way)} sagas did not end within {_SETTLE_S:.0f} s") from error
    finally:
        watching.cancel()
    return sent


class _Sagas:
    """Those that are under way, by order id, with the moment their request was due."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.under_way: dict[str, float] = {}
        self.confirmed_ms: list[float] = []

    def begun(self, sent: Sent) -> None:
        if sent.status == 202:
            self.under_way[str(json.loads(sent.body)["id"])] = sent.due_s

    async def watch(self) -> None:
        while True:
            if self.under_way:
                # In a thread: the pace of the requests must not wait for the database.
                ended = await asyncio.to_thread(self._books.rows, "order", _ENDED, (list(self.under_way),))
                self._note(ended, time.perf_counter())
            await asyncio.sleep(_ASKED_EVERY_S)

    def _note(self, ended: Sequence[tuple[Any, ...]], now_s: float) -> None:
        for id_, status in ended:
            due_s = self.under_way.pop(id_)
            if status == "CONFIRMED":
                self.confirmed_ms.append((now_s - due_s) * 1000)

    async def all_ended(self) -> None:
        while self.under_way:
            await asyncio.sleep(_ASKED_EVERY_S)


def _bodies(items: Sequence[str], chance: Random, orders: int) -> list[bytes]:
    """Who orders is in the token, not in the body."""
    return [
        json.dumps({k: v for k, v in order(items, chance).items() if k != "userId"}).encode() for _ in range(orders)
    ]


def order_requests(environment: Mapping[str, str], bodies: Sequence[bytes], *, run: str) -> list[bytes]:
    """POST /orders with each of these bodies, from customers in turn, each with a key of its own."""
    people = people_of(environment)
    tokens = [people.token(customer(f"user-{number}")) for number in range(CUSTOMERS)]
    return [
        post("/orders", token=tokens[number % CUSTOMERS], key=f"{run}-{number}", body=body)
        for number, body in enumerate(bodies)
    ]
