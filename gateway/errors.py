"""Every way out of a request that is not a success ends here, as a problem document.

Owns: which error becomes which problem, and what is logged about it. Must not know: endpoints.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from gateway.problems import STATUS_BY_CODE, field_errors, problem
from gateway.request_errors import InvalidQuery
from gateway.request_id import request_id
from gateway.services import OutcomeUnknown
from shared.errors import BrokerUnavailable, DatabaseUnavailable, InvalidRequest, OrderSagaError, TransientError
from shared.logs import get_logger

log = get_logger(__name__)

_NOWHERE = "There is nothing at this path; /docs shows what there is"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Their words are a driver's: addresses, accounts, statements. Not so those of classes made out of them.
_TROUBLE_INSIDE = (TransientError, DatabaseUnavailable, BrokerUnavailable)
_CODE_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


def install_error_handlers(app: Flask) -> None:
    app.register_error_handler(OrderSagaError, _on_known_error)
    app.register_error_handler(InvalidRequest, _on_invalid_request)
    app.register_error_handler(OutcomeUnknown, _on_outcome_unknown)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, _on_bug)


def _on_known_error(error: OrderSagaError) -> Response:
    if error.code not in STATUS_BY_CODE or error.code == "internal_error":
        log.error("request_failed", code=error.code, error=error.message, details=error.details)
        return _internal_error()
    if type(error) in _TROUBLE_INSIDE:
        log.warning("request_met_trouble", code=error.code, error=error.message, details=error.details)
        return problem(error.code, detail="It may work again in a moment.", request_id=request_id())
    return problem(error.code, detail=error.message, request_id=request_id(), members=error.details)


def _on_invalid_request(error: InvalidRequest) -> Response:
    """From our own schemas or a service's; what a safe method asks for can only be wrong in its query."""
    members: dict[str, Any] = dict(error.details)
    in_query = isinstance(error, InvalidQuery) or request.method in _SAFE_METHODS
    location = "query" if in_query else "body"
    members["errors"] = field_errors(members.pop("errors", {}), location=location)
    return problem(error.code, detail=error.message, request_id=request_id(), members=members)


def _on_outcome_unknown(error: OutcomeUnknown) -> Response:
    """A read may simply be repeated; a write may have happened, which the client has to be told."""
    log.warning("call_outcome_unknown", code=error.code, method=request.method)
    if request.method in _SAFE_METHODS:
        return problem(error.code, detail=error.message, request_id=request_id())
    return problem("outcome_unknown", detail=_how_to_find_out(), request_id=request_id())


def _how_to_find_out() -> str:
    if "Idempotency-Key" in request.headers:
        return (
            "The request may or may not have taken effect. Repeat it with the same Idempotency-Key: "
            "it takes effect once, however often it is sent."
        )
    return "The request may or may not have taken effect. Look before repeating it."


def on_http_error(error: HTTPException) -> Response:
    """As a problem document, whoever asked."""
    status = error.code or 500
    if status >= 500:
        return _on_bug(error)
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return problem(
        _CODE_BY_STATUS.get(status, "bad_request"),
        detail=_NOWHERE if status == 404 else error.description or "",
        request_id=request_id(),
        headers=headers,
        status=status,
    )


def _on_bug(error: Exception) -> Response:
    log.error("request_broke", exc_info=error, method=request.method, rule=str(request.url_rule))
    return _internal_error()


def _internal_error() -> Response:
    return problem("internal_error", detail="Something went wrong on our side; it is logged.", request_id=request_id())
