"""Every endpoint with services that answer at once: what is asked of them, and what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.login import EVERYBODY
from harness.services import FakeServices

from gateway.services import ServiceUnavailable
from shared.errors import DatabaseUnavailable, OrderNotCancellable, PreconditionFailed, ReservationNotFound

ORDER_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
CART_ID = "0190b4e2-0000-7c51-9d1e-3f6a1b2c4d5e"
ORDER = {"id": ORDER_ID, "userId": "anna", "status": "PENDING", "price": "20.00", "currency": "EUR"}
PRODUCT = {"item": "mug", "name": "Mug", "sellerId": "s1", "price": "10.00", "currency": "EUR"}
KEY = {"Idempotency-Key": "checkout-1"}


def new_order(**changes: Any) -> dict[str, Any]:
    return {"userId": "anna", "items": [{"item": "mug", "quantity": 2}]} | changes


class TestPlaceOrder:
    def test_is_accepted_with_the_place_to_look_at(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_orders"] = [{"order": ORDER, "replayed": False}]

        response = client.post("/api/v1/orders", json=new_order(), headers=KEY)

        assert response.status_code == 202
        assert response.headers["Location"] == f"/api/v1/orders/{ORDER_ID}"
        assert response.get_json() == ORDER
        assert "Idempotent-Replayed" not in response.headers

    def test_passes_key_request_id_and_defaults_on(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_orders"] = [{"order": ORDER, "replayed": False}]

        response = client.post("/api/v1/orders", json=new_order(), headers=KEY | {"X-Request-Id": "req-7"})

        [(service, method, arguments)] = services.calls
        assert (service, method) == ("order_service", "place_orders")
        [entry] = arguments["orders"]
        assert entry == {
            "order": new_order(paymentMethod="tok_success", paymentMode="auto"),
            "idempotencyKey": "checkout-1",
            "correlationId": "req-7",
            "identity": EVERYBODY.header(),
        }
        assert response.headers["X-Request-Id"] == "req-7"

    def test_passes_everything_optional_on(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_orders"] = [{"order": ORDER, "replayed": False}]
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
        assert services.calls[0][2]["orders"][0]["order"] == order | {"price": "20.50"}

    def test_of_a_cart(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_order"] = {"order": ORDER, "replayed": False}

        response = client.post("/api/v1/orders", json={"cartId": CART_ID.upper()}, headers=KEY | {"X-Request-Id": "r"})

        assert (response.status_code, response.get_json()) == (202, ORDER)
        assert services.calls[0][2] == {
            "order": {"cartId": CART_ID.upper(), "paymentMethod": "tok_success", "paymentMode": "auto"},
            "idempotency_key": "checkout-1",
            "correlation_id": "r",
        }
        assert services.callers == [EVERYBODY]

    def test_replay_gives_the_same_answer_and_says_so(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.place_orders"] = [{"order": ORDER, "replayed": True}]

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

        response = client.get(
            "/api/v1/orders?limit=5&cursor=xyz_-=&status=CANCELLED&userId=anna&sellerId=s1&item=mug"
            "&since=2026-01-31T12:00:00%2B01:00&until=2026-02-01T00:00:00Z&text=DHL 7"
        )

        assert response.get_json() == {"orders": [ORDER], "nextCursor": "abc="}
        assert services.calls[0][2] == {
            "limit": 5,
            "cursor": "xyz_-=",
            "status": "CANCELLED",
            "user_id": "anna",
            "seller_id": "s1",
            "item": "mug",
            "since": "2026-01-31T11:00:00+00:00",
            "until": "2026-02-01T00:00:00+00:00",
            "text": "DHL 7",
        }

    def test_a_page_has_defaults(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.list_orders"] = {"orders": [], "nextCursor": None}

        client.get("/api/v1/orders")

        filters = ("cursor", "status", "user_id", "seller_id", "item", "since", "until", "text")
        assert services.calls[0][2] == {"limit": 50} | dict.fromkeys(filters)

    @pytest.mark.parametrize(
        "time",
        ["yesterday", "2026-01-31", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00%2B01:00"],
    )
    def test_a_time_has_its_zone(self, client: FlaskClient, services: FakeServices, time: str) -> None:
        response = client.get(f"/api/v1/orders?since={time}")

        assert (response.status_code, response.get_json()["errors"][0]["parameter"]) == (422, "since")
        assert services.calls == []

    def test_who_has_it_already_gets_no_body(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = ORDER
        etag = client.get(f"/api/v1/orders/{ORDER_ID}").headers["ETag"]

        again = client.get(f"/api/v1/orders/{ORDER_ID}", headers={"If-None-Match": etag})
        services.answers["order_service.get_order"] = ORDER | {"status": "RESERVED"}
        changed = client.get(f"/api/v1/orders/{ORDER_ID}", headers={"If-None-Match": etag})

        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
        assert (changed.status_code, changed.get_json()["status"]) == (200, "RESERVED")

    def test_payment_and_reservation_are_shown_in_full(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = ORDER | {"payment": None, "reservation": {"state": "HELD"}}
        services.answers["payment_service.get_payment"] = {"id": "p", "attempts": []}
        services.answers["inventory_service.get_reservation"] = ReservationNotFound("none yet")

        order = client.get(f"/api/v1/orders/{ORDER_ID}?expand=payment,reservation").get_json()

        # What does not exist yet stays what the order was told.
        assert (order["payment"], order["reservation"]) == ({"id": "p", "attempts": []}, {"state": "HELD"})
        assert ("payment_service", "get_payment", {"order_id": ORDER_ID}) in services.calls
        assert ("inventory_service", "get_reservation", {"reservation_id": ORDER_ID}) in services.calls
        assert len(set(services.callers)) == 1

    def test_what_cannot_be_asked_is_not_left_out_silently(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = ORDER
        services.answers["payment_service.get_payment"] = ServiceUnavailable("not running")

        assert client.get(f"/api/v1/orders/{ORDER_ID}?expand=payment").status_code == 503

    @pytest.mark.parametrize("expand", ["", "items", "payment,", "payment,payment", "Payment"])
    def test_nothing_else_can_be_shown_in_full(self, client: FlaskClient, services: FakeServices, expand: str) -> None:
        assert client.get(f"/api/v1/orders/{ORDER_ID}?expand={expand}").status_code == 422
        assert services.calls == []


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
        services.answers["inventory_service.get_product"] = PRODUCT | {"version": 3}

        response = client.get("/api/v1/products/mug")

        assert response.get_json() == PRODUCT | {"version": 3}
        assert response.headers["ETag"].startswith('"3-')
        assert services.calls == [("inventory_service", "get_product", {"item": "mug"})]

    @pytest.mark.parametrize("item", ["x" * 65, "a%20b", "a%00", "%C3%A9", "a%0A"])
    def test_what_is_no_item_id_is_no_product(self, client: FlaskClient, services: FakeServices, item: str) -> None:
        response = client.get(f"/api/v1/products/{item}")

        assert (response.status_code, response.get_json()["code"]) == (404, "product_not_found")
        assert services.calls == []

    def test_listing(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.list_products"] = {"products": [PRODUCT], "nextCursor": None}

        assert client.get("/api/v1/products?limit=100").get_json()["products"] == [PRODUCT]
        expected = {"limit": 100, "cursor": None, "text": None, "seller_id": None, "active": "true"}
        assert services.calls[0][2] == expected

    def test_searching(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.list_products"] = {"products": [], "nextCursor": None}

        client.get("/api/v1/products?text=big%20mug&sellerId=s1&active=any&cursor=mug")

        expected = {"limit": 50, "cursor": "mug", "text": "big mug", "seller_id": "s1", "active": "any"}
        assert services.calls[0][2] == expected


class TestChangeProduct:
    @pytest.mark.parametrize(
        ("if_match", "versions"),
        [
            ('"3-0123456789abcdef"', [3]),
            ('"3"', [3]),
            ('"3", "5-0123456789abcdef"', [3, 5]),
            ("*", None),
            ('"of somebody else"', []),
            # A weak tag does not promise that nothing has changed.
            ('W/"3-0123456789abcdef"', []),
        ],
    )
    def test_says_which_version_is_meant(
        self, client: FlaskClient, services: FakeServices, if_match: str, versions: list[int] | None
    ) -> None:
        services.answers["inventory_service.update_product"] = PRODUCT | {"version": 4}
        headers = {"If-Match": if_match, "X-Request-Id": "r"}

        response = client.patch("/api/v1/products/mug", json={"price": "9.5"}, headers=headers)

        assert (response.status_code, response.get_json()["version"]) == (200, 4)
        assert response.headers["ETag"].startswith('"4-')
        expected = {"item": "mug", "changes": {"price": "9.50"}, "versions": versions, "correlation_id": "r"}
        assert services.calls == [("inventory_service", "update_product", expected)]

    def test_without_a_version_nothing_is_changed(self, client: FlaskClient, services: FakeServices) -> None:
        response = client.patch("/api/v1/products/mug", json={"price": "9.50"})

        assert (response.status_code, response.get_json()["code"]) == (428, "precondition_required")
        assert services.calls == []

    def test_says_when_somebody_was_faster(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["inventory_service.update_product"] = PreconditionFailed("changed", {"version": 4})

        response = client.patch("/api/v1/products/mug", json={"active": False}, headers={"If-Match": '"3"'})

        body = response.get_json()
        assert (response.status_code, body["code"], body["version"]) == (412, "precondition_failed", 4)

    @pytest.mark.parametrize(
        ("changes", "pointer"), [({}, "#"), ({"price": 9.5}, "#/price"), ({"onHand": 1}, "#/onHand"), ([], "#")]
    )
    def test_bad_changes_are_refused(
        self, client: FlaskClient, services: FakeServices, changes: Any, pointer: str
    ) -> None:
        response = client.patch("/api/v1/products/mug", json=changes, headers={"If-Match": "*"})

        assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, pointer)
        assert services.calls == []


class TestCancelOrder:
    def test_leaves_it_to_the_order_service_who_asks(self, client: FlaskClient, services: FakeServices) -> None:
        cancelled = ORDER | {"status": "CANCELLED", "reason": "customer"}
        services.answers["order_service.cancel_order"] = {"order": cancelled, "replayed": False}

        response = client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={}, headers=KEY)

        assert (response.status_code, response.get_json()["reason"]) == (202, "customer")
        assert response.headers["Location"] == f"/api/v1/orders/{ORDER_ID}"
        asked = services.calls[0][2]
        assert (asked["order_id"], asked["by"], asked["idempotency_key"]) == (ORDER_ID, None, "checkout-1")

    def test_says_when_it_is_too_late(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.cancel_order"] = OrderNotCancellable("shipped", {"status": "FULFILLED"})

        response = client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={"by": "seller"}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (409, "order_not_cancellable")

    def test_nobody_else_may_ask(self, client: FlaskClient) -> None:
        assert client.post(f"/api/v1/orders/{ORDER_ID}/cancel", json={"by": "refunded"}).status_code == 422
        assert client.post("/api/v1/orders/42/cancel", json={}, headers=KEY).status_code == 404


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

    def test_asked_by_many_the_services_are_asked_once(self, client: FlaskClient, services: FakeServices) -> None:
        self.all_up(services)

        assert [client.get("/health/ready").status_code for _ in range(20)] == [200] * 20
        assert len(services.calls) == 3


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
        "patch /api/v1/products/{item}",
        "post /api/v1/carts",
        "get /api/v1/carts/{cart_id}",
        "put /api/v1/carts/{cart_id}/items/{item}",
        "delete /api/v1/carts/{cart_id}/items/{item}",
        "post /api/v1/payments",
        "get /api/v1/inventory",
        "get /api/v1/inventory/{item}/movements",
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


UNKEYED = {
    "post /api/v1/psp/webhooks",
    "post /api/v1/auth/token",
    "post /api/v1/admin/chaos",
    "post /api/v1/admin/redrives/dry-run",
    "post /api/v1/admin/redrives/{redrive_id}/advance",
}
"""What their senders cannot repeat by a key: webhooks have ids of their own, a login and a dry run change nothing, a
chaos switch is one for its kind and target, and a step of a redrive begins where the last one ended.
"""


def test_every_post_that_changes_something_needs_a_key(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    posts = {f"post {path}" for path, verbs in document["paths"].items() if "post" in verbs}

    keyed = {
        f"{verb} {path}"
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if verb != "parameters"
        for parameter in operation.get("parameters", ())
        if parameter.get("name") == "Idempotency-Key" and parameter["required"]
    }
    assert keyed == posts - UNKEYED


def test_openapi_shows_the_body_of_a_webhook(client: FlaskClient) -> None:
    operation = client.get("/openapi.json").get_json()["paths"]["/api/v1/psp/webhooks"]["post"]

    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Webhook")
    assert operation["parameters"][0]["name"] == "PSP-Signature"
