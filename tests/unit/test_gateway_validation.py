"""What the gateway refuses by itself, with the place of each mistake; the services are never asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.login import client_of

KEY = {"Idempotency-Key": "k"}
PRODUCT = {
    "item": "mug",
    "name": "Mug",
    "sellerId": "s",
    "price": "10.00",
    "currency": "EUR",
    "onHand": 5,
}


class ServicesThatMustNotBeAsked:
    def call(self, service: str, method: str, timeout_s: float | None = None, **kwargs: Any) -> Any:
        raise AssertionError(f"{service}.{method} was asked")


@pytest.fixture
def client() -> FlaskClient:
    return client_of(ServicesThatMustNotBeAsked())


def new_order(**changes: Any) -> dict[str, Any]:
    return {"userId": "anna", "items": [{"item": "mug", "quantity": 2}]} | changes


def one_line(**changes: Any) -> dict[str, Any]:
    return new_order(items=[{"item": "mug", "quantity": 1} | changes])


def address(**changes: Any) -> dict[str, Any]:
    good = {"name": "A", "line1": "B", "city": "C", "postalCode": "1", "country": "DE"}
    return new_order(shippingAddress=good | changes)


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({"userId": "anna"}, "#"),
        (new_order(cartId="0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e"), "#"),
        ({"cartId": "mine"}, "#/cartId"),
        (new_order(userId=""), "#/userId"),
        (new_order(userId=7), "#/userId"),
        (new_order(userId=None), "#/userId"),
        (new_order(userId="x" * 65), "#/userId"),
        (new_order(userId="a\x00b"), "#/userId"),
        (new_order(userId="a\ud800b"), "#/userId"),
        (new_order(items=[]), "#/items"),
        (new_order(items="mug"), "#/items"),
        (new_order(items=["mug"]), "#/items/0"),
        (new_order(items=[{"item": "mug", "quantity": 1}] * 101), "#/items"),
        (one_line(item=""), "#/items/0/item"),
        (one_line(item="a b"), "#/items/0/item"),
        (one_line(item="a\n"), "#/items/0/item"),
        (one_line(item="x" * 65), "#/items/0/item"),
        (one_line(item=5), "#/items/0/item"),
        (one_line(quantity=0), "#/items/0/quantity"),
        (one_line(quantity=-1), "#/items/0/quantity"),
        (one_line(quantity=1001), "#/items/0/quantity"),
        (one_line(quantity=1.5), "#/items/0/quantity"),
        (one_line(quantity="1"), "#/items/0/quantity"),
        (one_line(quantity=True), "#/items/0/quantity"),
        (one_line(quantity=10**400), "#/items/0/quantity"),
        (one_line(price="1.00"), "#/items/0/price"),
        (new_order(paymentMethod="x" * 65), "#/paymentMethod"),
        (new_order(paymentMethod="4000 0000 0000 9995"), "#/paymentMethod"),
        (new_order(paymentMode="later"), "#/paymentMode"),
        (new_order(paymentMode=["auto"]), "#/paymentMode"),
        (new_order(currency="eur"), "#/currency"),
        (new_order(currency="EUR\n"), "#/currency"),
        (new_order(shippingAddress="here"), "#/shippingAddress"),
        (new_order(shippingAddress=None), "#/shippingAddress"),
        (address(country="Germany"), "#/shippingAddress/country"),
        (address(city="x" * 101), "#/shippingAddress/city"),
        (address(line2="\x00"), "#/shippingAddress/line2"),
        (address(planet="Mars"), "#/shippingAddress/planet"),
        (new_order(coupon="X"), "#/coupon"),
        (new_order(id="1"), "#/id"),
    ],
)
def test_a_bad_order_is_refused_at_its_place(client: FlaskClient, order: dict[str, Any], pointer: str) -> None:
    response = client.post("/api/v1/orders", json=order, headers=KEY)

    body = response.get_json()
    assert (response.status_code, body["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert all(error["detail"] for error in body["errors"])


@pytest.mark.parametrize(
    "price",
    [
        "0",
        "0.00",
        "-1",
        "+1",
        "1.001",
        "1e2",
        "1E400",
        "NaN",
        "Infinity",
        "",
        " 1",
        "1 ",
        "1\n",
        "01",
        ".5",
        "1.",
        "1,00",
        "10000000",
        "9" * 5000,
        "\u0661",
        10,
        10.0,
        1e400,
        True,
        None,
        [],
        {},
    ],
)
def test_money_is_a_positive_bounded_decimal_string(client: FlaskClient, price: Any) -> None:
    # 1e400 is written as a literal, for Python would write Infinity
    body = json.dumps(PRODUCT | {"price": price}).replace("Infinity,", "1e400,")

    response = client.post("/api/v1/products", data=body, content_type="application/json", headers=KEY)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.get_json()["errors"]] == ["#/price"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"onHand": -1}, "#/onHand"),
        ({"onHand": 1_000_000_001}, "#/onHand"),
        ({"onHand": None}, "#/onHand"),
        ({"requiresApproval": "yes"}, "#/requiresApproval"),
        ({"requiresApproval": 1}, "#/requiresApproval"),
        ({"name": "x" * 201}, "#/name"),
        ({"sellerId": ""}, "#/sellerId"),
        ({"item": "a/b"}, "#/item"),
        ({"reserved": 3}, "#/reserved"),
    ],
)
def test_a_bad_product_is_refused_at_its_place(client: FlaskClient, changes: dict[str, Any], pointer: str) -> None:
    response = client.post("/api/v1/products", json=PRODUCT | changes, headers=KEY)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=", "cursor"),
        ("cursor=a%20b", "cursor"),
        ("cursor=" + "a" * 513, "cursor"),
        ("status=pending", "status"),
        ("userId=%00", "userId"),
        ("user=anna", "user"),
    ],
)
def test_a_bad_query_is_refused_by_parameter(client: FlaskClient, query: str, parameter: str) -> None:
    response = client.get(f"/api/v1/orders?{query}")

    assert response.status_code == 422
    assert [error["parameter"] for error in response.get_json()["errors"]] == [parameter]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'userId': 1}",
        b'{"userId": "a", "userId": "b"}',
        b'{"price": NaN}',
        b'{"price": -Infinity}',
        b'{"userId": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"userId": "a\nb"}',
        b'{"quantity": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"[" * 40 + b"]" * 40,
        b'{"items": [' + b"{}," * 2_000 + b"{}]}",
        b"{" + b",".join(b'"%d": 1' % number for number in range(2_000)) + b"}",
    ],
)
def test_what_is_not_strict_json_is_refused(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/v1/orders", data=body, content_type="application/json", headers=KEY)

    assert (response.status_code, response.get_json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("path", ["orders", "carts"])
def test_too_many_lines_are_counted_and_not_looked_at(client: FlaskClient, path: str) -> None:
    response = client.post(f"/api/v1/{path}", json={"items": [{"wrong": 1}] * 101}, headers=KEY)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.get_json()["errors"]] == ["#/items"]


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"'])
def test_json_that_is_no_object_is_invalid(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/v1/orders", data=body, content_type="application/json", headers=KEY)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.get_json()["errors"]] == ["#"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_not_declared_as_plain_json_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    response = client.post("/api/v1/orders", data=json.dumps(new_order()), headers=KEY | headers)

    assert (response.status_code, response.get_json()["code"]) == (415, "unsupported_media_type")
