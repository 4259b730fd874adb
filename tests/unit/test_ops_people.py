"""Who sends which request in the demos."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.people import OPERATOR, People, customer, seller, sender_of
from shared.identity import Identity


@pytest.mark.parametrize(
    ("request_line", "body", "sender"),
    [
        ("POST /orders", {"userId": "cyd"}, customer("cyd")),
        ("POST /orders", {}, customer("ada")),
        ("POST /orders", {"userId": "x" * 65}, customer("ada")),
        ("POST /orders", {"userId": 7}, customer("ada")),
        ("POST /orders", [], customer("ada")),
        ("POST /orders/1/cancel", {}, customer("ada")),
        ("POST /orders/1/cancel", {"by": "seller"}, seller("seller-1")),
        ("POST /orders/1/cancel", {"by": "operator"}, OPERATOR),
        ("POST /orders/1/approve", {}, seller("seller-1")),
        ("POST /orders/1/returns", {}, seller("seller-1")),
        ("POST /payments/1/confirm", {}, customer("ada")),
        ("POST /payments/1/refund", {}, seller("seller-1")),
        ("POST /carts", {}, customer("ada")),
        ("PUT /carts/1/items/mug", {}, customer("ada")),
        ("POST /products", {"sellerId": "other"}, seller("other")),
        ("POST /products", {}, seller("seller-1")),
        ("POST /inventory/reserve", {}, seller("seller-1")),
        ("POST /psp/webhooks", {}, None),
        ("GET /orders?limit=1", None, OPERATOR),
        ("GET /carts/1", None, OPERATOR),
    ],
)
def test_each_request_comes_from_whoever_would_send_it(request_line: str, body: Any, sender: Identity | None) -> None:
    method, _, path = request_line.partition(" ")
    assert sender_of(method, path, None if body is None else json.dumps(body).encode()) == sender


def test_a_body_that_is_no_json_comes_from_the_usual_customer() -> None:
    assert sender_of("POST", "/orders", b"{") == customer("ada")


def test_a_token_is_made_once_for_each_person() -> None:
    minted: list[Identity] = []

    def mint(identity: Identity) -> str:
        minted.append(identity)
        return f"token of {identity.subject}"

    people = People(mint)
    headers = [people.headers("GET", "/orders", None) for _ in range(3)]

    assert headers == [{"Authorization": "Bearer token of operator"}] * 3
    assert minted == [OPERATOR]
    assert people.headers("POST", "/psp/webhooks", b"{}") == {}
