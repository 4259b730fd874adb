"""Events that overtake one another, come late, or come from nobody: the result is the same.

Order and inventory services are real; the test plays the payment service, so that it decides what comes when.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pika
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import (
    inventory_refunded,
    inventory_reserved,
    new_order_id,
    order_cancelled,
    order_created,
    payment_failed,
    payment_success,
)
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until

from gateway.rpc import RpcClient

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga(["order_service", "inventory_service"])


@pytest.fixture
def item(shop: Shop) -> str:
    return shop.product(on_hand=5)


@contextmanager
def _frozen(processes: Processes, service: str) -> Iterator[None]:
    """The service hears nothing until the block ends; its queues fill meanwhile."""
    [process] = processes.of(service)
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def _deliver(broker: Broker, consumer: str, event_type: str, payload: Mapping[str, Any], message_id: str) -> None:
    """To one consumer only: the other one gets its copy when the test says so."""
    properties = pika.BasicProperties(message_id=message_id, type=event_type, headers={"schema_version": 1})
    broker.publish("", f"{consumer}.{event_type}", json.dumps(payload).encode(), properties)


def _events(databases: Databases, service: str, order_id: str) -> list[str]:
    statement = "select event_type from outbox where aggregate_id = %s order by id"
    return [row[0] for row in databases.query(service, statement, order_id)]


def _statuses(order: Mapping[str, Any]) -> list[str]:
    return [step["status"] for step in order["history"]]


def _held(databases: Databases, order_id: str) -> tuple[str, int]:
    """("", 0) while inventory has not heard of the order."""
    rows = databases.query("inventory_service", "select status, generation from sagas where order_id = %s", order_id)
    return (rows[0][0], rows[0][1]) if rows else ("", 0)


def _expire(databases: Databases, order_id: str) -> None:
    """Its time is over: the test says when, so that no pause of anybody is mistaken for it."""
    statement = """
    update reservations set expires_at = now(), wake_at = now()
    where order_id = %s and status = 'RESERVED' returning order_id
    """
    wait_until(lambda: databases.query("inventory_service", statement, order_id), "its time is over")


def _wait_until_paid_and_held(shop: Shop, order_id: str) -> None:
    def is_so() -> bool:
        order = shop.order(order_id)
        return (order["status"], order["stock"]) == ("CONFIRMED", "HELD")

    wait_until(is_so, "it is paid and held")


def _money_is_back(broker: Broker, order_id: str) -> None:
    refund = {"paymentId": str(uuid4()), "refundId": str(uuid4()), "amount": "10.00", "currency": "EUR"}
    payload = {"id": order_id, **refund, "totalRefunded": "10.00", "reason": "order_cancelled"}
    broker.publish_event("PAYMENT_REFUNDED", payload)


def test_a_cancellation_that_comes_first_is_a_tombstone(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given ORDER_CANCELLED, then ORDER_CREATED, then nothing is ever held."""
    order_id = new_order_id()
    broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))
    wait_until(lambda: _events(databases, "inventory_service", order_id), "the cancellation was answered")
    broker.publish_event("ORDER_CREATED", order_created(order_id, item))
    later = new_order_id()
    broker.publish_event("ORDER_CREATED", order_created(later, "no-such-item"))
    wait_until(lambda: _events(databases, "inventory_service", later), "what came later was answered")

    assert _events(databases, "inventory_service", order_id) == ["INVENTORY_REFUNDED"]
    assert shop.stock(item) == (5, 0)


def test_an_order_that_nobody_placed_holds_nothing(broker: Broker, databases: Databases, shop: Shop, item: str) -> None:
    """Given ORDER_CREATED dispatched by hand, then the order service disowns it and the stock comes back."""
    order_id = new_order_id()
    broker.publish("order_service.events", "ORDER_CREATED", json.dumps(order_created(order_id, item, 2)).encode())

    wait_until(lambda: "INVENTORY_REFUNDED" in _events(databases, "inventory_service", order_id), "it is released")
    wait_until(lambda: _events(databases, "order_service", order_id), "it is disowned")
    assert _events(databases, "inventory_service", order_id) == ["INVENTORY_RESERVED", "INVENTORY_REFUNDED"]
    assert _events(databases, "order_service", order_id) == ["ORDER_CANCELLED"]
    reason = "select payload->>'reason' from outbox where aggregate_id = %s"
    assert databases.value("order_service", reason, order_id) == "unknown_order"
    assert shop.stock(item) == (5, 0)


def test_a_payment_that_overtakes_the_reservation_confirms(
    broker: Broker, processes: Processes, shop: Shop, item: str
) -> None:
    """Given PAYMENT_SUCCESS before INVENTORY_RESERVED, then both steps are taken and the late one is recorded."""
    with _frozen(processes, "inventory_service"):
        order_id = shop.place(item)
        _deliver(broker, "order_service", "PAYMENT_SUCCESS", payment_success(order_id), str(uuid4()))
        order = shop.wait_for(order_id, "CONFIRMED")
        assert _statuses(order) == ["PENDING", "RESERVED", "CONFIRMED"]

    wait_until(lambda: shop.order(order_id)["stock"] == "HELD", "the reservation is known")
    order = shop.order(order_id)
    assert order["status"] == "CONFIRMED"
    decisions = {event["type"]: event["decision"] for event in order["timeline"]}
    assert {"ORDER_CREATED", "PAYMENT_SUCCESS", "ORDER_CONFIRMED", "INVENTORY_RESERVED"} <= set(decisions)


def test_an_expiry_that_overtakes_its_reservation_cancels(
    broker: Broker, processes: Processes, shop: Shop, databases: Databases, item: str
) -> None:
    """Given INVENTORY_REFUNDED before its INVENTORY_RESERVED, then the order is cancelled and stays so."""
    with _frozen(processes, "inventory_service"):
        order_id = shop.place(item)
        broker.publish_event("INVENTORY_REFUNDED", inventory_refunded(order_id))
        wait_until(lambda: shop.status(order_id)[0] == "CANCELLED", "the order is cancelled")
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
        wait_until(lambda: len(shop.order(order_id)["timeline"]) == 4, "the late reservation is recorded")
        assert shop.status(order_id)[:2] == ("CANCELLED", "reservation_expired")

    wait_until(lambda: _held(databases, order_id)[0] == "RELEASED", "inventory has let go")
    assert shop.stock(item) == (5, 0)


def test_a_late_payment_gets_its_stock_again(broker: Broker, databases: Databases, shop: Shop, item: str) -> None:
    """Given a paid order whose reservation expired at inventory, then it is reserved again as generation 2."""
    order_id, message_id = shop.place(item), str(uuid4())
    _deliver(broker, "order_service", "PAYMENT_SUCCESS", payment_success(order_id), message_id)
    _wait_until_paid_and_held(shop, order_id)
    _expire(databases, order_id)
    wait_until(lambda: shop.order(order_id)["stock"] == "LAPSED", "the reservation has expired")
    assert shop.status(order_id)[0] == "CONFIRMED"
    assert shop.stock(item) == (5, 0)

    _deliver(broker, "inventory_service", "PAYMENT_SUCCESS", payment_success(order_id), message_id)

    wait_until(lambda: shop.order(order_id)["stock"] == "HELD", "it is reserved again")
    assert _held(databases, order_id) == ("HELD", 2)
    assert shop.stock(item) == (5, 1)
    assert shop.order(order_id)["reservation"]["expiresAt"] is None


def test_a_late_payment_without_stock_is_given_back(
    broker: Broker, databases: Databases, rpc: RpcClient, shop: Shop, item: str
) -> None:
    """Given a paid order whose reservation expired and whose stock is gone, then it is cancelled and refunded."""
    order_id, message_id = shop.place(item), str(uuid4())
    _deliver(broker, "order_service", "PAYMENT_SUCCESS", payment_success(order_id), message_id)
    _wait_until_paid_and_held(shop, order_id)
    _expire(databases, order_id)
    wait_until(lambda: shop.order(order_id)["stock"] == "LAPSED", "the reservation has expired")
    rpc.call("inventory_service", "adjust_stock", adjustment={"item": item, "delta": -5, "reason": "broken"})

    _deliver(broker, "inventory_service", "PAYMENT_SUCCESS", payment_success(order_id), message_id)
    wait_until(lambda: shop.status(order_id)[:2] == ("CANCELLED", "reservation_expired"), "it is cancelled")
    wait_until(lambda: broker.depth("payment_service.ORDER_CANCELLED") == 1, "payment is told")
    _money_is_back(broker, order_id)

    shop.wait_for(order_id, "CANCELLED", "reservation_expired")
    assert shop.stock(item) == (0, 0)


def test_a_payment_for_a_cancelled_order_does_not_bring_it_back(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given an abandoned checkout, when PAYMENT_SUCCESS comes after all, then it stays cancelled until refunded."""
    order_id = shop.place(item)
    _expire(databases, order_id)
    wait_until(lambda: shop.status(order_id)[:2] == ("CANCELLED", "reservation_expired"), "it is cancelled")
    wait_until(lambda: _held(databases, order_id)[0] == "RELEASED", "inventory has let go")

    broker.publish_event("PAYMENT_SUCCESS", payment_success(order_id))
    wait_until(lambda: shop.order(order_id)["money"] == "TAKEN", "the payment is recorded")
    assert shop.status(order_id) == ("CANCELLED", "reservation_expired", False)
    _money_is_back(broker, order_id)

    shop.wait_for(order_id, "CANCELLED", "reservation_expired")
    assert shop.stock(item) == (5, 0)


def test_stock_is_given_back_once_whatever_comes_together(
    broker: Broker, databases: Databases, processes: Processes, shop: Shop, item: str
) -> None:
    """Given PAYMENT_FAILED, ORDER_CANCELLED and the expiry of one reservation at once, then it is released once."""
    order_id = shop.place(item)
    wait_until(lambda: shop.status(order_id)[0] == "RESERVED", "it is reserved")
    with _frozen(processes, "inventory_service"):
        for _ in range(3):
            broker.publish_event("PAYMENT_FAILED", payment_failed(order_id))
            broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))
        wait_until(lambda: shop.status(order_id)[0] == "CANCELLED", "the order is cancelled")
        _expire(databases, order_id)

    shop.wait_for(order_id, "CANCELLED", "payment_failed")
    released = "select sum(delta_reserved) from stock_movements where order_id = %s and delta_reserved < 0"
    assert databases.value("inventory_service", released, order_id) == -1
    assert shop.stock(item) == (5, 0)
