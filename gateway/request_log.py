"""One log line for each request, in place of an access log.

Owns: what it says: ids and figures, never a query, a body or a header. Must not know: endpoints.
Probes and scrapes are left out: they come every few seconds and tell nobody anything.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, g, request

from shared.logs import get_logger, say_often

log = get_logger(__name__)

_LONGEST_PATH = 200
_NOT_WORTH_A_LINE = ("/health", "/metrics", "/api/v1/health")


def install_request_log(app: Flask) -> None:
    """Before anything else is installed: what others refuse has its line too, and every line its request id."""
    app.before_request(_begin)
    app.after_request(_report)


def about_order(order_id: str) -> None:
    """Whose path does not say which order it is about."""
    g.about_order = order_id


def is_worth_a_line(path: str) -> bool:
    return not path.startswith(_NOT_WORTH_A_LINE)


def _begin() -> None:
    g.arrived_s = time.perf_counter()


def _report(response: Response) -> Response:
    if is_worth_a_line(request.path):
        took_s = time.perf_counter() - g.arrived_s
        say_often(
            log,
            "request",
            request_id=g.get("request_id"),
            method=request.method[:_LONGEST_PATH],
            path=request.path[:_LONGEST_PATH],
            status=response.status_code,
            ms=round(took_s * 1000, 1),
            **_order(),
        )
    return response


def _order() -> dict[str, Any]:
    order_id = g.get("about_order") or (request.view_args or {}).get("order_id")
    return {"order_id": str(order_id)[:_LONGEST_PATH]} if order_id else {}
