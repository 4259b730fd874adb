"""Every error becomes one problem document with a stable code, a request id and nothing internal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.login import client_of

from gateway.problems import STATUS_BY_CODE, field_errors
from gateway.services import CallTimedOut, ReplyLost, ServiceFailed, ServiceUnavailable
from shared import errors

ORDER = {"userId": "anna", "items": [{"item": "mug", "quantity": 2}]}
KEY = {"Idempotency-Key": "k"}

NOT_FOR_CLIENTS = {
    "permanent_error",
    "method_not_found",
    "undecodable",
    "invalid_envelope",
    "unknown_schema_version",
    "invalid_payload",
    "older_than_horizon",
    "broken_rule",
    "chaos_error",
    "chaos_refusal",
    "retries_exhausted",
    "misconfigured",
    "topology_missing",
}


class FailingServices:
    def __init__(self) -> None:
        self.error: Exception = AssertionError("no error chosen")

    def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
        raise self.error


@pytest.fixture
def services() -> FailingServices:
    return FailingServices()


@pytest.fixture
def client(services: FailingServices) -> FlaskClient:
    return client_of(services)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("bad", {"errors": {}}), 422),
        (errors.UnknownItem("no such item", {"items": ["mug"]}), 422),
        (errors.MixedSellers("two sellers", {"sellerIds": ["a", "b"]}), 422),
        (errors.MixedCurrencies("two currencies"), 422),
        (errors.IdempotencyKeyReused("other payload"), 422),
        (errors.PriceMismatch("changed", {"price": "11.00", "currency": "EUR"}), 409),
        (errors.IdempotencyKeyInProgress("running"), 409),
        (errors.ProductExists("exists"), 409),
        (errors.OrderNotFound("no order"), 404),
        (errors.ProductNotFound("no product"), 404),
        (ServiceUnavailable("not running"), 503),
    ],
)
def test_a_known_error_keeps_code_message_and_details(
    client: FlaskClient, services: FailingServices, error: errors.OrderSagaError, status: int
) -> None:
    services.error = error

    response = client.post("/api/v1/orders", json=ORDER, headers=KEY | {"X-Request-Id": "req-1"})

    body = response.get_json()
    assert response.status_code == body["status"] == status
    assert response.content_type == "application/problem+json"
    assert body["code"] == error.code
    assert body["type"] == f"urn:ordersaga:problem:{error.code}"
    assert body["detail"] == error.message
    assert body["requestId"] == response.headers["X-Request-Id"] == "req-1"
    assert body["title"]
    for name in set(error.details) - {"errors"}:
        assert body[name] == error.details[name]


@pytest.mark.parametrize("kind", [errors.DatabaseUnavailable, errors.BrokerUnavailable, errors.TransientError])
def test_what_a_driver_says_about_trouble_is_not_for_clients(
    client: FlaskClient, services: FailingServices, kind: type[errors.OrderSagaError]
) -> None:
    services.error = kind("connection to 10.0.0.7 as postgres failed", {"statement": "select secret"})

    response = client.get("/api/v1/products/mug")

    body = response.get_json()
    assert (response.status_code, body["code"]) == (503, kind.code)
    assert body["detail"] == "It may work again in a moment."
    assert set(body) == {"type", "title", "status", "detail", "code", "requestId"}


@pytest.mark.parametrize("code", sorted(cls.code for cls in errors.ERRORS_BY_NAME.values()))
def test_every_code_of_the_tree_has_a_status_or_is_internal(code: str) -> None:
    assert (code in STATUS_BY_CODE) != (code in NOT_FOR_CLIENTS)


@pytest.mark.parametrize(
    "error",
    [
        ServiceFailed("The service failed", {"exc_type": "ProgrammingError", "value": "SELECT secret"}),
        errors.BrokenRule("secret"),
        errors.MethodNotFound("secret"),
        RuntimeError("secret"),
        KeyError("secret"),
    ],
)
def test_what_is_not_for_clients_is_an_internal_error(
    client: FlaskClient, services: FailingServices, error: Exception
) -> None:
    services.error = error

    response = client.get("/api/v1/products/mug")

    assert (response.status_code, response.get_json()["code"]) == (500, "internal_error")
    assert "secret" not in response.get_data(as_text=True)
    assert response.get_json()["requestId"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize("answer", [None, [], {}, {"order": {}}])
def test_a_service_that_answers_nonsense_is_an_internal_error(answer: Any) -> None:
    class Confused:
        def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
            return answer

    client = client_of(Confused())

    assert client.post("/api/v1/orders", json=ORDER, headers=KEY).status_code == 500


@pytest.mark.parametrize(("verb", "place"), [("get", "parameter"), ("post", "pointer")])
def test_what_a_service_finds_wrong_is_shown_at_its_place(
    client: FlaskClient, services: FailingServices, verb: str, place: str
) -> None:
    services.error = errors.InvalidRequest("not valid", {"errors": {"cursor": ["Not one of ours."]}})

    body = client.open("/api/v1/orders", method=verb, json=ORDER if verb == "post" else None, headers=KEY)

    [error] = body.get_json()["errors"]
    assert error == {place: "cursor" if place == "parameter" else "#/cursor", "detail": "Not one of ours."}


class TestUnknownOutcome:
    @pytest.mark.parametrize("error", [CallTimedOut("late"), ReplyLost("gone")])
    def test_of_a_write_asks_for_a_repetition_with_the_same_key(
        self, client: FlaskClient, services: FailingServices, error: Exception
    ) -> None:
        services.error = error

        response = client.post("/api/v1/orders", json=ORDER, headers=KEY)

        body = response.get_json()
        assert (response.status_code, body["code"]) == (504, "outcome_unknown")
        assert "same Idempotency-Key" in body["detail"]
        assert response.headers["Retry-After"] == "1"

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [(CallTimedOut("late"), 504, "service_timeout"), (ReplyLost("gone"), 503, "reply_lost")],
    )
    def test_of_a_read_is_a_plain_failure(
        self, client: FlaskClient, services: FailingServices, error: Exception, status: int, code: str
    ) -> None:
        services.error = error

        response = client.get("/api/v1/orders")

        assert (response.status_code, response.get_json()["code"]) == (status, code)
        assert response.headers["Retry-After"] == "1"


class TestHttpErrors:
    def test_unknown_path(self, client: FlaskClient) -> None:
        response = client.get("/nope")

        assert (response.status_code, response.get_json()["code"]) == (404, "not_found")
        assert response.content_type == "application/problem+json"

    def test_wrong_method_names_the_right_ones(self, client: FlaskClient) -> None:
        response = client.delete("/api/v1/orders")

        assert (response.status_code, response.get_json()["code"]) == (405, "method_not_allowed")
        assert "POST" in response.headers["Allow"]

    def test_body_too_large(self, client: FlaskClient) -> None:
        body = b'{"userId": "' + b"x" * 256 * 1024 + b'"}'

        response = client.post("/api/v1/orders", data=body, content_type="application/json", headers=KEY)

        assert (response.status_code, response.get_json()["code"]) == (413, "payload_too_large")

    def test_body_too_large_that_comes_in_chunks(self, client: FlaskClient) -> None:
        body = io.BytesIO(b'{"userId": "' + b"x" * 256 * 1024 + b'"}')

        response = client.post(
            "/api/v1/orders",
            input_stream=body,
            environ_overrides={"wsgi.input_terminated": True},
            content_type="application/json",
            headers=KEY,
        )

        assert (response.status_code, response.get_json()["code"]) == (413, "payload_too_large")


class TestRequestId:
    @pytest.mark.parametrize("offered", ["a", "A.b_c-9" * 9])
    def test_a_good_one_is_kept(self, client: FlaskClient, offered: str) -> None:
        response = client.get("/nope", headers={"X-Request-Id": offered})

        assert response.headers["X-Request-Id"] == offered

    @pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "<script>", "\xe9", "a;b"])
    def test_a_bad_one_is_replaced(self, client: FlaskClient, offered: str) -> None:
        response = client.get("/nope", headers={"X-Request-Id": offered})

        assert response.headers["X-Request-Id"] != offered
        assert len(response.headers["X-Request-Id"]) == 36


class TestFieldErrors:
    def test_nested_messages_become_pointers(self) -> None:
        messages = {"items": {0: {"quantity": ["Too many."]}}, "_schema": ["Odd."], "a/b~c": ["No."]}

        assert field_errors(messages) == [
            {"pointer": "#/items/0/quantity", "detail": "Too many."},
            {"pointer": "#", "detail": "Odd."},
            {"pointer": "#/a~1b~0c", "detail": "No."},
        ]

    def test_what_a_client_sent_is_bounded(self) -> None:
        found = field_errors({f"{number}" + "x" * 10_000: ["Unknown field."] for number in range(1_000)})

        assert len(found) == 50
        assert all(len(error["pointer"]) < 80 for error in found)

    def test_names_that_are_not_text_are_escaped(self) -> None:
        assert field_errors({"\ud800\n<": ["No."]}) == [{"pointer": "#/%3F%0A%3C", "detail": "No."}]
