"""One id for a request on its way through every process: taken from the client, or made here.

Owns: which ids are accepted, and that each response and log line bears it. Must not know: endpoints.
"""

from __future__ import annotations

import re
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def install_request_ids(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_echo)
    app.teardown_request(_end)


def request_id() -> str:
    """The id of the request being handled."""
    value: str = g.request_id
    return value


def _begin() -> None:
    offered = request.headers.get(HEADER, "")
    g.request_id = offered if _ACCEPTED.fullmatch(offered) else str(uuid4())
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _echo(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response


def _end(_error: BaseException | None) -> None:
    structlog.contextvars.unbind_contextvars("request_id")
