"""The API's description: /openapi.json for programs, /docs for people. Public, and nothing comes from elsewhere.

Owns: the page, its files and how long they may be kept. Must not know: what the document says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_from_directory

from gateway.access import public

_HERE = Path(__file__).parent
_FILES = _HERE / "static"
_A_YEAR_S = 31_536_000

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
        text.replace("{{ files }}", f"/docs/files/{_version()}"), content_type="text/html; charset=utf-8"
    )
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return _revalidated(response)


@public
def file(version: str, name: str) -> Response:
    """Kept for a year: other content has another address. Only that address: an old page must not get new files."""
    if version != _version():
        abort(404)
    response = send_from_directory(_FILES, name, max_age=_A_YEAR_S)
    response.cache_control.public = True
    response.cache_control.immutable = True
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@cache
def _version() -> str:
    digest = sha256()
    for path in sorted(_FILES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _revalidated(response: Response) -> Response:
    """May be kept, but is asked for each time: 304 if it is still the same."""
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response
