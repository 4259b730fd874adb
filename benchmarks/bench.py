"""What every phase of a benchmark gets: the stack, the products, the sizes; and what it gives back.

Owns: the seam between phases and whoever runs them. Must not know: any phase.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from benchmarks import cpu
from benchmarks.sizes import Sizes
from gateway.rpc import RpcClient
from ops.gateway_client import GatewayClient
from ops.invariants import Books
from ops.people import client_of
from ops.stack import Stack
from ops.waiting import holds_within
from shared.errors import TransientError

ALL = "all"
PRODUCTS = 50
SETTLE_S = 300.0
_RPC_READY_S = 60.0


class CannotMeasure(click.ClickException):
    """Something that had to hold did not, so that a figure would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """``figures`` go into the last line; ``details``, for plots and tables, into the results file only."""

    figures: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run. ``figures`` and ``details``, by phase, are those of the phases before."""

    stack: Stack
    sizes: Sizes
    chance: random.Random
    say: Callable[[str], None]
    books: Books
    client: GatewayClient
    items: list[str]
    figures: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.environment()

    @contextmanager
    def rpc(self) -> Iterator[RpcClient]:
        """A client to which the order service has answered."""
        client = RpcClient(self.environment["AMQP_URI"])
        client.start()
        try:
            if not holds_within(lambda: _answers(client), timeout_s=_RPC_READY_S):
                raise CannotMeasure(f"the order service did not answer within {_RPC_READY_S:.0f} s")
            yield client
        finally:
            client.close()

    @contextmanager
    def cpu(self, others: Mapping[int, str] | None = None) -> Iterator[dict[str, float]]:
        """Filled at the end of the block: component → CPU seconds. ``others``: see :func:`cpu.read`."""
        spent: dict[str, float] = {}
        before = cpu.read(self.stack, others)
        yield spent
        spent.update(cpu.spent_s(before, cpu.read(self.stack, others)))


def _answers(client: RpcClient) -> bool:
    try:
        client.call("order_service", "health")
    except TransientError:
        return False
    return True


def per_order_ms(spent_s: Mapping[str, float], orders: int) -> dict[str, float]:
    """Component → CPU milliseconds, and ``all`` of ours together: what else the machine did is not in it."""
    cost = {component: round(seconds * 1000 / orders, 3) for component, seconds in spent_s.items()}
    return {**cost, ALL: round(sum(ms for component, ms in cost.items() if component != cpu.ELSEWHERE), 3)}


def stock_up(client: GatewayClient, *, products: int = PRODUCTS, on_hand: int = 1_000_000) -> list[str]:
    """New products that can be ordered; their items."""
    run = secrets.token_hex(3)
    items = [f"bench-{run}-{number}" for number in range(products)]
    for item in items:
        body = {"item": item, "name": item, "sellerId": "bench", "price": "10.00", "currency": "EUR"}
        client.post("/products", {**body, "onHand": on_hand})
    if not holds_within(lambda: client.can_order(items), timeout_s=30):
        raise CannotMeasure("the products did not reach the order service")
    return items


@contextmanager
def open_bench(stack: Stack, sizes: Sizes, chance: random.Random, say: Callable[[str], None]) -> Iterator[Bench]:
    """A bench on a stack that is up."""
    client = client_of(stack.environment())
    with Books(stack.environment()) as books:
        yield Bench(
            stack=stack, sizes=sizes, chance=chance, say=say, books=books, client=client, items=stock_up(client)
        )
