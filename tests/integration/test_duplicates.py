"""An event may be delivered any number of times, to any replica: it is applied once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import new_order_id, order_cancelled, order_created
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until
from nameko_sqlalchemy.database import Session
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from gateway.rpc import RpcClient
from shared.database import SessionFactory
from shared.inbox import HORIZON, forget

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


@pytest.fixture
def wait_for_later_events(broker: Broker, databases: Databases, processes: Processes) -> Callable[[], None]:
    """Waits until both replicas are done with everything published before: each of them has applied a later event.

    One later event proves nothing, it may be with one replica while the hands of the other are still full. They leave
    nothing behind in the inbox.
    """

    def wait() -> None:
        later: list[str] = []

        def each_has_applied_one() -> bool:
            later.append(new_order_id())
            broker.publish_event("ORDER_CREATED", order_created(later[-1], "no-such-item"), message_id=later[-1])
            return all(any(id_ in process.output() for id_ in later) for process in processes.of("inventory_service"))

        wait_until(each_has_applied_one, "each replica has applied a later event")
        known = "select count(*) from inbox where event_id::text = any(%s)"
        wait_until(lambda: databases.value("inventory_service", known, later) == len(later), "all of them are applied")
        databases.query("inventory_service", "delete from inbox where event_id::text = any(%s)", later)

    return wait


def test_the_same_event_many_times_to_two_replicas_is_applied_once(
    broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
) -> None:
    """Given one message_id published many times, then stock is reserved once and there is one answer."""
    order_id = new_order_id()
    for _ in range(COPIES):
        broker.publish_event("ORDER_CREATED", order_created(order_id, item), message_id=order_id)
    wait_for_later_events()

    assert shop.stock(item) == (10, 1)
    assert _answers(databases, order_id) == ["INVENTORY_RESERVED"]
    assert databases.value("inventory_service", INBOX) == 1


def test_another_event_for_the_same_order_does_not_reserve_again(
    broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
) -> None:
    """Given two ORDER_CREATED of one order with ids of their own, then the second one changes nothing."""
    order_id = new_order_id()
    for _ in range(COPIES):
        broker.publish_event("ORDER_CREATED", order_created(order_id, item))
    wait_for_later_events()

    assert shop.stock(item) == (10, 1)
    assert _answers(databases, order_id) == ["INVENTORY_RESERVED"]


def test_an_event_without_message_id_is_known_by_its_content(
    broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
) -> None:
    """Given an event dispatched by hand without any property, then it is accepted, and its repetition is noticed."""
    order_id = new_order_id()
    body = json.dumps(order_created(order_id, item)).encode()
    for _ in range(3):
        broker.publish("order_service.events", "ORDER_CREATED", body)
    wait_for_later_events()

    assert shop.stock(item) == (10, 1)
    assert databases.value("inventory_service", INBOX) == 1


def test_cancelling_and_creating_at_once_leaves_nothing_held(
    broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
) -> None:
    """Given ORDER_CREATED and ORDER_CANCELLED of many orders racing on two queues and two replicas."""
    orders = [new_order_id() for _ in range(40)]
    for number, order_id in enumerate(orders):
        events = [("ORDER_CREATED", order_created(order_id, item)), ("ORDER_CANCELLED", order_cancelled(order_id))]
        for event_type, payload in events if number % 2 else reversed(events):
            broker.publish_event(event_type, payload)

    cancelled = "select count(*) from sagas where cancelled"
    wait_until(lambda: databases.value("inventory_service", cancelled) == len(orders), "all are cancelled")
    wait_for_later_events()

    assert shop.stock(item) == (10, 0)
    # Ten units for forty orders: those that found none left were rejected, which is as final.
    last_words = {_answers(databases, order_id)[-1] for order_id in orders}
    assert "INVENTORY_REFUNDED" in last_words <= {"INVENTORY_REFUNDED", "INVENTORY_REJECTED"}
    assert broker.all_dead() == {}


class TestTheHorizon:
    """What the inbox may have forgotten is not applied on trust."""

    def test_a_redelivery_older_than_the_horizon_is_a_dead_letter_that_says_so(
        self, broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
    ) -> None:
        """Given an event of eight days ago, where the inbox keeps seven, then it is kept with the reason."""
        order_id = new_order_id()
        body = order_created(order_id, item)
        broker.publish_event("ORDER_CREATED", body, headers=_occurred(days_ago=8))
        wait_for_later_events()

        (letter,) = broker.dead("inventory_service.ORDER_CREATED")
        assert letter.headers["x-error-code"] == "older_than_horizon"
        assert json.loads(letter.body) == body
        assert _answers(databases, order_id) == []
        assert shop.stock(item) == (10, 0)

    def test_an_old_event_in_a_batch_harms_no_other(
        self, broker: Broker, databases: Databases, shop: Shop, item: str, wait_for_later_events: Callable[[], None]
    ) -> None:
        orders = [new_order_id() for _ in range(6)]
        for number, order_id in enumerate(orders):
            broker.publish_event(
                "ORDER_CREATED", order_created(order_id, item), headers=_occurred(days_ago=8 if number == 2 else 6)
            )
        wait_for_later_events()

        assert shop.stock(item) == (10, 5)
        assert len(broker.dead("inventory_service.ORDER_CREATED")) == 1

    def test_rows_are_kept_longer_than_the_horizon_and_then_purged(
        self, databases: Databases, stack_environment: Mapping[str, str]
    ) -> None:
        """Given rows around the horizon, then those that may be asked for stay; clocks may differ by a day."""
        ages_days = (1, 6.9, 7.9, 8.1, 400)
        statement = "insert into inbox values (%s, 'X', now() - %s * interval '1 day')"
        for age_days in ages_days:
            databases.query("inventory_service", statement, new_order_id(), age_days)

        engine = create_engine(stack_environment["INVENTORY_DATABASE_URL"])
        forget(SessionFactory(sessionmaker(engine, class_=Session)), horizon=HORIZON)
        engine.dispose()

        assert databases.value("inventory_service", INBOX) == 3


def _occurred(days_ago: float) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    return {"schema_version": 1, "occurred_at": moment.isoformat()}
