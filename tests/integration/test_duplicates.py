"""An event may be delivered any number of times, to any replica: it is applied once."""

from __future__ import annotations

import json

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import new_order_id, order_cancelled, order_created
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until

from gateway.rpc import RpcClient

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("replicas", "clean")]

INBOX = "select count(*) from inbox"
COPIES = 50


@pytest.fixture(scope="module")
def replicas(processes: Processes) -> None:
    """Two inventory services; no relay, so that nothing but the test publishes."""
    for process in [processes.start("inventory_service") for _ in range(2)]:
        process.wait_ready()


@pytest.fixture
def item(rpc: RpcClient) -> str:
    product = {"item": "cup", "name": "Cup", "sellerId": "shop", "price": "10.00", "currency": "EUR", "onHand": 10}
    rpc.call("inventory_service", "create_product", product=product)
    return "cup"


def _answers(databases: Databases, order_id: str) -> list[str]:
    statement = "select event_type from outbox where aggregate_id = %s order by id"
    return [row[0] for row in databases.query("inventory_service", statement, order_id)]


def _wait_for_later_event(broker: Broker, databases: Databases) -> None:
    """Both replicas have finished everything published before: their queue is empty and so are their hands."""
    last = new_order_id()
    broker.publish_event("ORDER_CREATED", order_created(last, "no-such-item"))
    wait_until(lambda: _answers(databases, last), "the last event was applied")
    wait_until(lambda: broker.depth("inventory_service.ORDER_CREATED") == 0, "the queue is empty")


def test_the_same_event_many_times_to_two_replicas_is_applied_once(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given one message_id published many times, then stock is reserved once and there is one answer."""
    order_id = new_order_id()
    for _ in range(COPIES):
        broker.publish_event("ORDER_CREATED", order_created(order_id, item), message_id=order_id)
    _wait_for_later_event(broker, databases)

    assert shop.stock(item) == (10, 1)
    assert _answers(databases, order_id) == ["INVENTORY_RESERVED"]
    assert databases.value("inventory_service", INBOX) == 2


def test_another_event_for_the_same_order_does_not_reserve_again(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given two ORDER_CREATED of one order with ids of their own, then the second one changes nothing."""
    order_id = new_order_id()
    for _ in range(COPIES):
        broker.publish_event("ORDER_CREATED", order_created(order_id, item))
    _wait_for_later_event(broker, databases)

    assert shop.stock(item) == (10, 1)
    assert _answers(databases, order_id) == ["INVENTORY_RESERVED"]


def test_an_event_without_message_id_is_known_by_its_content(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given an event dispatched by hand without any property, then it is accepted, and its repetition is noticed."""
    order_id = new_order_id()
    body = json.dumps(order_created(order_id, item)).encode()
    for _ in range(3):
        broker.publish("order_service.events", "ORDER_CREATED", body)
    _wait_for_later_event(broker, databases)

    assert shop.stock(item) == (10, 1)
    assert databases.value("inventory_service", INBOX) == 2


def test_cancelling_and_creating_at_once_leaves_nothing_held(
    broker: Broker, databases: Databases, shop: Shop, item: str
) -> None:
    """Given ORDER_CREATED and ORDER_CANCELLED of many orders racing on two queues and two replicas."""
    orders = [new_order_id() for _ in range(40)]
    for number, order_id in enumerate(orders):
        events = [("ORDER_CREATED", order_created(order_id, item)), ("ORDER_CANCELLED", order_cancelled(order_id))]
        for event_type, payload in events if number % 2 else reversed(events):
            broker.publish_event(event_type, payload)

    cancelled = "select count(*) from sagas where cancelled"
    wait_until(lambda: databases.value("inventory_service", cancelled) == len(orders), "all are cancelled")
    _wait_for_later_event(broker, databases)

    assert shop.stock(item) == (10, 0)
    assert all(_answers(databases, order_id)[-1] == "INVENTORY_REFUNDED" for order_id in orders)
    assert broker.all_dead() == {}
