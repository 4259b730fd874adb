"""Where an answer leads: OpenAPI links from what was made to what can be done with it.

Owns: which member of an answer fills which place of the next request. Must not know: what any operation does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

# An answer of the first path is one of the things under the second.
_MAKES: Mapping[str, str] = {"/api/v1/inventory/reserve": "/api/v1/reservations"}
_ONE_ID = re.compile(r"(?P<collection>[^{}]+)/\{(?P<parameter>\w+)\}(?:/[^{}]+)?")

# operationId of the answer → name of the link → the next operation and its body; what is missing there is up to you.
_INTO_BODIES: Mapping[str, Mapping[str, Json]] = {
    "createProduct": {
        "orderIt": {
            "operationId": "placeOrder",
            "requestBody": {"items": [{"item": "$response.body#/item", "quantity": 1}]},
        },
        "holdIt": {
            "operationId": "inventoryReserve",
            "requestBody": {"items": [{"item": "$response.body#/item", "quantity": 1}]},
        },
        "adjustIt": {"operationId": "inventoryAdjust", "requestBody": {"item": "$response.body#/item"}},
    },
    "inventoryReserve": {
        "releaseIt": {"operationId": "inventoryRelease", "requestBody": {"reservationId": "$response.body#/id"}},
        "commitIt": {"operationId": "inventoryCommit", "requestBody": {"reservationId": "$response.body#/id"}},
    },
    "createCart": {"orderIt": {"operationId": "placeOrder", "requestBody": {"cartId": "$response.body#/id"}}},
    "placeOrder": {"payIt": {"operationId": "createPayment", "requestBody": {"orderId": "$response.body#/id"}}},
}
_INTO_PATHS: Mapping[str, Mapping[str, Json]] = {
    "getOrder": {
        name: {"operationId": name, "parameters": {"payment_id": "$response.body#/payment/paymentId"}}
        for name in ("getPayment", "confirmPayment", "refundPayment")
    },
}


def links_of(document: Json) -> Iterator[tuple[Json, Json]]:
    """(operation, its links) of every operation that leads to others of the document."""
    known = {operation["operationId"]: operation for item in document["paths"].values() for operation in _of(item)}
    following = _following(document)
    for path, item in document["paths"].items():
        found = dict(following.get(_MAKES.get(path, path), {})) if "post" in item else {}
        name = item["post"]["operationId"] if "post" in item else item.get("get", {}).get("operationId", "")
        further = {**_INTO_BODIES.get(name, {}), **_INTO_PATHS.get(name, {})}
        links = found | {link: into for link, into in further.items() if into["operationId"] in known}
        if links:
            yield known[name], links


def _following(document: Json) -> dict[str, Json]:
    """Collection → links to everything that needs no more than the id of one of its members."""
    found: dict[str, Json] = {}
    for path, item in document["paths"].items():
        if match := _ONE_ID.fullmatch(path):
            parameter = match["parameter"]
            member = "id" if parameter.endswith("_id") else parameter
            for operation in _of(item):
                link = {"operationId": operation["operationId"], "parameters": {parameter: f"$response.body#/{member}"}}
                found.setdefault(match["collection"], {})[operation["operationId"]] = link
    return found


def _of(item: Json) -> Iterator[Json]:
    return (part for part in item.values() if isinstance(part, dict) and "operationId" in part)
