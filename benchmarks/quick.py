"""``python -m benchmarks.quick``: a first look at the throughput and latency of whole sagas, in under three minutes.

Owns: placing orders in bulk on a stack of its own, and timing until every saga has ended. Checks the invariants
afterwards: a fast system that loses an order has no throughput. The last line printed is one JSON object.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import http_load
from gateway.rpc import RpcClient
from ops.gateway_client import GatewayClient
from ops.invariants import Books, open_work, violations
from ops.people import NO_LIMITS, client_of, customer, people_of
from ops.stack import Stack
from ops.waiting import holds_within

PRODUCTS = 50
BATCH = 200
CALLERS = 4
DECLINED_SHARE = 0.1
SETTLE_S = 300.0
HTTP_CONNECTIONS = 32
HTTP_CUSTOMERS = 200
console = Console(stderr=True, highlight=False)


@click.command()
@click.option("--orders", default=10_000, show_default=True, help="Orders placed in bulk.")
@click.option("--single", default=200, show_default=True, help="Orders placed one at a time, for the latency.")
@click.option("--http-seconds", default=15.0, show_default=True, help="How long orders are placed over HTTP.")
@click.option("--folder", default=Path(".stack-bench"), show_default=True, type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True)
def main(orders: int, single: int, http_seconds: float, folder: Path, seed: int) -> None:
    """Measure, check the invariants, print one JSON object as the last line."""
    stack = Stack(folder, report=lambda line: console.print(f"[dim]· {line}[/]"))
    # What is measured is how fast it is, not how much of it a single customer may have.
    stack.up(settings=NO_LIMITS)
    try:
        figures, broken = measure(stack, orders, single, http_seconds, random.Random(seed))  # noqa: S311
    finally:
        stack.down(delete_data=True)
    for violation in broken:
        console.print(f"[bold red]✗[/] {violation}")
    print(json.dumps({**figures, "violations": len(broken), **_machine()}))  # noqa: T201
    sys.exit(1 if broken else 0)


def measure(
    stack: Stack, orders: int, single: int, http_seconds: float, chance: random.Random
) -> tuple[dict[str, float], list[str]]:
    """The figures, and what was found broken after them."""
    environment = stack.environment()
    client = client_of(environment)
    items = _stock_up(client)
    with Books(environment) as books:
        # A tenth first, not measured: connections, plans and code paths are warm then.
        saga_throughput(environment, books, items, max(orders // 10, BATCH), chance)
        per_s = saga_throughput(environment, books, items, orders, chance)
        latencies_ms = saga_latencies_ms(client, items, single)
        http = http_orders(environment, books, items, http_seconds, chance)
        holds_within(lambda: open_work(books).is_done, timeout_s=SETTLE_S)
        broken = violations(books)
    figures = {
        "orders": orders,
        "saga_orders_per_s": round(per_s, 1),
        "saga_latency_ms_p50": round(statistics.median(latencies_ms), 1),
        "saga_latency_ms_p99": round(statistics.quantiles(latencies_ms, n=100)[98], 1),
        **http,
    }
    return figures, broken


def _stock_up(client: GatewayClient) -> list[str]:
    run = secrets.token_hex(3)
    items = [f"bench-{run}-{number}" for number in range(PRODUCTS)]
    for item in items:
        body = {"item": item, "name": item, "sellerId": "bench", "price": "10.00", "currency": "EUR"}
        client.post("/products", {**body, "onHand": 1_000_000})
    if not holds_within(lambda: client.can_order(items), timeout_s=30):
        raise click.ClickException("the products did not reach the order service")
    return items


def saga_throughput(
    environment: Mapping[str, str], books: Books, items: list[str], orders: int, chance: random.Random
) -> float:
    """Orders per second from the first request until the last saga has ended."""
    rpc = RpcClient(environment["AMQP_URI"])
    rpc.start()
    batches = list(_batches(items, orders, chance))
    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(CALLERS) as callers:
            placed = sum(callers.map(lambda batch: _place(rpc, batch), batches))
    finally:
        rpc.close()
    placed_s = time.perf_counter() - started
    if not holds_within(lambda: _running(books) == 0, timeout_s=SETTLE_S):
        raise click.ClickException(f"{_running(books)} sagas did not end within {SETTLE_S:.0f} s")
    ended_s = time.perf_counter() - started
    console.print(f"{placed} orders placed in {placed_s:.1f} s, all sagas ended after {ended_s:.1f} s")
    return placed / ended_s


def _batches(items: list[str], orders: int, chance: random.Random) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, orders, BATCH):
        yield [{"order": _order(items, chance)} for _ in range(min(BATCH, orders - start))]


def _order(items: list[str], chance: random.Random) -> dict[str, Any]:
    declined = chance.random() < DECLINED_SHARE
    return {
        "userId": f"user-{chance.randrange(1000)}",
        "items": [{"item": item, "quantity": chance.randint(1, 3)} for item in chance.sample(items, 2)],
        "paymentMethod": "tok_card_declined" if declined else "tok_success",
    }


def _place(rpc: RpcClient, batch: list[dict[str, Any]]) -> int:
    answers = rpc.call("order_service", "place_orders", timeout_s=60, orders=batch)
    refused = [answer["error"] for answer in answers if "error" in answer]
    if refused:
        raise click.ClickException(f"an order was refused: {refused[0]}")
    return len(answers)


def _running(books: Books) -> int:
    return books.number("order", "select count(*) from orders where status in ('PENDING', 'RESERVED')")


def saga_latencies_ms(client: GatewayClient, items: list[str], orders: int) -> list[float]:
    """Milliseconds from the answer to POST until CONFIRMED can be read, one order at a time."""
    return [_latency_ms(client, items[number % len(items)]) for number in range(orders)]


def _latency_ms(client: GatewayClient, item: str) -> float:
    placed = client.post("/orders", {"items": [{"item": item, "quantity": 1}]})
    started = time.perf_counter()

    def is_confirmed() -> bool:
        return str(client.get(f"/orders/{placed['id']}")["status"]) == "CONFIRMED"

    if not holds_within(is_confirmed, timeout_s=30, pause_s=0.001):
        raise click.ClickException(f"order {placed['id']} was not confirmed within 30 s")
    return (time.perf_counter() - started) * 1000


def http_orders(
    environment: Mapping[str, str], books: Books, items: list[str], seconds: float, chance: random.Random
) -> dict[str, float]:
    """Orders placed over HTTP by many customers at once, how long each waited for its 202, and for all to end."""
    next_request = _http_requests(environment, items, chance)
    load = http_load.run(environment["GATEWAY_URL"], next_request, connections=HTTP_CONNECTIONS, seconds=seconds)
    if set(load.statuses) != {202}:
        raise click.ClickException(f"not every order was accepted: {dict(load.statuses)}")
    if not holds_within(lambda: _running(books) == 0, timeout_s=SETTLE_S):
        raise click.ClickException("not every saga ended")
    settled_s = time.perf_counter() - load.ended_s
    console.print(f"{load.statuses[202]} orders over HTTP, all sagas ended {settled_s:.1f} s after the last answer")
    return {
        "http_orders_per_s": round(load.per_s, 1),
        "http_latency_ms_p50": round(statistics.median(load.latencies_ms), 1),
        "http_latency_ms_p99": round(statistics.quantiles(load.latencies_ms, n=100)[98], 1),
        "http_settled_after_s": round(settled_s, 1),
    }


def _http_requests(environment: Mapping[str, str], items: list[str], chance: random.Random) -> Callable[[], bytes]:
    """Each call gives the next request, made on the spot: keys must differ, and orders do."""
    people = people_of(environment)
    tokens = [people.token(customer(f"user-{number}")) for number in range(HTTP_CUSTOMERS)]
    run, numbers = secrets.token_hex(6), itertools.count()

    def next_request() -> bytes:
        number = next(numbers)
        order = {name: value for name, value in _order(items, chance).items() if name != "userId"}
        body = json.dumps(order).encode()
        head = (
            "POST /api/v1/orders HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {tokens[number % HTTP_CUSTOMERS]}\r\nIdempotency-Key: {run}-{number}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return next_request


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
