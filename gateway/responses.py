"""Successful responses: a service's JSON, passed on as it is.

Owns: how a body is written. Must not know: its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(orjson.dumps(body), status=status, content_type="application/json")
    response.headers.extend(dict(headers or {}))
    return response
