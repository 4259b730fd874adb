"""The API's description: /openapi.json for programs, /docs for people. Public, and nothing comes from elsewhere.

Owns: the page, its files and how long they may be kept. Must not know: what the document says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, request

from gateway.access import public
from gateway.static_files import VersionedFiles

_HERE = Path(__file__).parent
_FILES = VersionedFiles(_HERE / "static")

# Swagger UI draws icons out of data: URLs. Scripts, styles and requests are our own, and nothing is inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_blueprint(document: Callable[[], bytes]) -> Blueprint:
    """``document`` is asked once, at the first request: by then every endpoint is registered."""
    blueprint = Blueprint("docs", __name__)
    kept = cache(document)

    @blueprint.get("/openapi.json")
    @public
    def openapi_json() -> Response:
        return _revalidated(Response(kept(), content_type="application/json"))

    blueprint.add_url_rule("/docs", view_func=page)
    blueprint.add_url_rule("/docs/files/<version>/<path:name>", view_func=file)
    return blueprint


@public
def page() -> Response:
    text = (_HERE / "page.html").read_text(encoding="utf-8")
    response = Response(
        text.replace("{{ files }}", f"/docs/files/{_FILES.version}"), content_type="text/html; charset=utf-8"
    )
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return _revalidated(response)


@public
def file(version: str, name: str) -> Response:
    return _FILES.send(version, name)


def _revalidated(response: Response) -> Response:
    """May be kept, but is asked for each time: 304 if it is still the same."""
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response
