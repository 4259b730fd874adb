"""Payments and the provider's webhooks: what is asked of the payment service, and what the client gets."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from gateway.services import ServiceUnavailable
from shared.errors import (
    InvalidSignature,
    OrderNotFound,
    OrderSagaError,
    PaymentExpired,
    PaymentInProgress,
    PaymentNotFound,
    PaymentNotPayable,
    PaymentNotReady,
    PaymentNotRefundable,
    RefundTooLarge,
)

PAYMENT_ID = "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"
ORDER_ID = "0190b4e2-1111-7c51-9d1e-3f6a1b2c4d5e"
PLACE = f"/api/v1/payments/{PAYMENT_ID}"
PAYMENT = {"id": PAYMENT_ID, "status": "PENDING", "amount": "20.00", "currency": "EUR"}
REFUND = {"id": "0190b4e2-0000-7c51-9d1e-3f6a1b2c4d5e", "amount": "5.00", "status": "PENDING", "reason": "requested"}
KEY = {"Idempotency-Key": "k-1", "X-Request-Id": "req-1"}
SIGNED = {"PSP-Signature": "t=1767268800,v1=" + "0f" * 32, "Content-Type": "application/json"}


class TestLookAtPayments:
    def test_a_payment_passes_through_unchanged(self, client: FlaskClient, services: FakeServices) -> None:
        payment = PAYMENT | {"attempts": [{"kind": "CHARGE"}], "refunds": []}
        services.answers["payment_service.get_payment"] = payment

        response = client.get(f"/api/v1/payments/{PAYMENT_ID.upper()}")

        assert (response.status_code, response.get_json()) == (200, payment)
        assert services.calls == [("payment_service", "get_payment", {"payment_id": PAYMENT_ID})]

    def test_an_unknown_one_is_not_found(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.get_payment"] = PaymentNotFound("no such payment")

        assert client.get(PLACE).get_json()["code"] == "payment_not_found"


class TestConfirm:
    def test_is_accepted_with_the_place_to_look_at(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.confirm_payment"] = {"payment": PAYMENT, "replayed": True}

        response = client.post(f"{PLACE}/confirm", json={"paymentMethod": "tok_success"}, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, PAYMENT)
        assert response.headers["Location"] == PLACE
        assert response.headers["Idempotent-Replayed"] == "true"
        [(service, method, asked)] = services.calls
        assert (service, method) == ("payment_service", "confirm_payment")
        assert asked == {
            "payment_id": PAYMENT_ID,
            "payment_method": "tok_success",
            "idempotency_key": "k-1",
            "correlation_id": "req-1",
        }

    @pytest.mark.parametrize(
        "error",
        [
            PaymentNotPayable("paid already", {"status": 7}),
            PaymentExpired("too late", {"expiresAt": "2026-01-01T12:00:00.000000Z"}),
            PaymentInProgress("wait"),
        ],
    )
    def test_says_why_not(self, client: FlaskClient, services: FakeServices, error: OrderSagaError) -> None:
        services.answers["payment_service.confirm_payment"] = error

        response = client.post(f"{PLACE}/confirm", json={"paymentMethod": "tok_success"}, headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (409, error.code)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "#/paymentMethod"),
            ({"paymentMethod": ""}, "#/paymentMethod"),
            ({"paymentMethod": "x" * 65}, "#/paymentMethod"),
            ({"paymentMethod": 4242424242424242}, "#/paymentMethod"),
            ({"paymentMethod": None}, "#/paymentMethod"),
            ({"paymentMethod": "4242424242424242"}, "#/paymentMethod"),
            ({"paymentMethod": " 4242 4242-4242.4242 "}, "#/paymentMethod"),
            ({"paymentMethod": "tok_success", "cardNumber": "4242424242424242"}, "#/cardNumber"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(f"{PLACE}/confirm", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert "4242" not in response.get_data(as_text=True)
        assert services.calls == []


class TestRefund:
    @pytest.mark.parametrize(
        ("body", "asked_for"),
        [
            ({}, {}),
            ({"amount": "5"}, {"amount": "5.00"}),
            ({"amount": "5.5", "reason": "late"}, {"amount": "5.50", "reason": "late"}),
        ],
    )
    def test_is_accepted_with_the_place_to_look_at(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], asked_for: dict[str, Any]
    ) -> None:
        services.answers["payment_service.refund_payment"] = {"refund": REFUND, "replayed": False}

        response = client.post(f"{PLACE}/refund", json=body, headers=KEY)

        assert (response.status_code, response.get_json()) == (202, REFUND)
        assert response.headers["Location"] == PLACE
        [(service, method, asked)] = services.calls
        assert (service, method) == ("payment_service", "refund_payment")
        assert asked == {"payment_id": PAYMENT_ID, "idempotency_key": "k-1", "correlation_id": "req-1", **asked_for}

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (RefundTooLarge("too much", {"refundable": "20.00", "currency": "EUR"}), 422),
            (PaymentNotRefundable("nothing taken"), 409),
        ],
    )
    def test_says_why_not(
        self, client: FlaskClient, services: FakeServices, error: OrderSagaError, status: int
    ) -> None:
        services.answers["payment_service.refund_payment"] = error

        body = client.post(f"{PLACE}/refund", json={"amount": "21.00"}, headers=KEY).get_json()

        assert (body["status"], body["code"]) == (status, error.code)
        assert all(body[name] == value for name, value in error.details.items())

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"amount": "0.00"}, "#/amount"),
            ({"amount": "-1.00"}, "#/amount"),
            ({"amount": 5}, "#/amount"),
            ({"amount": None}, "#/amount"),
            ({"reason": "x" * 201}, "#/reason"),
            ({"reason": "\x00"}, "#/reason"),
            ({"currency": "EUR"}, "#/currency"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post(f"{PLACE}/refund", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []


@pytest.mark.parametrize(("verb", "body"), [("confirm", {"paymentMethod": "tok_success"}), ("refund", {})])
def test_a_key_is_required(client: FlaskClient, services: FakeServices, verb: str, body: dict[str, Any]) -> None:
    response = client.post(f"{PLACE}/{verb}", json=body)

    assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
    assert services.calls == []


@pytest.mark.parametrize("payment_id", ["7", "nope", "%00", PAYMENT_ID + "0", PAYMENT_ID.replace("-", "")])
def test_what_is_no_uuid_is_no_payment(client: FlaskClient, services: FakeServices, payment_id: str) -> None:
    place = f"/api/v1/payments/{payment_id}"
    responses = (
        client.get(place),
        client.post(f"{place}/confirm", json={"paymentMethod": "tok_success"}, headers=KEY),
        client.post(f"{place}/refund", json={}, headers=KEY),
    )

    assert [response.get_json()["code"] for response in responses] == ["payment_not_found"] * 3
    assert services.calls == []


class TestWebhooks:
    @pytest.mark.parametrize(
        "body",
        [
            b'{"id":"evt_1", "data": {"key":"k"} }',
            '{\n\t"id": "Gr\u00fc\u00dfe \U0001f4b6"}'.encode(),
            b'{"b":1,"a":1.0,"a":2}',
            b"[]",
            b"not json at all",
            b"",
        ],
    )
    def test_the_body_is_handed_on_as_it_came(self, client: FlaskClient, services: FakeServices, body: bytes) -> None:
        """A signature covers the bytes: nothing is written anew, and nothing is judged before it is checked."""
        services.answers["payment_service.psp_webhook"] = {"applied": True}

        response = client.post("/api/v1/psp/webhooks", data=body, headers=SIGNED)

        assert (response.status_code, response.get_json()) == (200, {"applied": True})
        [(service, method, asked)] = services.calls
        assert (service, method) == ("payment_service", "psp_webhook")
        assert asked == {"body": body.decode(), "signature": SIGNED["PSP-Signature"]}

    @pytest.mark.parametrize("body", [b'{"id":"a\x00"}', b"\xff"])
    def test_bytes_that_no_text_has_are_refused(self, client: FlaskClient, services: FakeServices, body: bytes) -> None:
        response = client.post("/api/v1/psp/webhooks", data=body, headers=SIGNED)

        assert (response.status_code, response.get_json()["code"]) == (400, "malformed_json")
        assert services.calls == []

    def test_what_no_webhook_can_be_goes_no_further(self, client: FlaskClient, services: FakeServices) -> None:
        too_large = client.post("/api/v1/psp/webhooks", data=b" " * 65_537, headers=SIGNED)
        too_long = client.post("/api/v1/psp/webhooks", data=b"{}", headers=SIGNED | {"PSP-Signature": "t" * 1_001})

        assert (too_large.status_code, too_large.get_json()["code"]) == (413, "payload_too_large")
        assert (too_long.status_code, too_long.get_json()["code"]) == (400, "invalid_signature")
        assert services.calls == []

    def test_one_that_changes_nothing_is_a_success(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.psp_webhook"] = {"applied": False}

        response = client.post("/api/v1/psp/webhooks", data=b"{}", headers=SIGNED)

        assert (response.status_code, response.get_json()) == (200, {"applied": False})

    @pytest.mark.parametrize("signature", [None, ""])
    def test_without_a_signature_nobody_is_asked(
        self, client: FlaskClient, services: FakeServices, signature: str | None
    ) -> None:
        headers = {name: value for name, value in SIGNED.items() if name != "PSP-Signature"}
        if signature is not None:
            headers["PSP-Signature"] = signature

        response = client.post("/api/v1/psp/webhooks", data=b"{}", headers=headers)

        assert (response.status_code, response.get_json()["code"]) == (400, "invalid_signature")
        assert services.calls == []

    def test_a_wrong_signature_is_refused(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.psp_webhook"] = InvalidSignature("the signature does not match")

        response = client.post("/api/v1/psp/webhooks", data=b"{}", headers=SIGNED)

        assert (response.status_code, response.get_json()["code"]) == (400, "invalid_signature")
        assert response.content_type == "application/problem+json"

    def test_trouble_makes_the_provider_send_it_again(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.psp_webhook"] = ServiceUnavailable("not running")

        assert client.post("/api/v1/psp/webhooks", data=b"{}", headers=SIGNED).status_code == 503

    @pytest.mark.parametrize(
        ("body", "headers", "status", "code"),
        [
            (b'{"id": "\xff"}', {}, 400, "malformed_json"),
            (b"x" * (256 * 1024 + 1), {}, 413, "payload_too_large"),
            (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ],
    )
    def test_what_is_no_text_of_bearable_size_is_refused(
        self,
        client: FlaskClient,
        services: FakeServices,
        body: bytes,
        headers: dict[str, str],
        status: int,
        code: str,
    ) -> None:
        response = client.post("/api/v1/psp/webhooks", data=body, headers=SIGNED | headers)

        assert (response.status_code, response.get_json()["code"]) == (status, code)
        assert services.calls == []

    def test_the_largest_body_is_taken(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["payment_service.psp_webhook"] = {"applied": False}

        client.post("/api/v1/psp/webhooks", data=b"x" * 65_536, headers=SIGNED)

        assert len(services.calls[0][2]["body"]) == 65_536

    def test_one_too_large_that_comes_in_chunks_is_refused(self, client: FlaskClient, services: FakeServices) -> None:
        response = client.post(
            "/api/v1/psp/webhooks",
            input_stream=io.BytesIO(b"x" * 300 * 1024),
            environ_overrides={"wsgi.input_terminated": True},
            content_type="application/json",
            headers={"PSP-Signature": SIGNED["PSP-Signature"]},
        )

        assert (response.status_code, response.get_json()["code"]) == (413, "payload_too_large")
        assert services.calls == []


class TestBeginPayment:
    def test_it_is_the_one_of_the_order(self, client: FlaskClient, services: FakeServices) -> None:
        services.answers["order_service.get_order"] = {"id": ORDER_ID}
        services.answers["payment_service.create_payment"] = {"payment": PAYMENT, "replayed": False}

        response = client.post("/api/v1/payments", json={"orderId": ORDER_ID}, headers=KEY)

        assert (response.status_code, response.get_json()) == (201, PAYMENT)
        assert response.headers["Location"] == f"/api/v1/payments/{PAYMENT['id']}"
        assert [(service, method) for service, method, _ in services.calls] == [
            ("order_service", "get_order"),
            ("payment_service", "create_payment"),
        ]

    @pytest.mark.parametrize(
        ("service", "error", "status"),
        [
            ("order_service.get_order", OrderNotFound("no"), 404),
            ("payment_service.create_payment", PaymentNotReady("not yet"), 409),
        ],
    )
    def test_of_a_foreign_order_or_too_early(
        self, client: FlaskClient, services: FakeServices, service: str, error: Exception, status: int
    ) -> None:
        services.answers["order_service.get_order"] = {"id": ORDER_ID}
        services.answers[service] = error

        response = client.post("/api/v1/payments", json={"orderId": ORDER_ID}, headers=KEY)

        assert response.status_code == status
        assert ("Retry-After" in response.headers) == (status == 409)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "#/orderId"),
            ({"orderId": None}, "#/orderId"),
            ({"orderId": 7}, "#/orderId"),
            ({"orderId": ORDER_ID[:-1]}, "#/orderId"),
            ({"orderId": ORDER_ID, "amount": "20.00"}, "#/amount"),
        ],
    )
    def test_refuses_a_bad_body_at_its_place(
        self, client: FlaskClient, services: FakeServices, body: dict[str, Any], pointer: str
    ) -> None:
        response = client.post("/api/v1/payments", json=body, headers=KEY)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
        assert services.calls == []

    def test_a_key_is_required(self, client: FlaskClient, services: FakeServices) -> None:
        response = client.post("/api/v1/payments", json={"orderId": ORDER_ID})

        assert (response.status_code, response.get_json()["code"]) == (400, "idempotency_key_required")
        assert services.calls == []
