"""A stack to fuzz: short deadlines, so that everything ends soon, and a few products to order.

Owns: its settings, what is in the shop at first, and what must hold at the end. Must not know: schemathesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.gateway_client import GatewayClient
from ops.invariants import Books, OpenWork, open_work, violations
from ops.people import NO_LIMITS
from ops.stack import Stack
from ops.waiting import holds_within
from tests.harness.broker import Broker

from .tokens import CUSTOMER, SHOP, people_of

FOLDER = Path(__file__).parents[2] / ".stack-fuzz"
SETTINGS = {
    # What waits for somebody ends by itself while we look.
    "APPROVAL_DEADLINE_S": "20",
    "PENDING_DEADLINE_S": "20",
    "FINISH_DEADLINE_S": "20",
    "RESERVED_GRACE_S": "5",
    "RESERVATION_TTL_S": "30",
    "MANUAL_PAYMENT_TTL_S": "60",
    "PSP_LIMIT_S": "5",
    **NO_LIMITS,
}
PRODUCTS: tuple[Mapping[str, Any], ...] = (
    {"item": "fuzz-mug", "sellerId": SHOP, "onHand": 1_000_000},
    {"item": "fuzz-cup", "sellerId": SHOP, "onHand": 500},
    {"item": "fuzz-vase", "sellerId": SHOP, "onHand": 1_000_000, "requiresApproval": True},
    {"item": "fuzz-lamp", "sellerId": "smith", "onHand": 1_000_000},
)
UNPAID_ORDERS = 20
QUEUES = ("inventory_service.ORDER_CREATED", "order_service.PAYMENT_SUCCESS")
_SETTLE_S = 90.0
_READY_S = 90.0


@contextmanager
def stack_to_fuzz(*, keep: bool) -> Iterator[Stack]:
    """A fresh one: what a seed finds must not depend on what an earlier run left."""
    stack = Stack(FOLDER)
    stack.down(delete_data=True)
    try:
        stack.up(settings=SETTINGS)
        yield stack
    finally:
        if not keep:
            stack.down(delete_data=True)


def filled(stack: Stack) -> Mapping[str, Sequence[str]]:
    """Puts products into the shop and orders that wait to be paid; ids of what there is, by path parameter."""
    client = GatewayClient(stack.environment()["GATEWAY_URL"], people_of(stack).headers)
    for product in PRODUCTS:
        client.post("/products", {"name": "Made of clay", "price": "10.00", "currency": "EUR", **product})
    items = [product["item"] for product in PRODUCTS]
    if not all(holds_within(lambda item=item: client.can_order([item]), timeout_s=_READY_S) for item in items):
        raise RuntimeError("the order service has not learnt the prices")
    line = {"item": items[0], "quantity": 2}
    order = {"userId": CUSTOMER, "items": [line], "paymentMode": "manual"}
    orders = [client.post("/orders", order)["id"] for _ in range(UNPAID_ORDERS)]
    holds_within(lambda: all(_payment(client, id_) for id_ in orders), timeout_s=_READY_S)
    payments = [_payment(client, id_) for id_ in orders]
    return {"item": items, "order_id": orders, "payment_id": payments, "queue": QUEUES}


def _payment(client: GatewayClient, order_id: str) -> str:
    """Empty as long as its stock is not reserved."""
    payment = client.get(f"/orders/{order_id}")["payment"]
    return str(payment["paymentId"]) if payment else ""


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
