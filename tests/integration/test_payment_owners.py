"""Whose payments these are, over the real broker and database; and what the provider may say only once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import inventory_reserved, new_order_id, order_cancelled
from harness.people import CUSTOMER, OPERATOR, RIVAL, SELLER, STRANGER, asks_of
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from payment_service.domain import payment_id
from payment_service.webhooks import sign
from shared.errors import Forbidden, InvalidRequest, PaymentNotFound, PaymentNotReady
from shared.identity import Identity

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("service", "clean")]

SERVICE, SECRET = "payment_service", "whsec_test"
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def service(processes: Processes) -> Iterator[ServiceProcess]:
    process = processes.start_ready(SERVICE, PSP_WEBHOOK_SECRET=SECRET, CHAOS_ENABLED="on")
    yield process
    assert process.terminate() == 0


@pytest.fixture
def ask(rpc: RpcClient) -> Call:
    return asks_of(rpc, SERVICE)


@pytest.fixture
def wait_for(ask: Call) -> Call:
    def wait(order_id: str, status: str) -> None:
        def is_so() -> bool:
            try:
                return bool(ask(None, "get_payment", order_id=order_id)["status"] == status)
            except PaymentNotFound:
                return False

        wait_until(is_so, f"the payment of {order_id} is {status}")

    return wait


@pytest.fixture
def order(broker: Broker, wait_for: Call) -> Call:
    """An order of ann's at the shop, to be paid later; its id."""

    def place(**changes: Any) -> str:
        order_id = new_order_id()
        event = inventory_reserved(order_id, **{"paymentMode": "manual", **changes})
        broker.publish_event("INVENTORY_RESERVED", event)
        wait_for(order_id, "SUCCEEDED" if event["paymentMode"] == "auto" else "PENDING")
        return order_id

    return place


def _payment(order_id: str) -> str:
    return str(payment_id(UUID(order_id)))


def _audited(ask: Call, object_id: str) -> list[dict[str, Any]]:
    """Newest first."""
    entries: list[dict[str, Any]] = ask(OPERATOR, "list_audit", object_id=object_id)["entries"]
    return entries


class TestCreating:
    def test_there_is_none_before_the_stock_is_reserved(self, ask: Call, broker: Broker, wait_for: Call) -> None:
        order_id = new_order_id()
        with pytest.raises(PaymentNotReady):
            ask(CUSTOMER, "create_payment", order_id=order_id)
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, paymentMode="manual"))
        wait_for(order_id, "PENDING")
        made = ask(CUSTOMER, "create_payment", order_id=order_id, idempotency_key="k", correlation_id="r-1")
        assert made == ask(CUSTOMER, "create_payment", order_id=order_id)
        shown = ask(CUSTOMER, "get_payment", payment_id=_payment(order_id))
        assert made == {"payment": shown, "replayed": False}
        again = ask(CUSTOMER, "create_payment", order_id=order_id, idempotency_key="k")
        assert again == {"payment": shown, "replayed": True}
        assert (made["payment"]["orderId"], made["payment"]["userId"]) == (order_id, "ann")

    def test_it_is_for_the_customer(self, ask: Call, order: Call) -> None:
        order_id = order()
        for caller in (STRANGER, RIVAL):
            with pytest.raises(PaymentNotFound):
                ask(caller, "create_payment", order_id=order_id)
        for caller in (SELLER, OPERATOR):
            with pytest.raises(Forbidden):
                ask(caller, "create_payment", order_id=order_id)

    def test_of_an_order_that_was_cancelled_before_there_is_none(
        self, ask: Call, broker: Broker, wait_for: Call
    ) -> None:
        order_id = new_order_id()
        broker.publish_event("ORDER_CANCELLED", order_cancelled(order_id))
        wait_for(order_id, "CANCELLED")
        with pytest.raises(PaymentNotFound):
            ask(CUSTOMER, "create_payment", order_id=order_id)


class TestPaying:
    def test_is_the_customers(self, ask: Call, order: Call, wait_for: Call) -> None:
        order_id = order()
        confirm = {"payment_id": _payment(order_id), "payment_method": "tok_success"}
        for caller in (SELLER, OPERATOR):
            with pytest.raises(Forbidden):
                ask(caller, "confirm_payment", **confirm)
        for caller in (STRANGER, RIVAL):
            with pytest.raises(PaymentNotFound):
                ask(caller, "confirm_payment", **confirm)
        ask(CUSTOMER, "confirm_payment", correlation_id="r-2", **confirm)
        wait_for(order_id, "SUCCEEDED")
        [line] = _audited(ask, _payment(order_id))
        assert (line["actor"], line["action"], line["requestId"]) == ("ann", "confirm_payment", "r-2")
        assert (line["before"]["charging"], line["after"]["charging"]) == (False, True)
        assert "tok_" not in json.dumps(line)

    def test_the_same_key_of_two_customers_is_two_attempts(self, ask: Call, order: Call, wait_for: Call) -> None:
        anns, bobs = order(), order(userId="bob")
        for caller, order_id in ((CUSTOMER, anns), (STRANGER, bobs)):
            arguments = {"payment_id": _payment(order_id), "payment_method": "tok_success"}
            answer = ask(caller, "confirm_payment", idempotency_key="k-1", **arguments)
            assert answer["replayed"] is False
            wait_for(order_id, "SUCCEEDED")


class TestRefunding:
    def test_is_the_sellers_and_operators(self, ask: Call, order: Call, wait_for: Call) -> None:
        order_id = order(paymentMode="auto")
        id_ = _payment(order_id)
        with pytest.raises(Forbidden):
            ask(CUSTOMER, "refund_payment", payment_id=id_)
        for caller in (STRANGER, RIVAL):
            with pytest.raises(PaymentNotFound):
                ask(caller, "refund_payment", payment_id=id_)
        refund = ask(SELLER, "refund_payment", payment_id=id_, amount="4.00", idempotency_key="k-1")["refund"]
        wait_for(order_id, "PARTIALLY_REFUNDED")
        ask(OPERATOR, "refund_payment", payment_id=id_, idempotency_key="k-1")
        wait_for(order_id, "REFUNDED")

        by_operator, by_seller = _audited(ask, id_)
        assert [line["actor"] for line in (by_seller, by_operator)] == ["sue", "root"]
        assert by_seller["before"] == {
            "status": "SUCCEEDED",
            "charging": False,
            "refunded": "0.00",
            "refunding": "0.00",
        }
        assert by_seller["after"] == {
            **by_seller["before"],
            "refunding": "4.00",
            "refundId": refund["id"],
            "amount": "4.00",
            "reason": "requested",
        }

    def test_where_nobody_said_who_sold_it_is_an_operators(self, ask: Call, order: Call, wait_for: Call) -> None:
        """Given a reservation of the release before, which had no seller."""
        order_id = order(paymentMode="auto", sellerId=None)
        with pytest.raises(PaymentNotFound):
            ask(SELLER, "refund_payment", payment_id=_payment(order_id))
        ask(OPERATOR, "refund_payment", payment_id=_payment(order_id))
        wait_for(order_id, "REFUNDED")


class TestWebhooks:
    def _tell(self, ask: Call, event_id: str, key: str, status: str) -> bool:
        data = {"key": key, "reference": "psp_hook", "status": status, "reason": "card_declined"}
        body = json.dumps({"id": event_id, "type": f"charge.{status}", "data": data})
        answer = ask(None, "psp_webhook", body=body, signature=sign(body, secret=SECRET, at=datetime.now(UTC)))
        return bool(answer["applied"])

    @pytest.fixture
    def charge(self, ask: Call, order: Call, databases: Databases) -> tuple[str, str]:
        """(order id, the provider's key) of a charge that the provider is still at."""
        order_id = order()
        ask(CUSTOMER, "confirm_payment", payment_id=_payment(order_id), payment_method="tok_async_late")
        awaited = "select id::text from payment_attempts where order_id = %s and status = 'AWAITING'"
        [(key,)] = wait_until(lambda: databases.query(SERVICE, awaited, order_id), "it is awaited")
        return order_id, key

    def test_one_id_counts_once_whatever_it_says(
        self, ask: Call, charge: tuple[str, str], databases: Databases
    ) -> None:
        """Given a failure that was applied, then the same id with a success is nothing, and another id is."""
        order_id, key = charge
        event_id = f"evt_{uuid4().hex}"
        assert self._tell(ask, event_id, key, "failed") is True
        assert self._tell(ask, event_id, key, "succeeded") is False
        voids = "select count(*) from payment_attempts where order_id = %s and kind = 'VOID'"
        assert databases.value(SERVICE, voids, order_id) == 0

        assert self._tell(ask, f"evt_{uuid4().hex}", key, "succeeded") is True
        assert databases.value(SERVICE, voids, order_id) == 1

    def test_an_id_is_kept_with_what_it_did(self, ask: Call, charge: tuple[str, str], databases: Databases) -> None:
        """Given a webhook whose effect the database refuses, then its id is free for the next try."""
        _, key = charge
        forbid = "alter table outbox add constraint no_success check (event_type <> 'PAYMENT_SUCCESS') not valid"
        databases.query(SERVICE, forbid)
        try:
            with pytest.raises(Exception, match="no_success"):
                self._tell(ask, "evt_1", key, "succeeded")
        finally:
            databases.query(SERVICE, "alter table outbox drop constraint no_success")
        assert self._tell(ask, "evt_1", key, "succeeded") is True
        assert self._tell(ask, "evt_1", key, "succeeded") is False
        kept = "select count(*) from inbox where event_type = 'PSP_WEBHOOK'"
        assert databases.value(SERVICE, kept) == 1


class TestTheProvidersBehaviour:
    @pytest.fixture(autouse=True)
    def _as_it_was(self, ask: Call) -> Iterator[None]:
        yield
        ask(None, "reset_provider_behaviour")

    def _values(self, answer: Any) -> dict[str, float]:
        return {setting["name"]: setting["value"] for setting in answer["behaviour"]}

    def test_is_changed_by_operators_and_takes_effect(
        self, ask: Call, broker: Broker, wait_for: Call, order: Call
    ) -> None:
        answer = ask(OPERATOR, "change_provider_behaviour", changes={"decline_rate": 1}, correlation_id="r-3")
        assert self._values(answer) == self._values(ask(OPERATOR, "provider_behaviour"))
        assert self._values(answer)["decline_rate"] == 1
        order_id = new_order_id()
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
        wait_for(order_id, "FAILED")

        assert self._values(ask(OPERATOR, "reset_provider_behaviour"))["decline_rate"] == 0
        order(paymentMode="auto")
        reset, changed = _audited(ask, "psp")[:2]
        assert (reset["action"], reset["before"]) == ("reset_provider_behaviour", {"decline_rate": 1.0})
        assert (changed["action"], changed["after"], changed["requestId"]) == (
            "change_provider_behaviour",
            {"decline_rate": 1},
            "r-3",
        )

    @pytest.mark.parametrize("caller", [CUSTOMER, SELLER])
    def test_is_nobody_elses(self, ask: Call, caller: Identity) -> None:
        for method, arguments in (
            ("provider_behaviour", {}),
            ("change_provider_behaviour", {"changes": {"decline_rate": 1}}),
            ("reset_provider_behaviour", {}),
            ("list_audit", {}),
        ):
            with pytest.raises(Forbidden):
                ask(caller, method, **arguments)

    def test_is_changed_as_a_whole_or_not_at_all(self, ask: Call) -> None:
        with pytest.raises(InvalidRequest) as refused:
            ask(OPERATOR, "change_provider_behaviour", changes={"latency_ms": 5, "failure_rate": 2, "speed": 1})
        assert list(refused.value.details["errors"]) == ["failure_rate", "speed"]
        assert self._values(ask(OPERATOR, "provider_behaviour"))["latency_ms"] == 0
