"""The way in: everybody is sent to the first page of theirs.

Owns: the address /. Must not know: what is on any page.
"""

from __future__ import annotations

from flask import Response, redirect, url_for

from gateway.access import EVERY_ROLE, caller
from gateway.dashboard.navigation import ENTRIES
from gateway.dashboard.pages import PageBlueprint

blueprint = PageBlueprint("home", __name__)


@blueprint.page("/", *EVERY_ROLE)
def home() -> Response:
    first = next(entry for entry in ENTRIES if entry.role in caller().roles)
    response: Response = redirect(url_for(first.endpoint))  # type: ignore[assignment]
    return response
