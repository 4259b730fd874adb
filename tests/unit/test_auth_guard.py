"""Before each request: closed unless said otherwise, and which answer says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from harness.login import ADMIN, EVERYBODY, SELLER, USER, authentication, bearer, client_of, token
from harness.services import FakeServices
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access import access_of, allow, caller, public
from gateway.app import create_app
from gateway.settings import HttpSettings
from shared.identity import ANONYMOUS, Identity, Role

ORDERS = "/api/v1/orders"


def view() -> Callable[[], Response]:
    """Each declares something else about itself."""
    return lambda: Response(f"{caller().subject} {','.join(sorted(caller().roles))} {caller().seller_id}")


def app_with_views() -> Flask:
    app = create_app(HttpSettings(), FakeServices(), authentication())
    app.add_url_rule("/t/open", "open", public(view()), methods=["GET", "POST"])
    app.add_url_rule("/t/users", "users", allow(Role.USER)(view()), methods=["GET", "POST"])
    app.add_url_rule("/t/staff", "staff", allow(Role.SELLER, Role.ADMIN)(view()))
    app.add_url_rule("/t/forgotten", "forgotten", view())
    return app


@pytest.fixture(scope="module")
def app() -> Flask:
    return app_with_views()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_every_endpoint_of_the_gateway_says_who_may_use_it(app: Flask) -> None:
    closed = {
        rule.endpoint for rule in app.url_map.iter_rules() if access_of(app.view_functions[rule.endpoint]) is None
    }

    assert closed == {"forgotten"}


def test_an_endpoint_that_does_not_say_it_is_served_to_nobody(client: FlaskClient) -> None:
    for headers in ({}, bearer(EVERYBODY)):
        response = client.get("/t/forgotten", headers=headers)
        assert (response.status_code, response.get_json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("identity", "path", "status"),
    [
        (USER, "/t/users", 200),
        (SELLER, "/t/users", 403),
        (ADMIN, "/t/users", 403),
        (USER, "/t/staff", 403),
        (SELLER, "/t/staff", 200),
        (ADMIN, "/t/staff", 200),
        (EVERYBODY, "/t/staff", 200),
        (Identity(subject="nobody"), "/t/users", 403),
        (Identity(subject="nobody"), "/t/open", 200),
    ],
)
def test_roles(client: FlaskClient, identity: Identity, path: str, status: int) -> None:
    assert client.get(path, headers=bearer(identity)).status_code == status


def test_who_asks_is_known_to_the_view(client: FlaskClient) -> None:
    assert client.get("/t/staff", headers=bearer(SELLER)).text == "sam SELLER s1"


def test_a_missing_role_is_named(client: FlaskClient) -> None:
    body = client.get("/t/staff", headers=bearer(USER)).get_json()

    assert (body["code"], body["roles"]) == ("forbidden", ["ADMIN", "SELLER"])
    assert body["detail"] == "This needs the role ADMIN or SELLER"


def test_without_a_token_one_is_asked_for(client: FlaskClient) -> None:
    for headers in ({}, {"Authorization": ""}):
        response = client.get(ORDERS, headers=headers)
        body = response.get_json()
        assert (response.status_code, body["code"]) == (401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="ordersaga"'
        assert response.content_type == "application/problem+json"
        assert body["requestId"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_in_any_case(client: FlaskClient, scheme: str) -> None:
    assert client.get("/t/users", headers={"Authorization": f"{scheme}  {token(USER)}"}).status_code == 200


GOOD = token(USER)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        f"Bearer{GOOD}",
        f"Bearer\t{GOOD}",
        f"Bearer {GOOD} {GOOD}",
        f"Bearer {GOOD},",
        f"Bearer {GOOD}, Bearer {GOOD}",
        f"Bearer {GOOD};",
        f'Bearer "{GOOD}"',
        f"Bearer token={GOOD}",
        f"Basic {GOOD}",
        "Basic dXNlcjpwYXNz",
        f"Token {GOOD}",
        GOOD,
        f"\u017fearer {GOOD}".encode().decode("latin-1"),
        f"Bearer {GOOD[:-9]}é".encode().decode("latin-1"),
        "Bearer " + "x" * 100_000,
        "Bearer " + ".".join(["x" * 2_000] * 3),
    ],
)
def test_a_header_that_proves_nothing(client: FlaskClient, header: str) -> None:
    response = client.get("/t/users", headers={"Authorization": header})

    assert (response.status_code, response.get_json()["code"]) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="ordersaga", error="invalid_token"')


def test_two_headers_are_one_too_many(client: FlaskClient) -> None:
    headers = [("Authorization", f"Bearer {token(USER)}"), ("Authorization", f"Bearer {token(ADMIN)}")]

    assert client.get("/t/users", headers=headers).status_code == 401


def test_a_token_anywhere_else_is_none(client: FlaskClient) -> None:
    assert client.get(f"/t/users?access_token={GOOD}").status_code == 401
    assert client.post("/t/users", data={"access_token": GOOD}).status_code == 401
    client.set_cookie("access_token", GOOD)
    assert client.get("/t/users").status_code == 401


def test_an_expired_token_says_so(client: FlaskClient) -> None:
    response = client.get("/t/users", headers={"Authorization": f"Bearer {token(USER, ttl_s=-60)}"})

    assert (response.status_code, response.get_json()["detail"]) == (401, "The token has expired")
    assert 'error_description="The token has expired"' in response.headers["WWW-Authenticate"]


class TestPublicEndpoints:
    def test_ask_for_nothing(self, client: FlaskClient) -> None:
        assert client.get("/t/open").text.startswith(ANONYMOUS.subject)

    @pytest.mark.parametrize("header", ["Bearer x", "Basic x", "", "Bearer a.b.c", f"Bearer {token(USER, ttl_s=-60)}"])
    def test_ignore_a_bad_token(self, client: FlaskClient, header: str) -> None:
        assert client.get("/t/open", headers={"Authorization": header}).text.startswith(ANONYMOUS.subject)

    def test_know_who_asks_if_the_token_is_good(self, client: FlaskClient) -> None:
        assert client.get("/t/open", headers=bearer(USER)).text.startswith("anna")


@pytest.mark.parametrize("headers", [{}, bearer(USER), {"Authorization": "Bearer x"}])
class TestWhatIsNotThere:
    def test_is_404(self, client: FlaskClient, headers: dict[str, str]) -> None:
        for path in ("/nope", "/api/v1/orders/1/2/3", "/api/v2/orders"):
            response = client.get(path, headers=headers)
            assert (response.status_code, response.get_json()["code"]) == (404, "not_found")

    def test_a_wrong_method_is_405(self, client: FlaskClient, headers: dict[str, str]) -> None:
        response = client.delete(ORDERS, headers=headers)
        assert (response.status_code, response.get_json()["code"]) == (405, "method_not_allowed")
        assert "POST" in response.headers["Allow"]


def test_options_are_told_to_everybody(client: FlaskClient) -> None:
    response = client.options(ORDERS)

    assert (response.status_code, response.data) == (200, b"")
    assert "POST" in response.headers["Allow"]


def test_head_is_guarded_like_get(client: FlaskClient) -> None:
    assert client.head("/t/users").status_code == 401
    assert client.head("/t/users", headers=bearer(USER)).status_code == 200


def test_services_are_not_asked_for_somebody_unknown() -> None:
    services = FakeServices()
    client = client_of(services, None)
    calls: list[Any] = [
        client.get(ORDERS),
        client.post(ORDERS, json={}, headers={"Idempotency-Key": "k"}),
        client.get("/api/v1/products"),
        client.post("/api/v1/inventory/adjust", data="{"),
    ]

    assert [response.status_code for response in calls] == [401] * 4
    assert services.calls == []


def test_a_gateway_without_a_login_is_closed() -> None:
    client = create_app(HttpSettings(), FakeServices()).test_client()

    assert client.get(ORDERS, headers=bearer(EVERYBODY)).status_code == 401
    user = {"username": "user@ordersaga.example", "password": "User1234!"}
    assert client.post("/api/v1/auth/token", json=user).status_code == 401


def test_the_document_says_how_to_log_in(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()

    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    login = document["paths"]["/api/v1/auth/token"]["post"]
    assert login["security"] == []
    assert {"200", "401", "422", "429", "503"} <= set(login["responses"])
    assert "/.well-known/jwks.json" in document["paths"]
    assert document["paths"][ORDERS]["post"]["security"] == [{"bearer": []}]


_APP = app_with_views()


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=300))
def test_whatever_the_header_says_it_opens_nothing(text: str) -> None:
    client = _APP.test_client()
    for header in (text, f"Bearer {text}"):
        response = client.get("/t/users", headers={"Authorization": header})
        assert response.status_code == 401
