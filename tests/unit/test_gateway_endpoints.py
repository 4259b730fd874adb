"""Every endpoint with services that answer at once: what is asked of them, and what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from gateway.app import create_app
from gateway.services import ServiceUnavailable
from gateway.settings import HttpSettings
from shared.errors import DatabaseUnavailable, OrderNotCancellable

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
ORDER = {"id": ORDER_ID, "userId": "anna", "status": "PENDING", "price": "20.00", "currency": "EUR"}
PRODUCT = {"item": "mug", "name": "Mug", "sellerId": "s1", "price": "10.00", "currency": "EUR"}
KEY = {"Idempotency-Key": "checkout-1"}


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return create_app(HttpSettings(), services).test_client()


def new_order(**changes: Any) -> dict[str, Any]:
    return {"userId": "anna", "items": [{"item": "mug", "quantity": 2}]} | changes


class TestPlaceOrder:
    def test_is_accepted_with_the_place_to_look_at(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = {"order": ORDER, "replayed": False}

        response = client.post("/api/v1/orders", json=new_order(), headers=KEY)

        assert response.status_code == 202
        assert response.headers["Location"] == f"/api/v1/orders/{ORDER_ID}"
        assert response.get_json() == ORDER
        assert "Idempotent-Replayed" not in response.headers

    def test_passes_key_request_id_and_defaults_on(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = {"order": ORDER, "replayed": False}

        response = client.post("/api/v1/orders", json=new_order(), headers=KEY | {"X-Request-Id": "req-7"})

        [(service, method, arguments)] = services.calls
        assert (service, method) == ("order_service", "place_order")
        assert arguments == {
            "order": new_order(paymentMethod="tok_success", paymentMode="auto"),
            "idempotency_key": "checkout-1",
            "correlation_id": "req-7",
        }
        assert response.headers["X-Request-Id"] == "req-7"

    def test_passes_everything_optional_on(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = {"order": ORDER, "replayed": False}
        address = {
            "name": "Anna",
            "line1": "Weg 1",
            "line2": "3rd floor",
            "city": "Bonn",
            "postalCode": "53111",
            "country": "DE",
        }
        order = new_order(
            paymentMethod="tok_card_declined",
            paymentMode="manual",
            price="20.5",
            currency="EUR",
            shippingAddress=address,
        )

        client.post("/api/v1/orders", json=order, headers=KEY)

        # money reaches the services in one form only
        assert services.calls[0][2]["order"] == order | {"price": "20.50"}

    def test_replay_gives_the_same_answer_and_says_so(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = {"order": ORDER, "replayed": True}

        response = client.post("/api/v1/orders", json=new_order(), headers=KEY)

        assert (response.status_code, response.get_json()) == (202, ORDER)
        assert response.headers["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({}, "idempotency_key_required"),
            ({"Idempotency-Key": ""}, "idempotency_key_required"),
            ({"Idempotency-Key": "x" * 256}, "invalid_idempotency_key"),
            ({"Idempotency-Key": "schl\xfcssel"}, "invalid_idempotency_key"),
            ({"Idempotency-Key": "a\tb"}, "invalid_idempotency_key"),
        ],
    )
    def test_without_a_usable_key_nothing_is_asked(
        self, client: FlaskClient, services: FakeServices, headers: dict[str, str], code: str
    ) -> None:
        response = client.post("/api/v1/orders", json=new_order(), headers=headers)

        assert (response.status_code, response.get_json()["code"]) == (400, code)
        assert services.calls == []


class TestLookAtOrders:
    def test_an_order_passes_through_unchanged(self, client: FlaskClient, services: FakeServices) -> None:
        order = ORDER | {"items": [], "history": [{"status": "PENDING", "from": None}], "timeline": []}
        services.answers["order_service.get_order"] = order

        response = client.get(f"/api/v1/orders/{ORDER_ID.upper()}")

        assert (response.status_code, response.get_json()) == (200, order)
        assert services.calls == [("order_service", "get_order", {"order_id": ORDER_ID})]

    @pytest.mark.parametrize(
        "order_id", ["1", "nope", ORDER_ID[:-1], ORDER_ID.replace("-", ""), "%00" * 36, "{" + ORDER_ID + "}"]
    )
    def test_what_is_no_uuid_is_no_order(self, client: FlaskClient, services: FakeServices, order_id: str) -> None:
        response = client.get(f"/api/v1/orders/{order_id}")

        assert (response.status_code, response.get_json()["code"]) == (404, "order_not_found")
        assert services.calls == []

    def test_a_page_is_asked_for_with_its_filters(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {"orders": [ORDER], "nextCursor": "abc="}

        response = client.get("/api/v1/orders?limit=5&cursor=xyz_-=&status=CANCELLED&userId=anna")

        assert response.get_json() == {"orders": [ORDER], "nextCursor": "abc="}
        assert services.calls[0][2] == {
            "limit": 5,
            "cursor": "xyz_-=",
            "status": "CANCELLED",
            "user_id": "anna",
        }

    def test_a_page_has_defaults(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {"orders": [], "nextCursor": None}

        client.get("/api/v1/orders")

        assert services.calls[0][2] == {"limit": 50, "cursor": None, "status": None, "user_id": None}


class TestProducts:
    def test_creating_one(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.create_product"] = {"product": PRODUCT, "replayed": True}
        product = PRODUCT | {"onHand": 0, "requiresApproval": True}

        response = client.post("/api/v1/products", json=product, headers=KEY | {"X-Request-Id": "r"})

        assert (response.status_code, response.get_json()) == (201, PRODUCT)
        assert response.headers["Location"] == "/api/v1/products/mug"
        assert response.headers["Idempotent-Replayed"] == "true"
        expected = {"product": product, "idempotency_key": "checkout-1", "correlation_id": "r"}
        assert services.calls == [("inventory_service", "create_product", expected)]

    def test_creating_one_needs_a_key(self, client: FlaskClient, services: FakeServices) -> None:
        response = client.post("/api/v1/products", json=PRODUCT | {"onHand": 1})

        assert response.get_json()["code"] == "idempotency_key_required"
        assert services.calls == []

    def test_looking_at_one(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.get_product"] = PRODUCT

        assert client.get("/api/v1/products/mug").get_json() == PRODUCT
        assert services.calls == [("inventory_service", "get_product", {"item": "mug"})]

    @pytest.mark.parametrize("item", ["x" * 65, "a%20b", "a%00", "%C3%A9", "a%0A"])
    def test_what_is_no_item_id_is_no_product(self, client: FlaskClient, services: FakeServices, item: str) -> None:
        response = client.get(f"/api/v1/products/{item}")

        assert (response.status_code, response.get_json()["code"]) == (404, "product_not_found")
        assert services.calls == []

    def test_listing(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.list_products"] = {"products": [PRODUCT], "nextCursor": None}

        assert client.get("/api/v1/products?limit=100").get_json()["products"] == [PRODUCT]
        assert services.calls[0][2] == {"limit": 100, "cursor": None}


class TestCancelOrder:
    def test_asks_the_order_service_for_the_customer(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.cancel_order"] = ORDER | {"status": "CANCELLED", "reason": "customer"}

        response = client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={})

        assert (response.status_code, response.get_json()["reason"]) == (202, "customer")
        assert response.headers["Location"] == f"/api/v1/orders/{ORDER_ID}"
        asked = services.calls[0][2]
        assert (asked["order_id"], asked["by"]) == (ORDER_ID, "customer")

    def test_says_when_it_is_too_late(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.cancel_order"] = OrderNotCancellable("shipped", {"status": "FULFILLED"})

        response = client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={"by": "seller"})

        assert (response.status_code, response.get_json()["code"]) == (409, "order_not_cancellable")

    def test_nobody_else_may_ask(self, client: FlaskClient) -> None:
        assert client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={"by": "refunded"}).status_code == 422
        assert client.post("/api/v1/orders/42/cancel", json={}).status_code == 404


class TestHealth:
    @staticmethod
    def all_up(services: FakeServices) -> None:
        for name in ("order_service", "inventory_service", "payment_service"):
            services.answers[f"{name}.health"] = {"service": name, "database": "up", "broker": "up"}

    @pytest.mark.parametrize("path", ["/health/live", "/api/v1/health/live"])
    def test_live_asks_nobody(self, client: FlaskClient, services: FakeServices, path: str) -> None:
        assert client.get(path).get_json() == {"status": "alive"}
        assert services.calls == []

    def test_ready_when_all_are_up(self, client: FlaskClient, services: FakeServices) -> None:
        self.all_up(services)

        response = client.get("/health/ready")

        assert response.status_code == 200
        up = {"status": "up", "database": "up", "broker": "up"}
        names = ("order_service", "inventory_service", "payment_service")
        assert response.get_json() == {"status": "ready", "services": dict.fromkeys(names, up)}

    def test_a_provider_out_of_reach_is_shown_and_harms_nobody(
        self, client: FlaskClient, services: FakeServices
    ) -> None:
        self.all_up(services)
        services.answers["payment_service.health"]["pspCircuit"] = "open"

        response = client.get("/health/ready")

        assert response.status_code == 200
        assert response.get_json()["services"]["payment_service"]["pspCircuit"] == "open"

    @pytest.mark.parametrize(
        "trouble",
        [
            {"service": "payment_service", "database": "down", "broker": "up"},
            ServiceUnavailable("not running"),
            DatabaseUnavailable("down"),
            ["not a report"],
        ],
    )
    def test_not_ready_when_one_is_down(self, client: FlaskClient, services: FakeServices, trouble: Any) -> None:
        self.all_up(services)
        services.answers["payment_service.health"] = trouble

        response = client.get("/api/v1/health/ready")

        body = response.get_json()
        assert (response.status_code, body["code"]) == (503, "not_ready")
        assert body["services"]["payment_service"]["status"] == "down"
        assert body["services"]["order_service"]["status"] == "up"


def test_openapi_describes_every_endpoint(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()

    operations = {f"{verb} {path}" for path, verbs in document["paths"].items() for verb in verbs}
    assert document["openapi"].startswith("3.1")
    assert operations >= {
        "post /api/v1/orders",
        "get /api/v1/orders",
        "get /api/v1/orders/{order_id}",
        "post /api/v1/products",
        "get /api/v1/products",
        "get /api/v1/products/{item}",
        "get /api/v1/health/live",
        "get /api/v1/health/ready",
        "post /api/v1/orders/{order_id}/cancel",
        "post /api/v1/orders/{order_id}/approve",
        "post /api/v1/orders/{order_id}/decline",
        "post /api/v1/orders/{order_id}/fulfil",
        "post /api/v1/orders/{order_id}/returns",
        "get /api/v1/payments/{payment_id}",
        "post /api/v1/payments/{payment_id}/confirm",
        "post /api/v1/payments/{payment_id}/refund",
        "post /api/v1/inventory/reserve",
        "post /api/v1/inventory/release",
        "post /api/v1/inventory/commit",
        "post /api/v1/inventory/adjust",
        "get /api/v1/reservations",
        "get /api/v1/reservations/{reservation_id}",
        "post /api/v1/psp/webhooks",
    }
    assert "application/problem+json" in document["components"]["responses"]["NotFound"]["content"]


KEYED = (
    "post /api/v1/orders",
    "post /api/v1/products",
    "post /api/v1/orders/{order_id}/fulfil",
    "post /api/v1/orders/{order_id}/returns",
    "post /api/v1/payments/{payment_id}/confirm",
    "post /api/v1/payments/{payment_id}/refund",
    "post /api/v1/inventory/reserve",
    "post /api/v1/inventory/release",
    "post /api/v1/inventory/commit",
    "post /api/v1/inventory/adjust",
)


def test_openapi_says_where_a_key_is_needed(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()

    keyed = {
        f"{verb} {path}"
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if verb != "parameters"
        for parameter in operation.get("parameters", ())
        if parameter.get("name") == "Idempotency-Key" and parameter["required"]
    }
    assert keyed == set(KEYED)


def test_openapi_shows_the_body_of_a_webhook(client: FlaskClient) -> None:
    operation = client.get("/openapi.json").get_json()["paths"]["/api/v1/psp/webhooks"]["post"]

    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Webhook")
    assert operation["parameters"][0]["name"] == "PSP-Signature"
