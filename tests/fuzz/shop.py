"""A stack to fuzz: short deadlines, so that everything ends soon, and a few products to order.

Owns: its settings, what is in the shop at first, and what must hold at the end. Must not know: schemathesis.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.invariants import Books, OpenWork, open_work, violations
from ops.stack import Stack
from ops.waiting import holds_within
from tests.harness.broker import Broker

from .tokens import SELLER, tokens_of

FOLDER = Path(__file__).parents[2] / ".stack-fuzz"
SETTINGS = {
    # What waits for somebody ends by itself while we look.
    "APPROVAL_DEADLINE_S": "20",
    "PENDING_DEADLINE_S": "20",
    "FINISH_DEADLINE_S": "20",
    "RESERVED_GRACE_S": "5",
    "RESERVATION_TTL_S": "30",
    "MANUAL_PAYMENT_TTL_S": "15",
    "PSP_LIMIT_S": "5",
    # An empty value would mean the default.
    "LOGIN_RATE_LIMIT": "1000000/second",
    "WRITE_RATE_LIMIT": "1000000/second",
    "READ_RATE_LIMIT": "1000000/second",
}
PRODUCTS: tuple[Mapping[str, Any], ...] = (
    {"item": "fuzz-mug", "sellerId": SELLER, "onHand": 1_000_000},
    {"item": "fuzz-cup", "sellerId": SELLER, "onHand": 500},
    {"item": "fuzz-vase", "sellerId": SELLER, "onHand": 1_000_000, "requiresApproval": True},
    {"item": "fuzz-lamp", "sellerId": "smith", "onHand": 1_000_000},
)
_SETTLE_S = 90.0
_TIMEOUT_S = 20.0


@contextmanager
def stack_to_fuzz(*, keep: bool) -> Iterator[Stack]:
    """A fresh one: what a seed finds must not depend on what an earlier run left."""
    stack = Stack(FOLDER)
    stack.down(delete_data=True)
    stack.up(settings=SETTINGS)
    try:
        _fill(stack)
        yield stack
    finally:
        if not keep:
            stack.down(delete_data=True)


def _fill(stack: Stack) -> None:
    url = f"{stack.environment()['GATEWAY_URL']}/api/v1/products"
    token = tokens_of(stack).get("ADMIN")
    for product in PRODUCTS:
        body = {"name": "Made of clay", "price": "10.00", "currency": "EUR", **product}
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"fill-{product['item']}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)  # noqa: S310 - our own
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()  # noqa: S310


def settled(stack: Stack) -> tuple[OpenWork, list[str]]:
    """What is still open after a while (should be nothing), and every invariant that is broken, in words."""
    environment = stack.environment()
    with Books(environment) as books:
        holds_within(lambda: open_work(books).is_done, timeout_s=_SETTLE_S)
        # What was published last may still be on its way to a consumer.
        holds_within(lambda: not violations(books), timeout_s=_SETTLE_S / 3)
        work, broken = open_work(books), violations(books)
    return work, broken + _dead_letters(environment["AMQP_URI"])


def _dead_letters(amqp_uri: str) -> list[str]:
    broker = Broker(amqp_uri)
    try:
        return [f"{len(letters)} dead letters in {queue}" for queue, letters in broker.all_dead().items()]
    finally:
        broker.close()


def counts(stack: Stack) -> Mapping[str, int]:
    """Orders by status: that the fuzzer got beyond the gateway at all."""
    with Books(stack.environment()) as books:
        return dict(books.rows("order", "select status, count(*) from orders group by status order by status"))
