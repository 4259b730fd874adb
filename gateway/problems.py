"""Problem documents (RFC 9457): the one table from error code to HTTP status, and their JSON form.

Owns: statuses, titles and the shape of every error body. Must not know: where errors come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import quote

import orjson
from flask import Response

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

STATUS_BY_CODE: Mapping[str, tuple[HTTPStatus, str]] = {
    # the request's form
    "bad_request": (HTTPStatus.BAD_REQUEST, "Bad request"),
    "malformed_json": (HTTPStatus.BAD_REQUEST, "The body is not valid JSON"),
    "idempotency_key_required": (HTTPStatus.BAD_REQUEST, "Idempotency-Key header is missing"),
    "invalid_idempotency_key": (HTTPStatus.BAD_REQUEST, "Idempotency-Key header is not valid"),
    "unauthenticated": (HTTPStatus.UNAUTHORIZED, "Log in first"),
    "invalid_credentials": (HTTPStatus.UNAUTHORIZED, "User name or password is wrong"),
    "forbidden": (HTTPStatus.FORBIDDEN, "Not allowed"),
    "not_found": (HTTPStatus.NOT_FOUND, "Not found"),
    "method_not_allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed"),
    "request_timeout": (HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time"),
    "uri_too_long": (HTTPStatus.REQUEST_URI_TOO_LONG, "Request line too long"),
    "payload_too_large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Body too large"),
    "precondition_failed": (HTTPStatus.PRECONDITION_FAILED, "It has changed meanwhile"),
    "precondition_required": (HTTPStatus.PRECONDITION_REQUIRED, "If-Match header is missing"),
    "too_many_requests": (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    "unsupported_media_type": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
    "invalid_request": (HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid"),
    # the services' answers
    "order_not_found": (HTTPStatus.NOT_FOUND, "No such order"),
    "product_not_found": (HTTPStatus.NOT_FOUND, "No such product"),
    "payment_not_found": (HTTPStatus.NOT_FOUND, "No such payment"),
    "cart_not_found": (HTTPStatus.NOT_FOUND, "No such cart"),
    "chaos_switch_not_found": (HTTPStatus.NOT_FOUND, "No such switch is on"),
    "chaos_disabled": (HTTPStatus.FORBIDDEN, "No trouble is made on purpose here"),
    "dead_letters_not_found": (HTTPStatus.NOT_FOUND, "No such queue"),
    "redrive_not_found": (HTTPStatus.NOT_FOUND, "No such redrive"),
    "cart_not_open": (HTTPStatus.CONFLICT, "The cart has become an order"),
    "payment_not_ready": (HTTPStatus.CONFLICT, "Nothing is to be paid yet"),
    "conflict": (HTTPStatus.CONFLICT, "Conflict"),
    "product_exists": (HTTPStatus.CONFLICT, "The product exists already"),
    "order_not_cancellable": (HTTPStatus.CONFLICT, "The order cannot be cancelled any more"),
    "order_not_approvable": (HTTPStatus.CONFLICT, "The order does not wait for an approval"),
    "order_not_fulfillable": (HTTPStatus.CONFLICT, "The order cannot be fulfilled"),
    "order_not_returnable": (HTTPStatus.CONFLICT, "Nothing of the order can be returned"),
    "order_archived": (HTTPStatus.CONFLICT, "The order is archived"),
    "saga_not_nudgeable": (HTTPStatus.CONFLICT, "Nothing of the saga can be published once more"),
    "saga_not_flagged": (HTTPStatus.CONFLICT, "The saga is not flagged"),
    "erasure_not_found": (HTTPStatus.NOT_FOUND, "No such erasure"),
    "reservation_not_found": (HTTPStatus.NOT_FOUND, "No such reservation"),
    "reservation_not_held": (HTTPStatus.CONFLICT, "The reservation has ended already"),
    "reservation_exists": (HTTPStatus.CONFLICT, "The reference is taken"),
    "foreign_reservation": (HTTPStatus.CONFLICT, "The reservation belongs to an order"),
    "out_of_stock": (HTTPStatus.CONFLICT, "Not enough stock"),
    "payment_not_payable": (HTTPStatus.CONFLICT, "The payment cannot be paid"),
    "payment_expired": (HTTPStatus.CONFLICT, "Too late to pay"),
    "payment_in_progress": (HTTPStatus.CONFLICT, "An earlier attempt is still under way"),
    "payment_not_refundable": (HTTPStatus.CONFLICT, "There is nothing to refund"),
    "price_mismatch": (HTTPStatus.CONFLICT, "The price has changed"),
    "idempotency_key_in_progress": (HTTPStatus.CONFLICT, "A request with this key is still running"),
    "unprocessable": (HTTPStatus.UNPROCESSABLE_ENTITY, "The request cannot be fulfilled"),
    "unknown_item": (HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown item"),
    "mixed_sellers": (HTTPStatus.UNPROCESSABLE_ENTITY, "One seller per order"),
    "mixed_currencies": (HTTPStatus.UNPROCESSABLE_ENTITY, "One currency per order"),
    "cart_empty": (HTTPStatus.UNPROCESSABLE_ENTITY, "The cart is empty"),
    "cart_full": (HTTPStatus.UNPROCESSABLE_ENTITY, "The cart is full"),
    "refund_too_large": (HTTPStatus.UNPROCESSABLE_ENTITY, "More than is left of the payment"),
    "return_too_large": (HTTPStatus.UNPROCESSABLE_ENTITY, "More than was shipped and not returned yet"),
    "nothing_selected": (HTTPStatus.UNPROCESSABLE_ENTITY, "No dead letter matches"),
    "invalid_signature": (HTTPStatus.BAD_REQUEST, "The signature is not valid"),
    "idempotency_key_reused": (HTTPStatus.UNPROCESSABLE_ENTITY, "The key belongs to another request"),
    # trouble that may pass
    "provider_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "The payment provider does not answer"),
    "finance_view_off": (HTTPStatus.SERVICE_UNAVAILABLE, "The finance view is not switched on"),
    "finance_view_down": (HTTPStatus.SERVICE_UNAVAILABLE, "The finance view does not answer"),
    "transient_error": (HTTPStatus.SERVICE_UNAVAILABLE, "Temporarily unavailable"),
    "database_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Temporarily unavailable"),
    "broker_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Temporarily unavailable"),
    "service_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Service unavailable"),
    "reply_lost": (HTTPStatus.SERVICE_UNAVAILABLE, "Service unavailable"),
    "issuer_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Tokens cannot be checked at the moment"),
    "too_many_streams": (HTTPStatus.SERVICE_UNAVAILABLE, "Too many streams are open"),
    "not_ready": (HTTPStatus.SERVICE_UNAVAILABLE, "Not ready"),
    "service_timeout": (HTTPStatus.GATEWAY_TIMEOUT, "The service did not answer in time"),
    "outcome_unknown": (HTTPStatus.GATEWAY_TIMEOUT, "The outcome is not known"),
    # trouble that is ours
    "internal_error": (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}
"""Code → (HTTP status, title). A code that is not here is not for clients and becomes internal_error."""

_TRY_AGAIN = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_WORTH_ASKING_AGAIN = {"idempotency_key_in_progress", "payment_not_ready", "too_many_requests"}
_LONGEST_DETAIL = 500
_LONGEST_NAME = 64
_MOST_FIELD_ERRORS = 50


def problem(
    code: str,
    *,
    detail: str,
    request_id: str,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
) -> Response:
    """A problem response; ``members`` are added to the document but never replace a standard one."""
    known_status, title = STATUS_BY_CODE[code]
    # The status of an order or a payment, which would be hidden by HTTP's.
    named = {"currentStatus" if name == "status" else name: value for name, value in (members or {}).items()}
    body = {
        **named,
        "type": f"urn:ordersaga:problem:{code}",
        "title": title,
        "status": status or known_status.value,
        "detail": detail[:_LONGEST_DETAIL],
        "code": code,
        "requestId": request_id,
    }
    response = Response(orjson.dumps(body), status=body["status"], content_type=CONTENT_TYPE)
    response.headers.extend(dict(headers or {}))
    if known_status in _TRY_AGAIN or code in _WORTH_ASKING_AGAIN:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return response


def field_errors(messages: object, *, location: str = "body") -> list[dict[str, str]]:
    """Nested ``{field: [messages]}`` as a flat, bounded list of ``{"pointer" or "parameter", "detail"}``."""
    found = islice(_walk(messages, ()), _MOST_FIELD_ERRORS)
    return [{**_place(path, location), "detail": text[:_LONGEST_DETAIL]} for path, text in found]


def _walk(messages: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(messages, Mapping):
        for name, nested in messages.items():
            # marshmallow files errors of an object as a whole under this name
            yield from _walk(nested, path if name == "_schema" else (*path, str(name)))
    elif isinstance(messages, list | tuple):
        for nested in messages:
            yield from _walk(nested, path)
    else:
        yield path, str(messages)


def _place(path: tuple[str, ...], location: str) -> dict[str, str]:
    if location == "query":
        return {"parameter": _token(path[0]) if path else ""}
    return {"pointer": "#" + "".join("/" + _token(name) for name in path)}


def _token(name: str) -> str:
    """One step of a JSON pointer as a URI fragment; names may be anything a client sent."""
    escaped = name[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1")
    return quote(escaped, safe="~!$&'()*+,;=:@", errors="replace")
