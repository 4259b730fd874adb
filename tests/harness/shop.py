"""A customer and a seller, over RPC: make products, place orders, wait for how they end.

Owns: the calls and waits that most tests share. Must not know: what any single test promises.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from gateway.rpc import RpcClient
from gateway.services import OutcomeUnknown, ServiceUnavailable
from harness.databases import Databases
from harness.waiting import wait_until

ENDED = """
select count(*) from orders
where status in ('PENDING', 'RESERVED') or (status = 'CANCELLED' and settled_at is null)
"""
_numbers = itertools.count(1)


class Shop:
    """Orders go through the order service's RPC, as the gateway's do."""

    def __init__(self, rpc: RpcClient, databases: Databases) -> None:
        self.rpc, self._databases = rpc, databases

    def product(self, on_hand: int = 100, price: str = "10.00", item: str | None = None) -> str:
        """A new product that can be ordered when this returns; its item."""
        name = item or f"item-{next(_numbers)}-{uuid4().hex[:6]}"
        product = {
            "item": name,
            "name": name,
            "sellerId": "shop",
            "price": price,
            "currency": "EUR",
            "onHand": on_hand,
        }
        self.rpc.call("inventory_service", "create_product", product=product)
        known = "select count(*) from products where item = %s"
        wait_until(lambda: self._databases.value("order_service", known, name), f"{name} is in the price list")
        return name

    def place(
        self, item: str, quantity: int = 1, *, key: str | None = None, correlation_id: str | None = None, **order: Any
    ) -> str:
        """The new order's id. As the gateway asks: never without a key, for a request may be delivered twice."""
        wanted = {"userId": "ann", "items": [{"item": item, "quantity": quantity}], **order}
        answer = self.rpc.call(
            "order_service",
            "place_order",
            order=wanted,
            idempotency_key=key or uuid4().hex,
            correlation_id=correlation_id,
        )
        return str(answer["order"]["id"])

    def place_whatever_happens(self, item: str, quantity: int = 1, **order: Any) -> str:
        """Like a careful client: the same key again until there is an answer."""
        key = uuid4().hex
        ids: list[str] = []

        def placed() -> bool:
            try:
                ids.append(self.place(item, quantity, key=key, **order))
            except Exception as error:
                if not _may_repeat(error):
                    raise
            return bool(ids)

        wait_until(placed, "the order is accepted", timeout_s=120)
        return ids[0]

    def order(self, order_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.rpc.call("order_service", "get_order", order_id=order_id)
        return answer

    def status(self, order_id: str) -> tuple[str, str | None, bool]:
        """(status, reason, whether settled), from the database."""
        statement = "select status, reason, settled_at is not null from orders where id = %s"
        status, reason, is_settled = self._databases.query("order_service", statement, order_id)[0]
        return status, reason, is_settled

    def wait_for(self, order_id: str, status: str, reason: str | None = None) -> dict[str, Any]:
        """The whole order once it is there; a cancelled one must be settled too."""
        wanted = (status, reason, status == "CANCELLED")
        wait_until(lambda: self.status(order_id) == wanted, f"order {order_id} is {wanted}: {self.status(order_id)}")
        return self.order(order_id)

    def wait_until_all_ended(self, *, timeout_s: float = 120.0) -> None:
        def nothing_open() -> bool:
            return self._databases.value("order_service", ENDED) == 0 and self._databases.unpublished() == 0

        wait_until(nothing_open, "every saga has ended and every outbox row is published", timeout_s=timeout_s)

    def payment(self, order_id: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.rpc.call("payment_service", "get_payment", order_id=order_id)
        return answer

    def stock(self, item: str) -> tuple[int, int]:
        """(on hand, reserved)."""
        row = self._databases.query("inventory_service", "select on_hand, reserved from stock where item = %s", item)
        return row[0][0], row[0][1]


def _may_repeat(error: Exception) -> bool:
    code = getattr(error, "code", "")
    waits = ("database_unavailable", "transient_error", "idempotency_key_in_progress")
    return isinstance(error, ServiceUnavailable | OutcomeUnknown) or code in waits
