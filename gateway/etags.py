"""Entity tags: what a client has seen already, and which version it means to change.

Owns: how a tag is made and read. Must not know: endpoints; the services compare versions under their own locks.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from flask import Response, request

from gateway.request_errors import PreconditionRequired
from gateway.responses import json_response

IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
_VERSION = re.compile(r"([0-9]{1,9})(?:-[0-9a-f]{16})?")

IF_NONE_MATCH_PARAMETER: dict[str, Any] = {
    "in": "header",
    "name": IF_NONE_MATCH,
    "required": False,
    "description": "The ETag of an earlier answer: 304 without a body if nothing has changed.",
    "schema": {"type": "string"},
}
IF_MATCH_PARAMETER: dict[str, Any] = {
    "in": "header",
    "name": IF_MATCH,
    "required": True,
    "description": (
        "The ETag of the product as you have seen it: 412 if somebody has changed it since. "
        "Only the version in it (before the dash) is compared: stock that moves meanwhile is no change of the product. "
        "`*` changes whatever is there."
    ),
    "schema": {"type": "string", "examples": ["*"]},
}


def tagged_response(body: Any, *, version: int | None = None) -> Response:
    """200 with an ETag of the whole body, or 304 if the client has it. ``version`` is what If-Match may ask for."""
    response = json_response(body)
    digest = hashlib.sha256(response.get_data()).hexdigest()[:16]
    response.set_etag(digest if version is None else f"{version}-{digest}")
    # Ask each time: what is shown changes at any moment, and without us.
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


def wanted_versions() -> list[int] | None:
    """The versions that If-Match names; None for ``*``. Raises PreconditionRequired without the header."""
    if IF_MATCH not in request.headers:
        raise PreconditionRequired(f"Send {IF_MATCH} with the ETag of what you mean to change")
    tags = request.if_match
    if tags.star_tag:
        return None
    found = (_VERSION.fullmatch(tag) for tag in tags.as_set())
    return sorted(int(match.group(1)) for match in found if match)
