"""The reusable parts of the OpenAPI document: headers, problems by status, the way to prove who one is.

Owns: how each of them is described. Must not know: which operation uses which (see openapi_rules).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from gateway.problems import CONTENT_TYPE, RETRY_AFTER_S, STATUS_BY_CODE

Json = dict[str, Any]

REQUEST_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"

SECURITY_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "As `Authorization: Bearer …`; `x-roles` of an operation says who may use it.",
    }
}

HEADERS: Json = {
    "X-Request-Id": {
        "required": True,
        "description": "The request's id, yours if you sent a good one. It stands in every log line about the request.",
        "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
    },
    "Location": {
        "required": True,
        "description": "Where to look for what was made, or for what comes of the request.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotent-Replayed": {
        "description": "Present if an earlier request with this Idempotency-Key had done the work.",
        "schema": {"type": "string", "const": "true"},
    },
    "ETag": {
        "required": True,
        "description": "What is shown, for If-None-Match; and its version, for If-Match.",
        "schema": {"type": "string", "pattern": '^(W/)?"[^"]+"$'},
    },
    "Retry-After": {
        "description": "Seconds after which asking again is worth it.",
        "schema": {"type": "integer", "minimum": 0},
        "example": RETRY_AFTER_S,
    },
    "WWW-Authenticate": {
        "description": "How to prove who you are.",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
}

PARAMETERS: Json = {
    "X-Request-Id": {
        "in": "header",
        "name": "X-Request-Id",
        "required": False,
        "description": "An id of your own: 1 to 64 of `A-Z a-z 0-9 . _ -`. Anything else is replaced, not refused.",
        # Whatever it is, the request is not refused for it: a pattern here would say otherwise.
        "schema": {"type": "string", "examples": ["checkout-7f3a"]},
    }
}
REQUEST_ID_PARAMETER: Json = {"$ref": "#/components/parameters/X-Request-Id"}

_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    422: "Unprocessable",
    428: "PreconditionRequired",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
_MEANINGS = {
    400: "The request's form is wrong: its JSON, or a header that is missing or malformed.",
    401: "Nobody knows who you are: the token is missing, wrong or expired.",
    403: "You may see it, but not do this; or your role may not use this operation.",
    404: "There is nothing with this id, or nothing that you may see.",
    409: "It cannot be done as things are now.",
    412: "It has changed since you saw it: read it again, then decide.",
    413: "The body is larger than 256 KiB.",
    414: "The path with its query is longer than 8,000 characters.",
    415: "Send the body as `Content-Type: application/json`, in UTF-8 and without compression.",
    422: "A value is not valid (`errors` says which and where), or it does not go together with what there is.",
    428: "Say which version you mean to change.",
    429: "More requests than you may send in a while.",
    503: "Nothing has happened; asking again later may help.",
    504: "No answer in time. Whether a write has happened is not known: repeat it with the same Idempotency-Key.",
}
_ALWAYS_SAYS_WHEN = frozenset({429, 503, 504})
_MAY_SAY_WHEN = frozenset({409})


def header_reference(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def problem_reference(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_NAMES[status]}"}


def problem_responses() -> Json:
    """One response for each status, with the codes that it can have."""
    return {name: _problem_response(status) for status, name in _NAMES.items()}


def not_modified() -> Json:
    headers = {name: header_reference(name) for name in ("X-Request-Id", "ETag")}
    return {"description": "It is what you have already; no body.", "headers": headers}


def _problem_response(status: int) -> Json:
    codes = [code for code, (known, _) in STATUS_BY_CODE.items() if known == status]
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}
    headers = {"X-Request-Id": header_reference("X-Request-Id")}
    if status in _ALWAYS_SAYS_WHEN:
        headers["Retry-After"] = {**HEADERS["Retry-After"], "required": True}
    if status in _MAY_SAY_WHEN:
        headers["Retry-After"] = header_reference("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = header_reference("WWW-Authenticate")
    examples = {code: {"value": _example(code)} for code in codes}
    return {
        "description": _MEANINGS[status],
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": schema, "examples": examples}},
    }


def _example(code: str) -> Json:
    status, title = STATUS_BY_CODE[code]
    problem = {
        "type": f"urn:ordersaga:problem:{code}",
        "title": title,
        "status": status.value,
        "detail": "What happened here, in words for people.",
        "code": code,
        "requestId": "0190b4e2-7a3c-7c51-9d1e-3f6a1b2c4d5e",
    }
    errors = [
        {
            "pointer": "#/items/0/quantity",
            "detail": "Must be at least 1.",
        }
    ]
    return {**problem, "errors": errors} if code == "invalid_request" else problem
