"""What a dry run says of a dead letter is what happens to it when it is sent back, and saying it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pika
import pytest
from flask.testing import FlaskClient
from harness.broker import Broker
from harness.databases import SERVICES, Databases
from harness.login import client_of
from harness.payloads import (
    in_seconds,
    inventory_reserved,
    new_order_id,
    order_cancelled,
    order_created,
    payment_failed,
)
from harness.processes import Processes
from harness.redrive_driver import WORK_QUEUES
from harness.waiting import wait_until

from gateway.admin.desk import register_desk
from gateway.rpc import RpcClient
from shared.errors import Forbidden
from shared.identity import Identity, Role
from shared.messaging.dead_letters import DeadLetters

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

REDRIVES = "/api/v1/admin/redrives"
_TABLES = "select tablename from pg_tables where schemaname = 'public' and tablename not in ('charger_leases', 'inbox')"


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    """No relays: what is published stays in the outboxes, and nothing moves by itself."""
    for process in [processes.start(name) for name in SERVICES]:
        process.wait_ready()


@pytest.fixture(scope="module")
def client(stack_environment: Mapping[str, str], rpc: RpcClient, services: None) -> FlaskClient:
    client = client_of(rpc)
    register_desk(client.application, DeadLetters(stack_environment["AMQP_URI"], WORK_QUEUES))
    return client


def _bury(broker: Broker, queue: str, payload: Any, *, id_: str | None = None, **headers: Any) -> str:
    event_id = id_ or str(uuid4())
    consumer_headers = {"schema_version": 1, "x-origin-queue": queue, "x-error-code": "retries_exhausted", **headers}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    properties = pika.BasicProperties(
        message_id=event_id, type=queue.partition(".")[2], content_type="application/json", headers=consumer_headers
    )
    broker.publish("", f"{queue}.dead", body, properties)
    wait_until(lambda: broker.depth(f"{queue}.dead") >= 1, "it is there")
    return event_id


def _foresee(client: FlaskClient, **filter_: Any) -> dict[str, Any]:
    response = client.post(f"{REDRIVES}/dry-run", json={"filter": filter_})
    assert response.status_code == 200, response.text
    [letter] = response.get_json()["letters"]
    return dict(letter)


def _redrive(client: FlaskClient) -> dict[str, Any]:
    key = {"Idempotency-Key": uuid4().hex}
    run = client.post(REDRIVES, json={"filter": {}}, headers=key).get_json()
    steps: list[dict[str, Any]] = []

    def has_ended() -> bool:
        steps.append(client.post(f"{REDRIVES}/{run['id']}/advance", json={}).get_json())
        return steps[-1].get("step") in ("done", "stopped")

    wait_until(has_ended, "the run has ended", timeout_s=60)
    return dict(steps[-1]["redrive"])


def _everything(databases: Databases) -> dict[str, Any]:
    """Every row of every service, but for what timers purge."""
    found = {}
    for service in SERVICES:
        for (table,) in databases.query(service, _TABLES):
            statement = f'select coalesce(sum(hashtextextended(t::text, 0)), 0), count(*) from "{table}" t'  # noqa: S608
            found[service, table] = databases.query(service, statement)[0]
        found[service, "inbox"] = databases.query(service, "select count(*) from inbox")[0]
    return found


def _product(rpc: RpcClient) -> str:
    item = f"item-{uuid4().hex[:8]}"
    product = {"item": item, "name": item, "sellerId": "shop", "price": "10.00", "currency": "EUR", "onHand": 10}
    rpc.call("inventory_service", "create_product", product=product)
    return item


def _order(databases: Databases, status: str) -> str:
    """A row as it would be, without its saga."""
    order_id = new_order_id()
    databases.query(
        "order_service",
        """insert into orders (id, user_id, seller_id, status, reason, price, currency, payment_mode, correlation_id,
                               stock, stock_generation, money, wake_at, created_at, updated_at)
           values (%s, 'ann', 'shop', %s, %s, 10, 'EUR', 'auto', 'c', 'UNKNOWN', 0, 'UNKNOWN', null, now(), now())""",
        order_id,
        status,
        "timeout" if status == "CANCELLED" else None,
    )
    return order_id


class TestWhatWillBeApplied:
    def test_the_order_moves_as_foreseen(self, broker: Broker, databases: Databases, client: FlaskClient) -> None:
        order_id = _order(databases, "PENDING")
        _bury(broker, "order_service.INVENTORY_RESERVED", inventory_reserved(order_id))
        before = _everything(databases)

        foreseen = _foresee(client)

        assert _everything(databases) == before
        assert foreseen["verdict"] == "will_apply"
        assert "PENDING → RESERVED" in foreseen["decision"]
        run = _redrive(client)
        assert run["letters"]["applied"] == 1
        assert databases.value("order_service", "select status from orders") == "RESERVED"

    def test_stock_is_held_and_the_answer_published_as_foreseen(
        self, broker: Broker, databases: Databases, client: FlaskClient, rpc: RpcClient
    ) -> None:
        item = _product(rpc)
        _bury(broker, "inventory_service.ORDER_CREATED", order_created(new_order_id(), item))
        before = _everything(databases)

        foreseen = _foresee(client)

        assert _everything(databases) == before
        assert (foreseen["verdict"], foreseen["events"]) == ("will_apply", ["INVENTORY_RESERVED"])
        assert foreseen["decision"] == "stock OPEN → HELD"
        _redrive(client)
        assert databases.value("inventory_service", "select reserved from stock") == 1

    def test_money_is_only_spoken_of(self, broker: Broker, databases: Databases, client: FlaskClient) -> None:
        """Given a reservation that is to be paid, then its charge is foreseen, and the provider hears nothing."""
        _bury(broker, "payment_service.INVENTORY_RESERVED", inventory_reserved(new_order_id(), paymentMethod="tok_ok"))
        before = _everything(databases)

        for _ in range(3):
            foreseen = _foresee(client)

        assert _everything(databases) == before
        assert databases.value("psp", "select count(*) from charges") == 0
        assert foreseen["verdict"] == "will_apply"
        assert "charge of 10.00 EUR would begin" in foreseen["decision"]


class TestWhatWillNot:
    def test_applied_before(self, broker: Broker, databases: Databases, client: FlaskClient, rpc: RpcClient) -> None:
        payload = order_created(new_order_id(), _product(rpc))
        event_id = str(broker.publish_event("ORDER_CREATED", payload))
        wait_until(lambda: databases.value("inventory_service", "select count(*) from inbox"), "it is applied")
        _bury(broker, "inventory_service.ORDER_CREATED", payload, id_=event_id)

        assert _foresee(client)["verdict"] == "already_applied"

        assert _redrive(client)["letters"]["applied"] == 1
        assert databases.value("inventory_service", "select sum(reserved) from stock") == 1

    @pytest.mark.parametrize(
        ("status", "words"), [("CANCELLED", "order CANCELLED (timeout)"), ("FULFILLED", "order FULFILLED")]
    )
    def test_the_order_has_ended(
        self, broker: Broker, databases: Databases, client: FlaskClient, status: str, words: str
    ) -> None:
        order_id = _order(databases, status)
        _bury(broker, "order_service.PAYMENT_FAILED", payment_failed(order_id))

        foreseen = _foresee(client)

        assert foreseen["verdict"] == "order_terminal"
        assert words in foreseen["decision"]
        _redrive(client)
        assert databases.value("order_service", "select status from orders") == status
        [line] = databases.query("order_service", "select decision, note from order_events")
        assert foreseen["decision"].endswith(f"{line[0]}: {line[1]}" if line[1] else line[0])

    def test_an_order_that_nobody_placed(self, broker: Broker, databases: Databases, client: FlaskClient) -> None:
        _bury(broker, "order_service.INVENTORY_RESERVED", inventory_reserved(new_order_id()))

        foreseen = _foresee(client)

        assert (foreseen["verdict"], foreseen["events"]) == ("unknown_order", ["ORDER_CANCELLED"])
        _redrive(client)
        assert databases.value("order_service", "select event_type from outbox") == "ORDER_CANCELLED"

    def test_older_than_the_horizon(self, broker: Broker, client: FlaskClient) -> None:
        old = (datetime.now(UTC) - timedelta(days=8)).isoformat()
        _bury(broker, "inventory_service.ORDER_CANCELLED", order_cancelled(new_order_id()), occurred_at=old)

        assert _foresee(client)["verdict"] == "older_than_horizon"

        stopped = _redrive(client)
        assert (stopped["state"], stopped["letters"]["failedAgain"]) == ("STOPPED", 1)
        assert "OlderThanHorizon" in stopped["detail"]

    @pytest.mark.parametrize(
        ("payload", "headers", "words"),
        [
            ({"id": "none"}, {}, "'id': ['Not a valid UUID.']"),
            (b"\xff\x00", {}, "undecodable"),
            (order_cancelled(new_order_id()), {"schema_version": 9}, "unknown_schema_version"),
            (order_cancelled(new_order_id()), {"causation_id": [1]}, "invalid_envelope"),
        ],
        ids=["field", "no JSON", "version", "header"],
    )
    def test_it_cannot_be_read(
        self, broker: Broker, client: FlaskClient, payload: Any, headers: Mapping[str, Any], words: str
    ) -> None:
        _bury(broker, "inventory_service.ORDER_CANCELLED", payload, **headers)

        foreseen = _foresee(client)

        assert foreseen["verdict"] == "invalid"
        assert words in foreseen["decision"]
        assert _redrive(client)["letters"]["failedAgain"] == 1

    def test_it_belongs_nowhere(self, broker: Broker, client: FlaskClient) -> None:
        _bury(broker, "inventory_service.ORDER_CANCELLED", b"{}", **{"x-origin-queue": "nobody.NOTHING"})

        foreseen = _foresee(client)

        assert (foreseen["verdict"], foreseen["decision"][:14]) == ("cannot_be_sent", "unknown_origin")
        assert _redrive(client)["letters"]["leftOut"] == 1


class TestWhileOthersWork:
    def test_a_row_in_use_makes_nobody_wait(self, broker: Broker, databases: Databases, client: FlaskClient) -> None:
        order_id = _order(databases, "PENDING")
        _bury(broker, "order_service.INVENTORY_RESERVED", inventory_reserved(order_id, expiresAt=in_seconds(60)))

        with databases.transaction("order_service") as cursor:
            cursor.execute("select 1 from orders where id = %s for update", (order_id,))
            busy = _foresee(client)

        assert (busy["verdict"], _foresee(client)["verdict"]) == ("unknown", "will_apply")

    @pytest.mark.parametrize("service", SERVICES)
    def test_it_is_for_operators(self, rpc: RpcClient, service: str) -> None:
        customer = Identity(subject="anna", roles=frozenset({Role.USER}))

        for method, said in (("foresee_events", {"letters": []}), ("known_events", {"event_ids": []})):
            with pytest.raises(Forbidden):
                rpc.call(service, method, caller=customer, **said)
