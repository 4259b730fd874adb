"""Each endpoint, asked by nobody, by both parties of an order, by strangers of the same roles, and by an operator."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from harness.gateway import Gateway, key
from harness.waiting import wait_until

from ops.people import CUSTOMER, OPERATOR, SHOP, customer, seller
from shared.identity import Identity

pytestmark = pytest.mark.e2e

PEOPLE: Mapping[str, Identity | None] = {
    "nobody": None,
    "customer": customer(CUSTOMER),
    "another customer": customer("stranger"),
    "seller": seller(SHOP),
    "another seller": seller("another-shop"),
    "operator": OPERATOR,
}
PUBLIC = (200,) * 6
TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request and its status for each of PEOPLE, in their order.

    ``path`` and ``body`` may name things of the customer's order: {order}, {payment}, {cart}, {item}, {hold}, {new};
    {nothing} is the id of nothing at all.
    """

    request: str
    statuses: tuple[int, ...]
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


LINES = [{"item": "{item}", "quantity": 1}]
ROWS = (
    # orders
    Row(request="POST /orders", statuses=(401, 202, 202, 403, 403, 403), body={"items": LINES}),
    Row(request="GET /orders", statuses=(401, 200, 200, 200, 200, 200)),
    Row(request="GET /orders/{order}", statuses=(401, 200, 404, 200, 404, 200)),
    Row(request="GET /orders/{order}/events", statuses=(401, 200, 404, 200, 404, 200)),
    Row(request="POST /orders/{order}/approve", statuses=(401, 403, 403, 409, 404, 403), body={}),
    Row(request="POST /orders/{order}/decline", statuses=(401, 403, 403, 409, 404, 403), body={}),
    Row(
        request="POST /orders/{order}/returns",
        statuses=(401, 403, 403, 409, 404, 403),
        body={"items": LINES, "restock": True},
    ),
    Row(request="POST /orders/{order}/fulfil", statuses=(401, 403, 403, 202, 404, 403), body={}),
    Row(request="POST /orders/{unpaid}/cancel", statuses=(401, 202, 404, 202, 404, 202), body={}),
    # carts
    Row(request="POST /carts", statuses=(401, 201, 201, 403, 403, 403), body={}),
    Row(request="GET /carts/{cart}", statuses=(401, 200, 404, 403, 403, 403)),
    Row(request="PUT /carts/{cart}/items/{item}", statuses=(401, 200, 404, 403, 403, 403), body={"quantity": 2}),
    Row(request="DELETE /carts/{cart}/items/{item}", statuses=(401, 200, 404, 403, 403, 403)),
    # products and stock
    Row(
        request="POST /products",
        statuses=(401, 403, 403, 201, 403, 201),
        body={
            "item": "{new}",
            "name": "New",
            "sellerId": SHOP,
            "price": "1.00",
            "currency": "EUR",
            "onHand": 0,
        },
    ),
    Row(request="GET /products", statuses=(401, 200, 200, 200, 200, 200)),
    Row(request="GET /products/{item}", statuses=(401, 200, 200, 200, 200, 200)),
    Row(
        request="PATCH /products/{item}",
        statuses=(401, 403, 403, 200, 403, 200),
        body={"name": "Renamed"},
        headers={"If-Match": "*"},
    ),
    Row(request="GET /inventory", statuses=(401, 403, 403, 200, 200, 200)),
    Row(request="GET /inventory/{item}/movements", statuses=(401, 403, 403, 200, 403, 200)),
    Row(request="POST /inventory/reserve", statuses=(401, 403, 403, 201, 403, 201), body={"items": LINES}),
    Row(
        request="POST /inventory/release",
        statuses=(401, 403, 403, 200, 404, 409),
        body={"reservationId": "{hold}"},
    ),
    Row(
        request="POST /inventory/commit",
        statuses=(401, 403, 403, 200, 404, 409),
        body={"reservationId": "{another_hold}"},
    ),
    Row(
        request="POST /inventory/adjust",
        statuses=(401, 403, 403, 200, 403, 200),
        body={"item": "{item}", "delta": 1, "reason": "found"},
    ),
    Row(request="GET /reservations", statuses=(401, 200, 200, 200, 200, 200)),
    Row(request="GET /reservations/{order}", statuses=(401, 200, 404, 200, 404, 200)),
    # payments
    Row(request="POST /payments", statuses=(401, 201, 404, 403, 403, 403), body={"orderId": "{order}"}),
    Row(request="GET /payments/{payment}", statuses=(401, 200, 404, 200, 404, 200)),
    Row(
        request="POST /payments/{payment}/confirm",
        statuses=(401, 409, 404, 403, 403, 403),
        body={"paymentMethod": "tok_success"},
    ),
    Row(
        request="POST /payments/{payment}/refund",
        statuses=(401, 403, 403, 202, 404, 202),
        body={"amount": "0.01"},
    ),
    Row(request="POST /psp/webhooks", statuses=(400,) * 6, body={}),
    # operators
    Row(request="GET /admin/health", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="GET /admin/sagas", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="GET /admin/audit", statuses=(401, 403, 403, 403, 403, 200)),
    # This stack captures no changes.
    Row(request="GET /admin/finance", statuses=(401, 403, 403, 403, 403, 503)),
    Row(request="GET /admin/dead-letters", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="GET /admin/dead-letters/{queue}", statuses=(401, 403, 403, 403, 403, 200)),
    Row(
        request="POST /admin/dead-letters/{queue}/redrive",
        statuses=(401, 403, 403, 403, 403, 200),
        body={"count": 1},
    ),
    Row(
        request="POST /admin/dead-letters/{queue}/discard",
        statuses=(401, 403, 403, 403, 403, 200),
        body={"count": 1, "note": "nobody needs it"},
    ),
    Row(request="GET /admin/chaos", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="PATCH /admin/chaos", statuses=(401, 403, 403, 403, 403, 200), body={"latency_ms": 0}),
    Row(request="DELETE /admin/chaos", statuses=(401, 403, 403, 403, 403, 200)),
    Row(
        request="POST /admin/chaos",
        statuses=(401, 403, 403, 403, 403, 200),
        body={"kind": "psp_latency", "target": "psp", "amount": 1, "durationS": 0.1, "note": "who may"},
    ),
    Row(request="DELETE /admin/chaos/{nothing}", statuses=(401, 403, 403, 403, 403, 404)),
    Row(request="GET /admin/sagas/{order}", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="POST /admin/sagas/{nothing}/nudge", statuses=(401, 403, 403, 403, 403, 404), body={"note": "who may"}),
    Row(
        request="POST /admin/sagas/{nothing}/cancel", statuses=(401, 403, 403, 403, 403, 404), body={"note": "who may"}
    ),
    Row(
        request="POST /admin/sagas/{nothing}/resolve", statuses=(401, 403, 403, 403, 403, 404), body={"note": "who may"}
    ),
    Row(
        request="POST /admin/erasures",
        statuses=(401, 403, 403, 403, 403, 202),
        body={"userId": "nobody-of-ours", "note": "who may"},
    ),
    Row(request="GET /admin/erasures/{nothing}", statuses=(401, 403, 403, 403, 403, 404)),
    Row(
        request="POST /admin/redrives",
        statuses=(401, 403, 403, 403, 403, 422),
        body={"filter": {"text": "of no letter"}},
    ),
    Row(request="GET /admin/redrives", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="POST /admin/redrives/dry-run", statuses=(401, 403, 403, 403, 403, 200), body={"limit": 1}),
    Row(request="GET /admin/redrives/{nothing}", statuses=(401, 403, 403, 403, 403, 404)),
    Row(request="GET /admin/redrives/{nothing}/letters", statuses=(401, 403, 403, 403, 403, 404)),
    Row(request="POST /admin/redrives/{nothing}/advance", statuses=(401, 403, 403, 403, 403, 404), body={}),
    Row(request="POST /admin/redrives/{nothing}/stop", statuses=(401, 403, 403, 403, 403, 404), body={}),
    Row(request="POST /admin/redrives/{nothing}/resume", statuses=(401, 403, 403, 403, 403, 404), body={}),
    Row(request="GET /admin/reconcile", statuses=(401, 403, 403, 403, 403, 200)),
    Row(request="GET /admin/reconcile/orders?ids={order}", statuses=(401, 403, 403, 403, 403, 200)),
    Row(
        request="POST /admin/reconcile/repairs",
        statuses=(401, 403, 403, 403, 403, 200),
        body={"code": "stock_held_for_cancelled", "orderId": "{nothing}"},
    ),
    # everybody
    Row(request="POST /auth/token", statuses=(401,) * 6, body={"username": "nobody", "password": "wrong"}),
    Row(request="GET /health/live", statuses=PUBLIC),
    Row(request="GET /health/ready", statuses=PUBLIC),
)
AT_THE_ROOT = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/docs",
    "/docs/events",
    "/docs/events/board",
    "/openapi.json",
    "/asyncapi.json",
    "/.well-known/jwks.json",
)


@pytest.fixture(scope="module")
def things(gateway: Gateway) -> Mapping[str, str]:
    """The customer's order, paid to the seller, and what belongs to it."""
    item = gateway.product(on_hand=100)
    order = gateway.ended(gateway.order(item), "CONFIRMED")
    _, cart, _ = gateway.call("POST", "/carts", {"items": [{"item": item, "quantity": 1}]}, key())
    _, hold = gateway.post("/inventory/reserve", {"items": [{"item": item, "quantity": 1}]})
    _, another_hold = gateway.post("/inventory/reserve", {"items": [{"item": item, "quantity": 1}]})
    return {
        "item": item,
        "order": order["id"],
        "nothing": "00000000-0000-7000-8000-000000000000",
        "payment": order["payment"]["paymentId"],
        "cart": cart["id"],
        "hold": hold["id"],
        "another_hold": another_hold["id"],
        "queue": "order_service.PAYMENT_SUCCESS",
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.request)
def test_who_may(gateway: Gateway, things: Mapping[str, str], row: Row) -> None:
    # Made for the one row that ends it: an order that waits to be paid is not whole.
    more = {"unpaid": gateway.unpaid(things["item"])["id"]} if "{unpaid}" in row.request else {}
    seen = {name: _status(gateway, _filled(row, {**things, **more}), person) for name, person in PEOPLE.items()}

    assert seen == dict(zip(PEOPLE, row.statuses, strict=True))


@pytest.mark.parametrize("path", AT_THE_ROOT)
def test_open_to_everybody(gateway: Gateway, path: str) -> None:
    wait_until(lambda: gateway.call("GET", "/health/ready")[0] == 200, "its probe finds everybody")
    request = urllib.request.Request(gateway.address + path)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        assert response.status == 200


def test_every_endpoint_is_here(gateway: Gateway) -> None:
    """An endpoint that is added has to say here who may use it."""
    with urllib.request.urlopen(f"{gateway.address}/openapi.json", timeout=TIMEOUT_S) as response:  # noqa: S310
        paths = json.load(response)["paths"]
    documented = {
        f"{method.upper()} {_shape(path)}"
        for path, operations in paths.items()
        for method in operations
        if method != "parameters" and path not in AT_THE_ROOT
    }
    here = {_shape(row.request.partition("?")[0].replace(" ", " /api/v1")) for row in ROWS}
    assert here == documented


def _shape(path: str) -> str:
    """The path without its parameters' names."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _filled(row: Row, things: Mapping[str, str]) -> tuple[str, str, bytes | None, Mapping[str, str]]:
    method, _, path = row.request.partition(" ")
    values = {**things, "new": f"item-{uuid4().hex[:8]}"}
    body = None if row.body is None else json.dumps(row.body)
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
        body = body.replace("{" + name + "}", value) if body is not None else None
    return method, path, body.encode() if body is not None else None, {**row.headers, **key()}


def _status(
    gateway: Gateway, request: tuple[str, str, bytes | None, Mapping[str, str]], person: Identity | None
) -> int:
    method, path, body, headers = request
    who = {} if person is None else {"Authorization": f"Bearer {gateway.people.token(person)}"}
    sent = urllib.request.Request(  # noqa: S310 - our own address
        f"{gateway.address}/api/v1{path}",
        method=method,
        data=body,
        headers={"Content-Type": "application/json", **headers, **who},
    )
    try:
        with urllib.request.urlopen(sent, timeout=TIMEOUT_S) as response:  # noqa: S310
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
