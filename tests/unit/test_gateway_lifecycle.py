"""What customer and seller ask of an order after it was placed: approve, decline, fulfil, return."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from shared.errors import (
    InvalidRequest,
    OrderNotApprovable,
    OrderNotFound,
    OrderNotFulfillable,
    OrderNotReturnable,
    OrderSagaError,
    RefundTooLarge,
    ReturnTooLarge,
)

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
PLACE = f"/api/v1/orders/{ORDER_ID}"
ORDER = {"id": ORDER_ID, "status": "CONFIRMED", "allowedActions": ["cancel", "fulfil"]}
RETURN = {"id": "0190b4e2-0000-7c51-9d1e-3f6a1b2c4d5e", "status": "REFUNDING", "refundAmount": "5.00"}
KEY = {"Idempotency-Key": "k-1", "X-Request-Id": "req-1"}
GOODS = {"items": [{"item": "mug", "quantity": 1}], "restock": True}


class TestApproveAndDecline:
    @pytest.mark.parametrize("verb", ["approve", "decline"])
    def test_asks_the_order_service(self, client: FlaskClient, services: FakeServices, verb: str) -> None:
        services.answers[f"order_service.{verb}_order"] = {"order": ORDER, "replayed": True}

        response = client.post(f"{PLACE}/{verb}", json={}, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, ORDER)
        assert response.headers["Location"] == PLACE
        assert response.headers["Idempotent-Replayed"] == "true"
        expected = {"order_id": ORDER_ID, "idempotency_key": "k-1", "correlation_id": "req-1"}
        assert services.calls == [("order_service", f"{verb}_order", expected)]

    @pytest.mark.parametrize("verb", ["approve", "decline"])
    def test_says_what_is_allowed_instead(self, client: FlaskClient, services: FakeServices, verb: str) -> None:
        services.answers[f"order_service.{verb}_order"] = OrderNotApprovable(
            "does not wait", {"status": "CONFIRMED", "allowedActions": ["cancel", "fulfil"]}
        )

        response = client.post(f"{PLACE}/{verb}", json={}, headers=KEY)

        body = response.get_json()
        assert (response.status_code, body["code"]) == (409, "order_not_approvable")
        assert body["allowedActions"] == ["cancel", "fulfil"]

    @pytest.mark.parametrize("verb", ["approve", "decline"])
    @pytest.mark.parametrize(("body", "pointer"), [({"by": "customer"}, "#/by"), ([], "#"), ("yes", "#")])
    def test_takes_an_empty_object_only(
        self, client: FlaskClient, services: FakeServices, verb: str, body: Any, pointer: str
    ) -> None:
        response = client.post(f"{PLACE}/{verb}", json=body)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


class TestFulfil:
    @pytest.mark.parametrize(("body", "tracking"), [({"tracking": "DHL 7"}, "DHL 7"), ({}, None)])
    def test_is_accepted(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], tracking: str | None
    ) -> None:
        services.answers["order_service.fulfil_order"] = {"order": ORDER, "replayed": False}

        response = client.post(f"{PLACE}/fulfil", json=body, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, ORDER)
        assert response.headers["Location"] == PLACE
        assert "Idempotent-Replayed" not in response.headers
        [(service, method, asked)] = services.calls
        assert (service, method) == ("order_service", "fulfil_order")
        assert asked == {
            "order_id": ORDER_ID,
            "tracking": tracking,
            "idempotency_key": "k-1",
            "correlation_id": "req-1",
        }

    def test_says_when_it_was_answered_before(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.fulfil_order"] = {"order": ORDER, "replayed": True}

        assert client.post(f"{PLACE}/fulfil", json={}, headers=KEY).headers["Idempotent-Replayed"] == "true"

    def test_says_when_it_may_not_be(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.fulfil_order"] = OrderNotFulfillable("no", {"status": "PENDING"})

        response = client.post(f"{PLACE}/fulfil", json={}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (409, "order_not_fulfillable")
        assert response.get_json()["status"] == 409

    @pytest.mark.parametrize("tracking", ["", " ", "x" * 201, "a\x00", 7, None, ["T"]])
    def test_refuses_bad_tracking(self, client: FlaskClient, services: FakeServices, tracking: Any) -> None:
        response = client.post(f"{PLACE}/fulfil", json={"tracking": tracking}, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == ["#/tracking"]
        assert services.calls == []


class TestReturn:
    def test_is_accepted_and_shown_at_its_order(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.return_order"] = {"return": RETURN, "replayed": True}

        response = client.post(f"{PLACE}/returns", json=GOODS | {"refundAmount": "5"}, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, RETURN)
        assert response.headers["Location"] == PLACE
        assert response.headers["Idempotent-Replayed"] == "true"
        [(service, method, asked)] = services.calls
        assert (service, method) == ("order_service", "return_order")
        assert asked == {
            "order_id": ORDER_ID,
            "goods": GOODS | {"refundAmount": "5.00"},
            "idempotency_key": "k-1",
            "correlation_id": "req-1",
        }

    def test_may_give_nothing_back(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.return_order"] = {"return": RETURN, "replayed": False}

        client.post(f"{PLACE}/returns", json=GOODS | {"refundAmount": "0"}, headers=KEY)

        assert services.calls[0][2]["goods"]["refundAmount"] == "0.00"

    def test_without_an_amount_the_service_decides_it(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.return_order"] = {"return": RETURN, "replayed": False}

        client.post(f"{PLACE}/returns", json=GOODS, headers=KEY)

        assert services.calls[0][2]["goods"] == GOODS

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ReturnTooLarge("too many", {"items": {"mug": 1}}), 422),
            (RefundTooLarge("too much", {"refundable": "10.00", "currency": "EUR"}), 422),
            (OrderNotReturnable("not fulfilled", {"allowedActions": ["cancel"]}), 409),
            (InvalidRequest("not valid", {"errors": {"items": ["twice"]}}), 422),
            (OrderNotFound("no order"), 404),
        ],
    )
    def test_says_why_not(
        self, client: FlaskClient, services: FakeServices, error: OrderSagaError, status: int
    ) -> None:
        services.answers["order_service.return_order"] = error

        response = client.post(f"{PLACE}/returns", json=GOODS, headers=KEY)

        body = response.get_json()
        assert (response.status_code, body["code"]) == (status, error.code)
        assert all(body[name] == value for name, value in error.details.items() if name != "errors")

    @pytest.mark.parametrize(
        ("goods", "pointer"),
        [
            ({"restock": True}, "#/items"),
            (GOODS | {"items": []}, "#/items"),
            (GOODS | {"items": [{"item": "mug"}]}, "#/items/0/quantity"),
            (GOODS | {"items": [{"item": "mug", "quantity": 0}]}, "#/items/0/quantity"),
            (GOODS | {"items": [{"item": "a b", "quantity": 1}]}, "#/items/0/item"),
            (GOODS | {"items": [{"item": "mug", "quantity": 1}] * 101}, "#/items"),
            ({"items": GOODS["items"]}, "#/restock"),
            (GOODS | {"restock": "yes"}, "#/restock"),
            (GOODS | {"refundAmount": "-0.01"}, "#/refundAmount"),
            (GOODS | {"refundAmount": 5}, "#/refundAmount"),
            (GOODS | {"refundAmount": "1.001"}, "#/refundAmount"),
            (GOODS | {"refundAmount": None}, "#/refundAmount"),
            (GOODS | {"reason": "broken"}, "#/reason"),
        ],
    )
    def test_refuses_bad_goods_at_their_place(
        self, client: FlaskClient, services: FakeServices, goods: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(f"{PLACE}/returns", json=goods, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (422, "invalid_request")
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


@pytest.mark.parametrize(("verb", "body"), [("fulfil", {}), ("returns", GOODS)])
def test_a_key_is_required(client: FlaskClient, services: FakeServices, verb: str, body: dict[str, Any]) -> None:
    response = client.post(f"{PLACE}/{verb}", json=body)

    assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
    assert services.calls == []


@pytest.mark.parametrize("order_id", ["7", "nope", "%00", ORDER_ID + "0", "{" + ORDER_ID + "}"])
@pytest.mark.parametrize(("verb", "body"), [("approve", {}), ("decline", {}), ("fulfil", {}), ("returns", GOODS)])
def test_what_is_no_uuid_is_no_order(
    client: FlaskClient, services: FakeServices, verb: str, body: dict[str, Any], order_id: str
) -> None:
    response = client.post(f"/api/v1/orders/{order_id}/{verb}", json=body, headers=KEY)

    assert (response.status_code, response.get_json()["code"]) == (404, "order_not_found")
    assert services.calls == []
