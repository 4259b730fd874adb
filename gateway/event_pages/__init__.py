"""The events' description: /asyncapi.json for programs, /docs/events and its board for people. Public, as /docs is.

Owns: the pages, their files and how long they may be kept. Must not know: what any event says, or who is looking.

Both pages are the same for everybody, so each is made once, at the first request.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, render_template, request

from gateway.access import public
from gateway.dashboard.files import FILES as LOOKS
from gateway.event_pages.pictures import shown_pictures
from gateway.event_pages.reading import DOCUMENT, events_of, read_document
from gateway.static_files import VersionedFiles
from shared.choreography import load_choreography

_FILES = VersionedFiles(Path(__file__).parent / "static")

# Scripts, styles and requests are our own, and nothing is inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("event_pages", __name__, template_folder="templates")


@blueprint.get("/asyncapi.json")
@public
def asyncapi_json() -> Response:
    return _revalidated(Response(DOCUMENT.read_bytes(), content_type="application/json"))


@blueprint.get("/docs/events")
@public
def events() -> Response:
    return _page(_events())


@blueprint.get("/docs/events/board")
@public
def board() -> Response:
    return _page(_board())


@blueprint.get("/docs/events/files/<version>/<path:name>")
@public
def file(version: str, name: str) -> Response:
    return _FILES.send(version, name)


@cache
def _events() -> bytes:
    document = read_document()
    return _rendered("events", document=document, events=events_of(document))


@cache
def _board() -> bytes:
    return _rendered("board", sections=shown_pictures(load_choreography()))


def _rendered(name: str, **values: object) -> bytes:
    files = {"files": f"/docs/events/files/{_FILES.version}", "looks": f"/static/{LOOKS.version}"}
    return render_template(f"event_pages/{name}.html", **files, **values).encode()


def _page(content: bytes) -> Response:
    response = Response(content, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return _revalidated(response)


def _revalidated(response: Response) -> Response:
    """May be kept, but is asked for each time: 304 if it is still the same. Compressed for whoever takes that."""
    content = response.get_data()
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] > 0:
        response.set_data(_compressed(content))
        response.content_encoding = "gzip"
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response


@cache
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
