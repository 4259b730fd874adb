"""Stock by hand and reservations: what is asked of the inventory service, and what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from shared.errors import (
    Conflict,
    ForeignReservation,
    OrderSagaError,
    OutOfStock,
    ProductNotFound,
    ReservationExists,
    ReservationNotFound,
    ReservationNotHeld,
    UnknownItem,
)

HOLD_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
HOLD = {"id": HOLD_ID, "kind": "manual", "status": "RESERVED", "items": [{"item": "mug", "quantity": 2}]}
KEY = {"Idempotency-Key": "k-1", "X-Request-Id": "req-1"}
WANTED = {"items": [{"item": "mug", "quantity": 2}]}
ADJUSTMENT = {"item": "mug", "delta": -2, "reason": "broken in the warehouse"}
IDS = {"idempotency_key": "k-1", "correlation_id": "req-1"}


class TestReserve:
    @pytest.mark.parametrize("more", [{}, {"ttlSeconds": 86_400, "reference": "stocktaking 7"}])
    def test_makes_a_hold_and_says_where_it_is(
        self, client: FlaskClient, services: FakeServices, more: dict[str, Any]
    ) -> None:
        services.answers["inventory_service.reserve_stock"] = {"reservation": HOLD, "replayed": False}

        response = client.post("/api/v1/inventory/reserve", json=WANTED | more, headers=KEY)

        assert (response.status_code, response.get_json()) == (201, HOLD)
        assert response.headers["Location"] == f"/api/v1/reservations/{HOLD_ID}"
        assert "Idempotent-Replayed" not in response.headers
        assert services.calls == [("inventory_service", "reserve_stock", {"reservation": WANTED | more, **IDS})]

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (OutOfStock("not enough", {"items": ["mug"]}), 409),
            (ReservationExists("taken", {"reference": "stocktaking 7"}), 409),
            (UnknownItem("no such item", {"items": ["mug"]}), 422),
        ],
    )
    def test_says_why_not(
        self, client: FlaskClient, services: FakeServices, error: OrderSagaError, status: int
    ) -> None:
        services.answers["inventory_service.reserve_stock"] = error

        body = client.post("/api/v1/inventory/reserve", json=WANTED, headers=KEY).get_json()

        assert (body["status"], body["code"]) == (status, error.code)
        assert all(body[name] == value for name, value in error.details.items())

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "#/items"),
            ({"items": []}, "#/items"),
            ({"items": [{"item": "mug", "quantity": -1}]}, "#/items/0/quantity"),
            ({"items": [{"item": "", "quantity": 1}]}, "#/items/0/item"),
            (WANTED | {"ttlSeconds": 0}, "#/ttlSeconds"),
            (WANTED | {"ttlSeconds": 86_401}, "#/ttlSeconds"),
            (WANTED | {"ttlSeconds": 1.5}, "#/ttlSeconds"),
            (WANTED | {"ttlSeconds": None}, "#/ttlSeconds"),
            (WANTED | {"reference": ""}, "#/reference"),
            (WANTED | {"reference": "x" * 201}, "#/reference"),
            (WANTED | {"orderId": HOLD_ID}, "#/orderId"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post("/api/v1/inventory/reserve", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


class TestReleaseAndCommit:
    @pytest.mark.parametrize("verb", ["release", "commit"])
    def test_ends_a_hold(self, client: FlaskClient, services: FakeServices, verb: str) -> None:
        services.answers[f"inventory_service.{verb}_reservation"] = {"reservation": HOLD, "replayed": True}

        response = client.post(f"/api/v1/inventory/{verb}", json={"reservationId": HOLD_ID}, headers=KEY)

        assert (response.status_code, response.get_json()) == (200, HOLD)
        assert response.headers["Idempotent-Replayed"] == "true"
        expected = {"reservation_id": HOLD_ID, **IDS}
        assert services.calls == [("inventory_service", f"{verb}_reservation", expected)]

    @pytest.mark.parametrize("verb", ["release", "commit"])
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ReservationNotFound("no such hold"), 404),
            (ReservationNotHeld("ended", {"status": "EXPIRED"}), 409),
            (ForeignReservation("an order's"), 409),
        ],
    )
    def test_says_why_not(
        self, client: FlaskClient, services: FakeServices, verb: str, error: OrderSagaError, status: int
    ) -> None:
        services.answers[f"inventory_service.{verb}_reservation"] = error

        response = client.post(f"/api/v1/inventory/{verb}", json={"reservationId": HOLD_ID}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (status, error.code)

    @pytest.mark.parametrize("verb", ["release", "commit"])
    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "#/reservationId"),
            ({"reservationId": "7"}, "#/reservationId"),
            ({"reservationId": HOLD_ID + "\n"}, "#/reservationId"),
            ({"reservationId": "{" + HOLD_ID + "}"}, "#/reservationId"),
            ({"reservationId": None}, "#/reservationId"),
            ({"reservationId": HOLD_ID, "force": True}, "#/force"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, verb: str, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(f"/api/v1/inventory/{verb}", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


class TestAdjust:
    def test_answers_with_the_product(self, client: FlaskClient, services: FakeServices) -> None:
        product = {"item": "mug", "onHand": 3, "reserved": 0}
        services.answers["inventory_service.adjust_stock"] = {"product": product, "replayed": False}

        response = client.post("/api/v1/inventory/adjust", json=ADJUSTMENT, headers=KEY)

        assert (response.status_code, response.get_json()) == (200, product)
        assert services.calls == [("inventory_service", "adjust_stock", {"adjustment": ADJUSTMENT, **IDS})]

    @pytest.mark.parametrize(
        ("error", "status"), [(ProductNotFound("no such product"), 404), (Conflict("less than is reserved"), 409)]
    )
    def test_says_why_not(
        self, client: FlaskClient, services: FakeServices, error: OrderSagaError, status: int
    ) -> None:
        services.answers["inventory_service.adjust_stock"] = error

        response = client.post("/api/v1/inventory/adjust", json=ADJUSTMENT, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (status, error.code)

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"delta": 0}, "#/delta"),
            ({"delta": 1_000_000_001}, "#/delta"),
            ({"delta": -1_000_000_001}, "#/delta"),
            ({"delta": 1.5}, "#/delta"),
            ({"delta": True}, "#/delta"),
            ({"delta": "1"}, "#/delta"),
            ({"item": "a b"}, "#/item"),
            ({"reason": ""}, "#/reason"),
            ({"reason": "x" * 201}, "#/reason"),
            ({"onHand": 7}, "#/onHand"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, changes: dict[str, Any], pointer: str
    ) -> None:
        response = client.post("/api/v1/inventory/adjust", json=ADJUSTMENT | changes, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("reserve", WANTED),
        ("release", {"reservationId": HOLD_ID}),
        ("commit", {"reservationId": HOLD_ID}),
        ("adjust", ADJUSTMENT),
    ],
)
def test_a_key_is_required(client: FlaskClient, services: FakeServices, verb: str, body: dict[str, Any]) -> None:
    response = client.post(f"/api/v1/inventory/{verb}", json=body)

    assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
    assert services.calls == []


class TestReservations:
    def test_looking_at_one(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.get_reservation"] = HOLD

        assert client.get(f"/api/v1/reservations/{HOLD_ID.upper()}").get_json() == HOLD
        assert services.calls == [("inventory_service", "get_reservation", {"reservation_id": HOLD_ID})]

    @pytest.mark.parametrize("reservation_id", ["7", "nope", "%00", HOLD_ID[:-1]])
    def test_what_is_no_uuid_is_no_reservation(
        self, client: FlaskClient, services: FakeServices, reservation_id: str
    ) -> None:
        response = client.get(f"/api/v1/reservations/{reservation_id}")

        assert (response.status_code, response.get_json()["code"]) == (404, "reservation_not_found")
        assert services.calls == []

    def test_listing(self, client: FlaskClient, services: FakeServices) -> None:
        page = {"reservations": [HOLD], "nextCursor": "abc="}
        services.answers["inventory_service.list_reservations"] = page

        response = client.get(
            "/api/v1/reservations?limit=5&cursor=2026-01-01T00:00:00.000000Z_x=&status=EXPIRED&sellerId=s1"
        )

        assert response.get_json() == page
        expected = {"cursor": "2026-01-01T00:00:00.000000Z_x=", "status": "EXPIRED", "seller_id": "s1"}
        assert services.calls[0][2] == {"limit": 5} | expected

    def test_listing_has_defaults(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.list_reservations"] = {"reservations": [], "nextCursor": None}

        client.get("/api/v1/reservations")

        assert services.calls[0][2] == {"limit": 50, "cursor": None, "status": None, "seller_id": None}

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("status=held", "status"),
            ("cursor=%20", "cursor"),
            ("q=1", "q"),
        ],
    )
    def test_a_bad_query_is_refused_by_parameter(
        self, client: FlaskClient, services: FakeServices, query: str, parameter: str
    ) -> None:
        response = client.get(f"/api/v1/reservations?{query}")

        assert response.status_code == 422
        assert [error["parameter"] for error in response.get_json()["errors"]] == [parameter]
        assert services.calls == []


class TestStock:
    def test_listing(self, client: FlaskClient, services: FakeServices) -> None:
        page = {"stock": [{"item": "mug", "onHand": 3, "reserved": 1, "available": 2}], "nextCursor": "mug"}
        services.answers["inventory_service.list_stock"] = page

        assert client.get("/api/v1/inventory?limit=1&sellerId=s1&item=mug").get_json() == page
        expected = {"limit": 1, "cursor": None, "seller_id": "s1", "item": "mug"}
        assert services.calls == [("inventory_service", "list_stock", expected)]

    def test_why_it_moved(self, client: FlaskClient, services: FakeServices) -> None:
        page = {"movements": [{"id": 7, "item": "mug", "kind": "initial"}], "nextCursor": None}
        services.answers["inventory_service.list_movements"] = page

        assert client.get("/api/v1/inventory/mug/movements?cursor=9").get_json() == page
        expected = {"item": "mug", "limit": 50, "cursor": "9"}
        assert services.calls == [("inventory_service", "list_movements", expected)]

    def test_of_what_is_no_item(self, client: FlaskClient, services: FakeServices) -> None:
        response = client.get("/api/v1/inventory/a%20b/movements")

        assert (response.status_code, response.get_json()["code"]) == (404, "product_not_found")
        assert services.calls == []
