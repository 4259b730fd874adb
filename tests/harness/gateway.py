"""A client of the whole stack, over HTTP: it knows JSON, and nothing of what is behind the gateway.

Owns: the calls and waits that the e2e tests share. Must not know: what any single test promises.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from harness.waiting import wait_until
from ops.people import CUSTOMER, SHOP, People

TIMEOUT_S = 60.0
# A charge that met an outage may wait for a minute before its next try.
ENDED_TIMEOUT_S = 150.0
BUSY = (503, 504)

Answer = tuple[int, dict[str, Any], Mapping[str, str]]


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


class Gateway:
    """Each request is sent by whoever would send it in a shop (ops.people), unless its headers say otherwise."""

    def __init__(self, address: str, people: People) -> None:
        self.address = address
        self.people = people

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """(status, JSON body, headers), also for problems."""
        return self.send(method, path, None if body is None else json.dumps(body).encode(), headers)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Answer:
        """The same with a body as it is."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.address}/api/v1{path}",
            method=method,
            data=body,
            headers={
                "Content-Type": "application/json",
                **self.people.headers(method, path, body),
                **(headers or {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                return response.status, json.load(response), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), dict(error.headers)

    def get(self, path: str) -> dict[str, Any]:
        """Asked again while a service has no time to answer."""

        def answered() -> Answer | None:
            answer = self.call("GET", path)
            return None if answer[0] in BUSY else answer

        status, body, _ = wait_until(answered, f"GET {path} is answered")
        assert status == 200, body
        return body

    def post(self, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """(status, body) of a new request, sent again with its key while a service has no time to answer."""
        same_key = key()

        def answered() -> Answer | None:
            answer = self.call("POST", path, body or {}, same_key)
            is_under_way = answer[1].get("code") == "idempotency_key_in_progress"
            return None if answer[0] in BUSY or is_under_way else answer

        status, answer, _ = wait_until(answered, f"POST {path} is answered")
        return status, answer

    def code(self, path: str, body: Any = None) -> tuple[int, str | None]:
        """(status, the problem's code)."""
        status, answer = self.post(path, body)
        return status, answer.get("code")

    def product(self, on_hand: int, **more: Any) -> str:
        """A new product's item."""
        item = f"item-{uuid4().hex[:8]}"
        product = {"item": item, "name": "Cup", "sellerId": SHOP, "price": "10.00", "currency": "EUR", **more}
        status, answer = self.post("/products", {**product, "onHand": on_hand})
        assert status == 201, answer
        return item

    def order(self, item: str, quantity: int = 1, **order: Any) -> str:
        """The id of an accepted order; a product just made is known to the order service a moment later."""
        wanted = {"userId": CUSTOMER, "items": [{"item": item, "quantity": quantity}], **order}

        def accepted() -> dict[str, Any] | None:
            status, answer = self.post("/orders", wanted)
            assert status == 202 or answer.get("code") == "unknown_item", answer
            return answer if status == 202 else None

        return str(wait_until(accepted, "the order is accepted")["id"])

    def order_when(self, order_id: str, holds: Callable[[Mapping[str, Any]], bool], what: str) -> dict[str, Any]:
        """The order as soon as that holds of it."""

        def there() -> dict[str, Any] | None:
            order = self.get(f"/orders/{order_id}")
            return order if holds(order) else None

        return wait_until(there, f"order {order_id}: {what}", timeout_s=ENDED_TIMEOUT_S)

    def ended(self, order_id: str, status: str) -> dict[str, Any]:
        """The order once it has that status, and is settled if cancelled; if confirmed, its stock is known to be held.

        A payment may be heard of before the reservation that it was made for.
        """

        def there(order: Mapping[str, Any]) -> bool:
            is_told = status != "CONFIRMED" or "INVENTORY_RESERVED" in types(order)
            return order["status"] == status and is_told and (status != "CANCELLED" or order["settledAt"] is not None)

        return self.order_when(order_id, there, f"it is {status}")

    def unpaid(self, item: str, quantity: int = 1) -> dict[str, Any]:
        """An order that waits for its customer to pay."""
        order_id = self.order(item, quantity, paymentMode="manual")
        return self.order_when(order_id, lambda o: "PAYMENT_PENDING" in types(o), "it waits to be paid")

    def fulfilled(self, item: str, quantity: int = 1) -> dict[str, Any]:
        order_id = self.ended(self.order(item, quantity), "CONFIRMED")["id"]
        status, answer = self.post(f"/orders/{order_id}/fulfil")
        assert status == 202, answer
        return self.ended(order_id, "FULFILLED")

    def payment(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return self.get(payment_path(order))

    def stock(self, item: str) -> tuple[int, int]:
        """(on hand, reserved)."""
        product = self.get(f"/products/{item}")
        return product["onHand"], product["reserved"]


def types(order: Mapping[str, Any]) -> list[str]:
    return [event["type"] for event in order["timeline"]]


def payment_path(order: Mapping[str, Any]) -> str:
    return f"/payments/{order['payment']['paymentId']}"
