"""The whole stack, as it is started for people, through its HTTP API."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from harness.databases import Databases
from harness.gateway import Gateway, key, types

from ops.stack import Stack

pytestmark = pytest.mark.e2e

SETTINGS = {"MANUAL_PAYMENT_TTL_S": "8"}


def test_a_paid_order_is_confirmed(gateway: Gateway) -> None:
    """Given stock and a good card, then the order is confirmed, and its timeline tells how, causes first."""
    item = gateway.product(on_hand=5)
    order = gateway.ended(gateway.order(item), "CONFIRMED")

    assert types(order) == ["ORDER_CREATED", "INVENTORY_RESERVED", "PAYMENT_SUCCESS", "ORDER_CONFIRMED"]
    assert [step["status"] for step in order["history"]] == ["PENDING", "RESERVED", "CONFIRMED"]
    _, product, _ = gateway.call("GET", f"/products/{item}")
    assert (product["onHand"], product["reserved"], product["available"]) == (5, 1, 4)


def test_a_declined_card_cancels_and_releases(gateway: Gateway) -> None:
    item = gateway.product(on_hand=5)
    order = gateway.ended(gateway.order(item, paymentMethod="tok_card_declined"), "CANCELLED")

    assert order["reason"] == "payment_failed"
    assert {"PAYMENT_FAILED", "ORDER_CANCELLED", "INVENTORY_REFUNDED"} <= set(types(order))
    assert gateway.call("GET", f"/products/{item}")[1]["reserved"] == 0


def test_no_stock_cancels_without_a_charge(gateway: Gateway, databases: Databases) -> None:
    order = gateway.ended(gateway.order(gateway.product(on_hand=0)), "CANCELLED")

    assert order["reason"] == "out_of_stock"
    charges = "select count(*) from payment_attempts where order_id = %s"
    assert databases.value("payment_service", charges, order["id"]) == 0


def test_an_abandoned_checkout_expires(gateway: Gateway) -> None:
    item = gateway.product(on_hand=5)
    order = gateway.ended(gateway.order(item, paymentMode="manual"), "CANCELLED")

    assert order["reason"] == "reservation_expired"
    assert gateway.call("GET", f"/products/{item}")[1]["reserved"] == 0


def test_a_paid_order_is_cancelled_on_request_and_refunded(gateway: Gateway, databases: Databases) -> None:
    """Given a confirmed order, when its customer cancels it twice, then stock and money come back once."""
    item = gateway.product(on_hand=5)
    order_id = gateway.ended(gateway.order(item), "CONFIRMED")["id"]

    statuses = [gateway.call("POST", f"/orders/{order_id}/cancel", {}, key())[0] for _ in range(2)]
    order = gateway.ended(order_id, "CANCELLED")

    assert (statuses, order["reason"]) == ([202, 202], "customer")
    assert types(order).count("ORDER_CANCELLED") == types(order).count("PAYMENT_REFUNDED") == 1
    assert gateway.call("GET", f"/products/{item}")[1]["reserved"] == 0
    assert databases.value("psp", "select sum(amount) from refunds") == 10


def test_an_unpaid_order_is_cancelled_on_request_and_never_charged(gateway: Gateway) -> None:
    item = gateway.product(on_hand=5)
    order_id = gateway.order(item, paymentMode="manual")

    assert gateway.call("POST", f"/orders/{order_id}/cancel", {"by": "seller"}, key())[0] == 202
    order = gateway.ended(order_id, "CANCELLED")

    assert order["reason"] == "seller"
    assert "PAYMENT_SUCCESS" not in types(order)
    assert gateway.call("POST", f"/orders/{uuid4()}/cancel", {}, key())[0] == 404


def test_the_same_key_gets_the_same_order(gateway: Gateway, databases: Databases) -> None:
    """Given a repeated request, then it is answered from memory; with another payload it is refused."""
    item = gateway.product(on_hand=5)
    gateway.ended(gateway.order(item), "CONFIRMED")
    wanted, same = {"userId": "ada", "items": [{"item": item, "quantity": 2}]}, key()

    first, again = (gateway.call("POST", "/orders", wanted, same) for _ in range(2))
    other = gateway.call("POST", "/orders", {**wanted, "paymentMode": "manual"}, same)
    somebody_else = gateway.call("POST", "/orders", {**wanted, "userId": "bob"}, same)

    assert (first[0], again[0]) == (202, 202)
    assert first[1]["id"] == again[1]["id"]
    assert first[2]["Location"].endswith(first[1]["id"])
    assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")
    # Everybody has keys of their own.
    assert (somebody_else[0], somebody_else[1]["userId"]) == (202, "bob")
    for placed in (first, somebody_else):
        gateway.ended(placed[1]["id"], "CONFIRMED")


def test_kill_of_the_payment_service_during_an_order(gateway: Gateway, stack: Stack, databases: Databases) -> None:
    """Given kill -9 of the payment service while orders are under way, then all are confirmed, each charged once."""
    item = gateway.product(on_hand=50)
    orders = [gateway.order(item) for _ in range(5)]
    stack.kill("payment_service")
    orders += [gateway.order(item) for _ in range(5)]

    for order_id in orders:
        gateway.ended(order_id, "CONFIRMED")
    charges = "select count(*) from payment_attempts where kind = 'CHARGE' and order_id = any(cast(%s as uuid[]))"
    assert databases.value("payment_service", charges, orders) == len(orders)


def test_nonsense_is_a_problem_not_a_failure(gateway: Gateway) -> None:
    """Given requests that make no sense, then each is answered with a problem that has a code."""
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    line = {"item": "x", "quantity": 1}
    bodies: tuple[Any, ...] = (
        [],
        {},
        {"userId": "ada", "items": [line], "shippingAddress": {"deep": deep}},
        {"userId": "ada", "items": [line], "shippingAddress": {"street": "\x00"}},
        {"userId": "ada", "items": [{**line, "quantity": 10**30}]},
        {"userId": "a" * 10_000, "items": [line]},
    )
    for body in bodies:
        status, problem, _ = gateway.call("POST", "/orders", body, key())
        assert 400 <= status < 500, (status, problem)
        assert problem["code"]


def test_an_unknown_order_is_not_found(gateway: Gateway) -> None:
    for order_id in (str(uuid4()), "7", "%00"):
        status, problem, _ = gateway.call("GET", f"/orders/{order_id}")
        assert status in (400, 404), problem
