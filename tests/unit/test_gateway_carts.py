"""Carts over HTTP: what is asked of the order service, and what is refused before."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from shared.errors import CartNotFound, CartNotOpen

CART_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
PLACE = f"/api/v1/carts/{CART_ID}"
CART = {"id": CART_ID, "userId": "anna", "status": "OPEN", "orderId": None, "items": []}
KEY = {"Idempotency-Key": "k-1", "X-Request-Id": "req-1"}


@pytest.mark.parametrize("cart", [{}, {"items": []}, {"items": [{"item": "mug", "quantity": 2}]}])
def test_beginning_one(client: FlaskClient, services: FakeServices, cart: dict[str, Any]) -> None:
    services.answers["order_service.create_cart"] = {"cart": CART, "replayed": False}

    response = client.post("/api/v1/carts", json=cart, headers=KEY)

    assert (response.status_code, response.get_json(), response.headers["Location"]) == (201, CART, PLACE)
    expected = {"cart": cart, "idempotency_key": "k-1", "correlation_id": "req-1"}
    assert services.calls == [("order_service", "create_cart", expected)]


def test_beginning_one_needs_a_key(client: FlaskClient, services: FakeServices) -> None:
    assert client.post("/api/v1/carts", json={}).get_json()["code"] == "idempotency_key_required"
    assert services.calls == []


def test_looking_at_one(client: FlaskClient, services: FakeServices) -> None:
    services.answers["order_service.get_cart"] = CART

    response = client.get(PLACE)

    assert response.get_json() == CART
    assert client.get(PLACE, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert services.calls[0] == ("order_service", "get_cart", {"cart_id": CART_ID})


def test_putting_something_in(client: FlaskClient, services: FakeServices) -> None:
    services.answers["order_service.put_cart_item"] = CART

    response = client.put(f"{PLACE}/items/mug", json={"quantity": 3})

    assert (response.status_code, response.get_json()) == (200, CART)
    assert services.calls == [("order_service", "put_cart_item", {"cart_id": CART_ID, "item": "mug", "quantity": 3})]


def test_taking_something_out(client: FlaskClient, services: FakeServices) -> None:
    services.answers["order_service.remove_cart_item"] = CART

    assert client.delete(f"{PLACE}/items/mug").get_json() == CART
    assert services.calls == [("order_service", "remove_cart_item", {"cart_id": CART_ID, "item": "mug"})]


@pytest.mark.parametrize("quantity", [0, -1, 1001, 1.5, "1", True, None])
def test_an_absurd_quantity_is_refused(client: FlaskClient, services: FakeServices, quantity: Any) -> None:
    response = client.put(f"{PLACE}/items/mug", json={"quantity": quantity})

    assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, "#/quantity")
    assert services.calls == []


def test_hundreds_of_lines_are_refused_politely(client: FlaskClient, services: FakeServices) -> None:
    lines = [{"item": f"i{number}", "quantity": 1} for number in range(500)]

    response = client.post("/api/v1/carts", json={"items": lines}, headers=KEY)

    assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, "#/items")
    assert services.calls == []


@pytest.mark.parametrize(
    ("path", "code"),
    [("/api/v1/carts/1", "cart_not_found"), (f"{PLACE}/items/a%20b", "unknown_item")],
)
def test_what_cannot_be_an_id_names_nothing(client: FlaskClient, services: FakeServices, path: str, code: str) -> None:
    ask = client.put if "items" in path else client.get
    answer = ask(path, json={"quantity": 1}) if "items" in path else ask(path)
    assert answer.get_json()["code"] == code
    assert services.calls == []


@pytest.mark.parametrize(
    ("error", "status"), [(CartNotFound("no"), 404), (CartNotOpen("ordered", {"orderId": CART_ID}), 409)]
)
def test_refusals_of_the_order_service(
    client: FlaskClient, services: FakeServices, error: Exception, status: int
) -> None:
    services.answers["order_service.put_cart_item"] = error

    assert client.put(f"{PLACE}/items/mug", json={"quantity": 1}).status_code == status
