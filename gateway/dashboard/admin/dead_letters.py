"""Dead letters: how many of which kind, what they say, and away with those that nobody needs.

Owns: /admin/dead-letters. Must not know: queues of the broker, the audit log's form. Sending back is in redrives.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.admin.dead_letters import depths_and_groups, discard_once, letters_of
from gateway.admin.redrive_schemas import MOST_LETTERS, LetterQuery
from gateway.admin.schemas import Discard
from gateway.admin.selecting import Wanted
from gateway.dashboard.admin.asking import asked, checked, given
from gateway.dashboard.forms import whole
from gateway.dashboard.pages import PageBlueprint, done, posted_key, refused, render
from gateway.dashboard.tables import csv_response, wants_csv
from shared.identity import Role

blueprint = PageBlueprint("admin_letters", __name__, url_prefix="/admin/dead-letters")

_AT_ONCE = 20
_FILTERS = ("error", "text")
_COLUMNS = ("consumer", "event", "queue", "reason", "count", "oldest", "newest")
_LETTER_COLUMNS = ("id", "eventId", "type", "correlationId", "reason", "error", "attempts", "failedAt", "body")


@blueprint.page("", Role.ADMIN)
def list_groups() -> Response:
    found = asked(lambda: depths_and_groups(with_groups=True))
    dead = found.value or {"depth": 0, "consumers": [], "groups": []}
    if wants_csv():
        return csv_response("dead-letters", _COLUMNS, dead["groups"])
    return render(
        "admin/dead_letters.html", dead=dead, trouble=found.trouble, csv=url_for(".list_groups", format="csv")
    )


@blueprint.page("/<queue>", Role.ADMIN)
def look(queue: str) -> Response:
    """The letters of one queue, the oldest first."""
    wanted = given(request.args, *_FILTERS)
    if wants_csv():
        page = letters_of(queue, Wanted.read(wanted), skip=0, limit=MOST_LETTERS)
        return csv_response("dead-letters", _LETTER_COLUMNS, page["letters"])
    skip = max(whole(request.args.get("skip")) or 0, 0)
    found = asked(lambda: _letters(queue, wanted, skip))
    page = found.value or {"matching": 0, "letters": []}
    following = skip + _AT_ONCE
    return render(
        "admin/letters.html",
        queue=queue,
        letters=page["letters"],
        matching=page["matching"],
        skip=skip,
        trouble=found.trouble,
        wanted=wanted,
        more=url_for(".look", queue=queue, **wanted, skip=following) if following < page["matching"] else None,
        csv=url_for(".look", queue=queue, **wanted, format="csv"),
    )


@blueprint.action("/<queue>/discard", Role.ADMIN)
def discard(queue: str) -> Response:
    """Those that were chosen, or all that match; their event ids and the note stay in the audit log."""
    filters = given(request.args, *_FILTERS)
    back = url_for(".look", queue=queue, **filters)
    ids = _all_ids(queue, filters) if request.form.get("all") == "yes" else request.form.getlist("letter")
    if not ids:
        return refused("Choose at least one letter", back)
    wanted = checked(Discard(), {"ids": ids, "note": request.form.get("note", "").strip()})
    outcome, _ = discard_once(queue, wanted, posted_key())
    stopped = outcome["stopped"]
    number = "an unknown number" if outcome["done"] is None else outcome["done"]
    if stopped:
        return refused(f"{number} of {len(ids)} discarded; {stopped['code']}: {stopped['detail']}", back)
    return done(f"{number} discarded; what they were stands in the audit log", back)


def _all_ids(queue: str, filters: dict[str, Any]) -> list[str]:
    return [letter["id"] for letter in letters_of(queue, Wanted.read(filters), skip=0, limit=MOST_LETTERS)["letters"]]


def _letters(queue: str, wanted: dict[str, Any], skip: int) -> dict[str, Any]:
    query = checked(LetterQuery(), {**wanted, "skip": str(skip), "limit": str(_AT_ONCE)})
    return letters_of(queue, Wanted.read(query), skip=skip, limit=_AT_ONCE)
