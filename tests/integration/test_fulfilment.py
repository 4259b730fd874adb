"""Approval, fulfilment and returns, and what the order service does while the others are silent.

The order service is real; the test plays inventory and payment, so that it decides what comes when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import in_seconds, inventory_refunded, inventory_reserved, payment_success
from harness.processes import Processes
from harness.shop import Shop
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    OrderNotApprovable,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotFulfillable,
    OrderNotReturnable,
    OrderSagaError,
    RefundTooLarge,
    ReturnTooLarge,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga(["order_service"])


@pytest.fixture(autouse=True)
def _nothing_is_dead(broker: Broker, services: None) -> Iterator[None]:
    yield
    assert broker.all_dead() == {}


class Saga:
    """The orders of one test, and the other services as the order service sees them."""

    def __init__(self, rpc: RpcClient, broker: Broker, databases: Databases, shop: Shop) -> None:
        self._rpc, self._broker, self._databases, self.shop = rpc, broker, databases, shop

    def product(self, *, requires_approval: bool = False) -> str:
        item = f"item-{uuid4().hex[:8]}"
        product = {"item": item, "version": 1, "name": item, "sellerId": "shop", "price": "10.00", "currency": "EUR"}
        self._broker.publish_event(
            "PRODUCT_UPDATED", {**product, "active": True, "requiresApproval": requires_approval}
        )
        known = "select count(*) from products where item = %s"
        wait_until(lambda: self._databases.value("order_service", known, item), f"{item} is in the price list")
        return item

    def ask(self, method: str, order_id: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._rpc.call("order_service", method, order_id=order_id, **arguments)
        return answer

    def tell(self, event_type: str, payload: Mapping[str, Any]) -> None:
        self._broker.publish_event(event_type, payload)

    def order(self, order_id: str) -> dict[str, Any]:
        return self.shop.order(order_id)

    def wait_for(self, order_id: str, what: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        wait_until(lambda: condition(self.order(order_id)), what)
        return self.order(order_id)

    def confirmed(self, quantity: int = 1) -> tuple[str, str]:
        """(order id, item) of an order that is paid and whose stock is held."""
        item = self.product()
        order_id = self.shop.place(item, quantity)
        self.tell("INVENTORY_RESERVED", inventory_reserved(order_id))
        self.tell("PAYMENT_SUCCESS", payment_success(order_id))
        self.wait_for(order_id, "it is paid and held", lambda o: (o["status"], o["stock"]) == ("CONFIRMED", "HELD"))
        return order_id, item

    def fulfilled(self, quantity: int = 1) -> tuple[str, str]:
        order_id, item = self.confirmed(quantity)
        self.ask("fulfil_order", order_id)
        self.tell("INVENTORY_COMMITTED", committed(order_id, item, quantity))
        self.shop.wait_for(order_id, "FULFILLED")
        return order_id, item

    def emitted(self, order_id: str) -> list[str]:
        statement = "select event_type from outbox where aggregate_id = %s order by id"
        return [row[0] for row in self._databases.query("order_service", statement, order_id)]

    def payload(self, order_id: str, event_type: str) -> dict[str, Any]:
        statement = "select payload from outbox where aggregate_id = %s and event_type = %s"
        [[payload]] = self._databases.query("order_service", statement, order_id, event_type)
        assert isinstance(payload, dict)
        return payload

    def everything(self, order_id: str) -> list[Any]:
        """All that the order service has written of an order."""
        return [
            self._databases.query("order_service", statement, order_id)
            for statement in (
                "select * from orders where id = %s",
                "select * from order_events where order_id = %s order by id",
                "select * from order_returns where order_id = %s",
                "select id, event_id from outbox where aggregate_id = %s order by id",
            )
        ]

    def refused(self, error: type[OrderSagaError], method: str, order_id: str, **arguments: Any) -> dict[str, Any]:
        """The details of the refusal, which must leave the order as it was. Nameko makes texts of their numbers."""
        before = self.everything(order_id)
        with pytest.raises(error) as refusal:
            self.ask(method, order_id, **arguments)
        assert self.everything(order_id) == before
        return dict(refusal.value.details)


@pytest.fixture
def saga(rpc: RpcClient, broker: Broker, databases: Databases, shop: Shop) -> Saga:
    return Saga(rpc, broker, databases, shop)


def committed(order_id: str, item: str, quantity: int = 1) -> dict[str, Any]:
    return {"id": order_id, "generation": 1, "items": [{"item": item, "quantity": quantity}]}


def refunded(order_id: str, total: str, refund_id: str | None = None) -> dict[str, Any]:
    return {
        "id": order_id,
        "paymentId": str(uuid4()),
        "refundId": refund_id or str(uuid4()),
        "amount": total,
        "currency": "EUR",
        "totalRefunded": total,
        "reason": "returned",
    }


def refund_failed(order_id: str, refund_id: str | None = None) -> dict[str, Any]:
    return {
        "id": order_id,
        "paymentId": str(uuid4()),
        "refundId": refund_id or str(uuid4()),
        "reason": "provider_refused",
    }


def types(order: Mapping[str, Any]) -> list[str]:
    return [event["type"] for event in order["timeline"]]


def said(order: Mapping[str, Any], event_type: str) -> Any:
    """The payload in the order's timeline."""
    [payload] = [event["payload"] for event in order["timeline"] if event["type"] == event_type]
    return payload


class TestApproval:
    def test_the_sellers_word_lets_the_saga_begin(self, saga: Saga, broker: Broker) -> None:
        """Given a product that requires approval, then nothing happens until ORDER_APPROVED says it all again."""
        order_id = saga.shop.place(saga.product(requires_approval=True), 2, paymentMode="manual")
        order = saga.order(order_id)
        assert (order["status"], order["awaitsApproval"]) == ("PENDING", True)
        assert order["allowedActions"] == ["cancel", "approve", "decline"]

        approved = saga.ask("approve_order", order_id, idempotency_key="yes", correlation_id="call-1")["order"]

        assert (approved["status"], approved["awaitsApproval"]) == ("PENDING", False)
        assert approved["allowedActions"] == ["cancel"]
        assert types(approved) == ["ORDER_CREATED", "APPROVAL_GIVEN", "ORDER_APPROVED"]
        assert said(approved, "APPROVAL_GIVEN") == {"id": order_id, "by": "seller"}
        payload = saga.payload(order_id, "ORDER_APPROVED")
        assert payload == saga.payload(order_id, "ORDER_CREATED")
        assert (payload["requiresApproval"], payload["paymentMode"]) == (True, "manual")
        wait_until(lambda: broker.depth("inventory_service.ORDER_APPROVED") == 1, "inventory is told")
        [told] = broker.take("inventory_service.ORDER_APPROVED")
        assert told.properties.correlation_id == "call-1"

        assert saga.ask("approve_order", order_id) == {"order": approved, "replayed": False}
        assert saga.ask("approve_order", order_id, idempotency_key="yes") == {"order": approved, "replayed": True}
        assert saga.emitted(order_id) == ["ORDER_CREATED", "ORDER_APPROVED"]
        details = saga.refused(OrderNotApprovable, "decline_order", order_id)
        assert details == {"status": "PENDING", "allowedActions": ["cancel"]}

    def test_a_declined_order_is_cancelled_and_settled(self, saga: Saga) -> None:
        order_id = saga.shop.place(saga.product(requires_approval=True))

        declined = saga.ask("decline_order", order_id, idempotency_key="no")["order"]

        assert (declined["status"], declined["reason"]) == ("CANCELLED", "seller")
        assert (declined["awaitsApproval"], declined["allowedActions"]) == (False, [])
        assert saga.ask("decline_order", order_id) == {"order": declined, "replayed": False}
        assert saga.ask("decline_order", order_id, idempotency_key="no") == {"order": declined, "replayed": True}
        saga.refused(OrderNotApprovable, "approve_order", order_id)
        saga.tell("INVENTORY_REFUNDED", inventory_refunded(order_id, reason="cancelled"))
        saga.tell("PAYMENT_CANCELLED", {"id": order_id, "paymentId": str(uuid4())})
        saga.shop.wait_for(order_id, "CANCELLED", "seller")
        assert saga.emitted(order_id) == ["ORDER_CREATED", "ORDER_CANCELLED"]

    def test_an_order_that_needs_no_approval_refuses_both(self, saga: Saga) -> None:
        order_id = saga.shop.place(saga.product())
        for method in ("approve_order", "decline_order"):
            saga.refused(OrderNotApprovable, method, order_id)

    def test_a_reservation_of_an_order_that_nobody_approved_does_not_move_it(self, saga: Saga) -> None:
        order_id = saga.shop.place(saga.product(requires_approval=True))
        saga.tell("INVENTORY_RESERVED", inventory_reserved(order_id))
        order = saga.wait_for(order_id, "it is recorded", lambda o: "INVENTORY_RESERVED" in types(o))
        assert (order["status"], order["awaitsApproval"], order["stock"]) == ("PENDING", True, "HELD")


class TestFulfilment:
    def test_shipped_it_is_fulfilled_once_the_stock_is_committed(self, saga: Saga, broker: Broker) -> None:
        """Given CONFIRMED, when it is fulfilled, then it cannot be cancelled, and INVENTORY_COMMITTED ends it."""
        order_id, item = saga.confirmed()
        assert saga.order(order_id)["allowedActions"] == ["cancel", "fulfil"]

        answer = saga.ask("fulfil_order", order_id, tracking="T-1", idempotency_key="ship-1")

        order = answer["order"]
        assert (answer["replayed"], order["status"], order["tracking"]) == (False, "CONFIRMED", "T-1")
        assert (order["allowedActions"], order["deadlineAt"] is not None) == ([], True)
        assert saga.payload(order_id, "ORDER_FULFILLED") == {
            "id": order_id,
            "shippedAt": order["fulfilRequestedAt"],
            "tracking": "T-1",
        }
        wait_until(lambda: broker.depth("inventory_service.ORDER_FULFILLED") == 1, "inventory is told")
        details = saga.refused(OrderNotCancellable, "cancel_order", order_id)
        assert details == {"status": "CONFIRMED", "allowedActions": []}

        saga.tell("INVENTORY_COMMITTED", committed(order_id, item))
        order = saga.shop.wait_for(order_id, "FULFILLED")
        assert (order["stock"], order["deadlineAt"], order["allowedActions"]) == ("COMMITTED", None, ["return"])
        assert [step["status"] for step in order["history"]] == ["PENDING", "RESERVED", "CONFIRMED", "FULFILLED"]
        assert types(order)[-3:] == ["FULFILMENT_REQUESTED", "ORDER_FULFILLED", "INVENTORY_COMMITTED"]
        assert said(order, "FULFILMENT_REQUESTED") == {"id": order_id, "tracking": "T-1"}
        saga.refused(OrderNotCancellable, "cancel_order", order_id)

    def test_asked_again_it_is_as_it_was(self, saga: Saga) -> None:
        """Given the same key, then the same answer; given none, then the order as it is; shipped once either way."""
        order_id, item = saga.confirmed()
        first = saga.ask("fulfil_order", order_id, tracking="T-1", idempotency_key="k")

        again = saga.ask("fulfil_order", order_id, tracking="T-1", idempotency_key="k")
        assert again == {"order": first["order"], "replayed": True}
        saga.refused(IdempotencyKeyReused, "fulfil_order", order_id, tracking="T-2", idempotency_key="k")
        other = saga.ask("fulfil_order", order_id, tracking="T-2", idempotency_key="l")
        assert other == {"order": first["order"], "replayed": False}
        saga.tell("INVENTORY_COMMITTED", committed(order_id, item))
        saga.shop.wait_for(order_id, "FULFILLED")
        assert saga.ask("fulfil_order", order_id)["order"]["tracking"] == "T-1"
        assert saga.emitted(order_id).count("ORDER_FULFILLED") == 1

    def test_the_key_of_one_order_does_not_answer_for_another(self, saga: Saga) -> None:
        (one, _), (other, _) = saga.confirmed(), saga.confirmed()
        saga.ask("fulfil_order", one, idempotency_key="k")
        saga.refused(IdempotencyKeyReused, "fulfil_order", other, idempotency_key="k")

    def test_what_is_not_held_or_not_paid_cannot_be_shipped(self, saga: Saga) -> None:
        order_id = saga.shop.place(saga.product())
        details = saga.refused(OrderNotFulfillable, "fulfil_order", order_id, idempotency_key="k")
        assert details == {"status": "PENDING", "allowedActions": ["cancel"]}

        saga.tell("PAYMENT_SUCCESS", payment_success(order_id))
        saga.shop.wait_for(order_id, "CONFIRMED")
        saga.refused(OrderNotFulfillable, "fulfil_order", order_id, idempotency_key="k")
        saga.tell("INVENTORY_RESERVED", inventory_reserved(order_id))
        saga.tell("INVENTORY_REFUNDED", inventory_refunded(order_id))
        saga.wait_for(order_id, "its reservation is over", lambda o: o["stock"] == "LAPSED")
        saga.refused(OrderNotFulfillable, "fulfil_order", order_id, idempotency_key="k")

        saga.tell("INVENTORY_RESERVED", inventory_reserved(order_id, generation=2, expiresAt=None))
        saga.wait_for(order_id, "it is held again", lambda o: o["stock"] == "HELD")
        assert not saga.ask("fulfil_order", order_id, idempotency_key="k")["replayed"]

    def test_stock_that_is_gone_after_all_ends_cancelled_and_refunded(self, saga: Saga) -> None:
        order_id, _ = saga.confirmed()
        saga.ask("fulfil_order", order_id, tracking="T-1")

        saga.tell("INVENTORY_REJECTED", {"id": order_id, "reason": "reservation_expired", "short": []})
        order = saga.wait_for(order_id, "it is cancelled", lambda o: o["status"] == "CANCELLED")
        assert (order["reason"], order["fulfilRequestedAt"]) == ("reservation_expired", None)
        saga.tell("PAYMENT_REFUNDED", refunded(order_id, "10.00"))
        order = saga.shop.wait_for(order_id, "CANCELLED", "reservation_expired")
        assert (order["money"], order["refunded"]) == ("RETURNED", "10.00")

    def test_a_full_refund_cancels_only_what_is_not_on_its_way(self, saga: Saga) -> None:
        (kept, _), (shipped, item) = saga.confirmed(), saga.confirmed()
        saga.ask("fulfil_order", shipped)
        for order_id in (kept, shipped):
            saga.tell("PAYMENT_REFUNDED", refunded(order_id, "10.00"))
        saga.wait_for(kept, "it is cancelled", lambda o: (o["status"], o["reason"]) == ("CANCELLED", "refunded"))
        order = saga.wait_for(shipped, "it is recorded", lambda o: o["money"] == "RETURNED")
        assert order["status"] == "CONFIRMED"
        saga.tell("INVENTORY_COMMITTED", committed(shipped, item))
        saga.shop.wait_for(shipped, "FULFILLED")


class TestReturns:
    def test_goods_come_back_and_their_price_is_given_back(self, saga: Saga, broker: Broker) -> None:
        order_id, item = saga.fulfilled(3)
        goods = {"items": [{"item": item, "quantity": 2}], "restock": True}

        answer = saga.ask("return_order", order_id, goods=goods, idempotency_key="r-1", correlation_id="call-1")

        view = answer["return"]
        assert view == {
            "id": view["id"],
            "items": [{"item": item, "quantity": 2}],
            "restock": True,
            "refundAmount": "20.00",
            "status": "REQUESTED",
            "createdAt": view["createdAt"],
        }
        assert saga.payload(order_id, "ORDER_RETURNED") == {
            "id": order_id,
            "returnId": view["id"],
            "items": [{"item": item, "quantity": 2}],
            "restock": True,
            "refundAmount": "20.00",
            "currency": "EUR",
        }
        for queue in ("inventory_service.ORDER_RETURNED", "payment_service.ORDER_RETURNED"):
            wait_until(lambda queue=queue: broker.depth(queue) == 1, f"{queue} has it")
        again = saga.ask("return_order", order_id, goods=goods, idempotency_key="r-1")
        assert again == {"return": view, "replayed": True}

        saga.tell("PAYMENT_REFUNDED", refunded(order_id, "20.00", view["id"]))
        order = saga.wait_for(order_id, "it is refunded", lambda o: o["returns"][0]["status"] == "REFUNDED")
        assert order["returns"] == [{**view, "status": "REFUNDED"}]
        assert (order["status"], order["refunded"], order["money"]) == ("FULFILLED", "20.00", "TAKEN")
        assert types(order)[-3:] == ["RETURN_REQUESTED", "ORDER_RETURNED", "PAYMENT_REFUNDED"]
        asked = {"id": order_id, "returnId": view["id"], **goods, "refundAmount": None}
        assert said(order, "RETURN_REQUESTED") == asked

    def test_never_more_than_was_shipped_less_what_came_back(self, saga: Saga) -> None:
        order_id, item = saga.fulfilled(3)

        def goods(quantity: int, **more: Any) -> dict[str, Any]:
            return {"items": [{"item": item, "quantity": quantity}], "restock": False, **more}

        details = saga.refused(ReturnTooLarge, "return_order", order_id, goods=goods(4), idempotency_key="k")
        assert details == {"items": {item: 3}}
        saga.ask("return_order", order_id, goods=goods(2), idempotency_key="k2")
        details = saga.refused(ReturnTooLarge, "return_order", order_id, goods=goods(2), idempotency_key="k")
        assert details == {"items": {item: 1}}
        saga.ask("return_order", order_id, goods=goods(1), idempotency_key="k")
        assert saga.refused(ReturnTooLarge, "return_order", order_id, goods=goods(1)) == {"items": {item: 0}}
        unknown = {"items": [{"item": "never-shipped", "quantity": 1}], "restock": False}
        assert saga.refused(ReturnTooLarge, "return_order", order_id, goods=unknown) == {"items": {"never-shipped": 0}}
        assert [r["refundAmount"] for r in saga.order(order_id)["returns"]] == ["20.00", "10.00"]

    def test_the_refund_may_be_less_but_never_more_than_the_price(self, saga: Saga) -> None:
        order_id, item = saga.fulfilled(2)

        def goods(refund: str) -> dict[str, Any]:
            return {"items": [{"item": item, "quantity": 1}], "restock": False, "refundAmount": refund}

        details = saga.refused(RefundTooLarge, "return_order", order_id, goods=goods("10.01"))
        assert details == {"refundable": "10.00", "currency": "EUR"}
        assert saga.ask("return_order", order_id, goods=goods("4.00"))["return"]["refundAmount"] == "4.00"
        nothing = saga.ask("return_order", order_id, goods=goods("0.00"))["return"]
        assert (nothing["status"], nothing["refundAmount"]) == ("COMPLETED", "0.00")

    def test_a_refund_that_failed_is_shown_and_flagged_until_all_is_back(self, saga: Saga) -> None:
        order_id, item = saga.fulfilled(2)
        first, second = (
            saga.ask("return_order", order_id, goods={"items": [{"item": item, "quantity": 1}], "restock": True})
            for _ in range(2)
        )
        saga.tell("PAYMENT_REFUND_FAILED", refund_failed(order_id, first["return"]["id"]))
        order = saga.wait_for(order_id, "it is flagged", lambda o: o["flag"] == "refund_failed")
        assert order["flaggedAt"] is not None
        assert [r["status"] for r in order["returns"]] == ["REFUND_FAILED", "REQUESTED"]

        saga.tell("PAYMENT_REFUNDED", refunded(order_id, "10.00", second["return"]["id"]))
        saga.wait_for(order_id, "one is back", lambda o: o["returns"][1]["status"] == "REFUNDED")
        saga.tell("PAYMENT_REFUNDED", refunded(order_id, "20.00", first["return"]["id"]))
        order = saga.wait_for(order_id, "both are back", lambda o: o["returns"][0]["status"] == "REFUNDED")
        assert (order["flag"], order["flaggedAt"], order["money"]) == (None, None, "RETURNED")

        saga.tell("PAYMENT_REFUND_FAILED", refund_failed(order_id, first["return"]["id"]))
        order = saga.wait_for(order_id, "it is recorded", lambda o: types(o).count("PAYMENT_REFUND_FAILED") == 2)
        assert [r["status"] for r in order["returns"]] == ["REFUNDED", "REFUNDED"]
        assert order["flag"] is None

    def test_only_what_was_fulfilled_can_come_back(self, saga: Saga) -> None:
        order_id, item = saga.confirmed()
        goods = {"items": [{"item": item, "quantity": 1}], "restock": True}
        details = saga.refused(OrderNotReturnable, "return_order", order_id, goods=goods, idempotency_key="k")
        assert details == {"status": "CONFIRMED", "allowedActions": ["cancel", "fulfil"]}


class TestBadInput:
    def test_it_is_refused_by_name_and_changes_nothing(self, saga: Saga) -> None:
        order_id, item = saga.fulfilled()
        line = {"item": item, "quantity": 1}
        for method, arguments in (
            ("cancel_order", {"by": "nobody"}),
            ("approve_order", {"by": "customer"}),
            ("decline_order", {"by": 5}),
            ("fulfil_order", {"tracking": "x" * 201}),
            ("fulfil_order", {"idempotency_key": ""}),
            ("return_order", {"goods": "all of it"}),
            ("return_order", {"goods": {"items": [], "restock": True}}),
            ("return_order", {"goods": {"items": [{**line, "quantity": -1}], "restock": True}}),
            ("return_order", {"goods": {"items": [line], "restock": True, "refundAmount": "-1.00"}}),
            ("return_order", {"goods": {"items": [line]}}),
            ("return_order", {"goods": {"items": [line], "restock": True}, "correlation_id": {}}),
        ):
            assert saga.refused(InvalidRequest, method, order_id, **arguments)["errors"]

    def test_an_unknown_order_is_not_found(self, saga: Saga) -> None:
        goods = {"items": [{"item": "mug", "quantity": 1}], "restock": True}
        for order_id in (str(uuid4()), "7"):
            for method in ("approve_order", "decline_order", "fulfil_order", "cancel_order"):
                with pytest.raises(OrderNotFound):
                    saga.ask(method, order_id)
            with pytest.raises(OrderNotFound):
                saga.ask("return_order", order_id, goods=goods, idempotency_key="k")


@pytest.fixture(scope="class")
def impatient(services: None, processes: Processes) -> None:
    """For the last tests: in the others such a deadline would pass whenever the machine has a lot to do."""
    processes.stop()
    processes.start_saga(["order_service"], PENDING_DEADLINE_S="20", FINISH_DEADLINE_S="8")


@pytest.mark.usefixtures("impatient")
class TestSilence:
    """At half of a deadline the last event goes out once more with its own id; at the end comes the consequence."""

    def _told(self, broker: Broker, queue: str, copies: int) -> set[str]:
        """The message ids of that many copies."""
        wait_until(lambda: broker.depth(queue) == copies, f"{queue} has {copies}")
        return {letter.properties.message_id for letter in broker.take(queue)}

    def test_a_silent_inventory_is_asked_twice_then_the_order_is_cancelled(
        self, saga: Saga, broker: Broker, databases: Databases
    ) -> None:
        order_id = saga.shop.place(saga.product(), correlation_id="call-1")

        assert len(self._told(broker, "inventory_service.ORDER_CREATED", 2)) == 1
        order = saga.order(order_id)
        assert (order["status"], types(order)) == ("PENDING", ["ORDER_CREATED", "HALF_DEADLINE_PASSED"])
        rows = "select event_id, correlation_id, occurred_at, payload::text from outbox where aggregate_id = %s"
        assert len(set(databases.query("order_service", rows, order_id))) == 1

        saga.wait_for(order_id, "it is cancelled", lambda o: (o["status"], o["reason"]) == ("CANCELLED", "timeout"))
        for queue in ("inventory_service.ORDER_CANCELLED", "payment_service.ORDER_CANCELLED"):
            assert len(self._told(broker, queue, 2)) == 1
        order = saga.wait_for(order_id, "it is flagged", lambda o: o["flag"] == "compensation_unfinished")
        assert types(order).count("HALF_DEADLINE_PASSED") == 2
        assert types(order).count("DEADLINE_PASSED") == 2

        saga.tell("INVENTORY_REFUNDED", inventory_refunded(order_id, reason="cancelled"))
        saga.tell("PAYMENT_CANCELLED", {"id": order_id, "paymentId": str(uuid4())})
        order = saga.shop.wait_for(order_id, "CANCELLED", "timeout")
        assert (order["flag"], order["deadlineAt"]) == (None, None)
        assert saga.emitted(order_id) == ["ORDER_CREATED"] * 2 + ["ORDER_CANCELLED"] * 2

    def test_fulfilment_that_nobody_answers_is_asked_for_twice_then_flagged(self, saga: Saga, broker: Broker) -> None:
        order_id, item = saga.confirmed()
        saga.ask("fulfil_order", order_id)

        assert len(self._told(broker, "inventory_service.ORDER_FULFILLED", 2)) == 1
        order = saga.wait_for(order_id, "it is flagged", lambda o: o["flag"] == "fulfilment_unfinished")
        assert (order["status"], order["deadlineAt"] is not None) == ("CONFIRMED", True)
        saga.tell("INVENTORY_COMMITTED", committed(order_id, item))
        order = saga.shop.wait_for(order_id, "FULFILLED")
        assert (order["flag"], order["flaggedAt"]) == (None, None)

    def test_a_reserved_order_is_left_to_inventory_until_its_deadline(self, saga: Saga) -> None:
        order_id = saga.shop.place(saga.product())
        saga.tell("INVENTORY_RESERVED", inventory_reserved(order_id, expiresAt=in_seconds(-118)))
        order = saga.wait_for(order_id, "it is cancelled", lambda o: o["status"] == "CANCELLED")
        assert order["reason"] == "timeout"
        assert "HALF_DEADLINE_PASSED" not in types(order)
