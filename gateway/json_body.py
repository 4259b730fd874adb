"""Reads a request's JSON strictly: what two parsers could understand differently is refused.

Owns: which bodies count as JSON, parsed or as they are. Must not know: schemas or endpoints.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.request_errors import MalformedJson, UnsupportedMediaType

MAX_DEPTH = 32
# An order with a hundred lines has some three hundred. What is unknown or wrong is looked at one by one.
MOST_VALUES = 2_000


def read_json(request: Request) -> Any:
    """The body as Python values.

    Raises UnsupportedMediaType unless it is declared as uncompressed JSON, RequestEntityTooLarge, or MalformedJson
    if it is empty, not UTF-8, has duplicate names, NaN or Infinity, absurdly long numbers, more values than any
    request needs, or is nested too deeply.
    """
    _require_json_type(request)
    value = parse_json(_read_bytes(request))
    if _count(value) > MOST_VALUES:
        raise MalformedJson(f"The body has more than {MOST_VALUES} values")
    return value


def read_text(request: Request) -> str:
    """The body exactly as it was sent, for a signature covers its bytes; nothing is parsed.

    Raises UnsupportedMediaType, RequestEntityTooLarge, or MalformedJson if it is not UTF-8 or contains NUL, which no
    JSON does and no message to a service may.
    """
    _require_json_type(request)
    text = _decoded(_read_bytes(request))
    if "\x00" in text:
        raise MalformedJson("The body contains a NUL character")
    return text


def _require_json_type(request: Request) -> None:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding")


def _read_bytes(request: Request) -> bytes:
    body = request.get_data(cache=True)
    # A body sent in chunks is cut off at the limit without an error, unlike one that declares its length.
    if request.content_length is None and len(body) == request.max_content_length:
        raise RequestEntityTooLarge
    return body


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson("The body is not UTF-8") from error


def parse_json(body: bytes) -> Any:
    if not body:
        raise MalformedJson("The body is empty: send {} where there is nothing to say")
    try:
        value = json.loads(_decoded(body), object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise MalformedJson("The body is nested too deeply") from error
    except ValueError as error:
        # int() refuses numbers of thousands of digits
        raise MalformedJson("A number in the body is too long") from error
    _require_depth(value, MAX_DEPTH)
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("An object in the body has the same name twice")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise MalformedJson("NaN and Infinity are not JSON")


def _require_depth(value: Any, allowed: int) -> None:
    if allowed < 0:
        raise MalformedJson("The body is nested too deeply")
    if isinstance(value, dict):
        for member in value.values():
            _require_depth(member, allowed - 1)
    elif isinstance(value, list):
        for member in value:
            _require_depth(member, allowed - 1)


def _count(value: Any) -> int:
    """How many values there are in it, itself among them."""
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1
