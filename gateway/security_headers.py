"""Headers that tell a browser to be careful with every answer.

Owns: which, and what they say unless a view said something else. Must not know: endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask, Response, request

API_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # An answer of the API is no page: nothing in it is loaded, run or framed.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_API_PREFIX = "/api/"


def install_security_headers(app: Flask) -> None:
    app.after_request(_add_defaults)


def _add_defaults(response: Response) -> Response:
    for name, value in API_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith(_API_PREFIX):
        # Most answers are one caller's own: no cache between us may keep them.
        response.headers.setdefault("Cache-Control", "no-store")
    return response
