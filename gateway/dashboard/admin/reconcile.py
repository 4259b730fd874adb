"""Comparing the books: a pass page by page until its end, and repairs of what is safe.

Owns: /admin/reconcile. Must not know: what differs, or how it is repaired.

Each piece of the page holds what one page of the pass found, and asks for the next: what was counted so far travels
along.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.admin.reconcile.documents import PassQuery, WantedRepair
from gateway.admin.reconcile.views import page_of_pass, repair_once
from gateway.dashboard.admin.asking import asked, checked, given
from gateway.dashboard.forms import whole
from gateway.dashboard.pages import PageBlueprint, done, is_htmx, posted_key, refused, render
from shared.identity import Role

blueprint = PageBlueprint("admin_books", __name__, url_prefix="/admin/reconcile")

CHECKED = ("orders", "reservations", "payments", "charges", "items")
_PERIODS = {"3600": "the last hour", "86400": "the last day", "604800": "the last week", "full": "all there is"}
_COUNTS = (*CHECKED, "found", "unsettled")


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    """With a ``period`` a pass begins."""
    period = request.args.get("period", "")
    is_on = period in _PERIODS
    return render(
        "admin/reconcile.html",
        periods=_PERIODS,
        period=period,
        first=url_for(".go_on", **_begin(period)) if is_on else None,
    )


@blueprint.page("/page", Role.ADMIN)
def go_on() -> Response:
    """The next page of a pass: what differs, and where to go on."""
    found = asked(lambda: page_of_pass(checked(PassQuery(), given(request.args, "cursor", "ago", "full"))))
    counts: dict[str, Any] = {name: max(whole(request.args.get(name)) or 0, 0) for name in _COUNTS}
    if found.value is None:
        here = url_for(".go_on", **dict[str, Any](request.args.items()))
        return render("admin/_reconcile.html", page=None, trouble=found.trouble, counts=counts, here=here)
    page = found.value
    now = {**page["checked"], "found": len(page["discrepancies"]), "unsettled": len(page["unsettled"])}
    counts = {name: before + (now.get(name) or 0) for name, before in counts.items()}
    cursor = page["nextCursor"]
    following = url_for(".go_on", **counts, cursor=cursor) if cursor else None
    return render("admin/_reconcile.html", page=page, trouble=None, counts=counts, following=following)


@blueprint.action("/repairs", Role.ADMIN)
def repair() -> Response:
    said = given(request.form, "code", "orderId", "subject")
    found = asked(lambda: repair_once(checked(WantedRepair(), said), posted_key())[0])
    words, is_well = _outcome(found.value, found.trouble)
    if is_htmx():
        return render("admin/_repaired.html", words=words, is_well=is_well)
    end = done if is_well else refused
    return end(words, url_for(".show"))


def _outcome(outcome: Any, trouble: str | None) -> tuple[str, bool]:
    if outcome is None:
        return trouble or "", False
    if outcome["repaired"]:
        return f"Begun: {outcome['did']}. Look again in a moment whether it helped.", True
    return outcome["detail"] or "Nothing was done", False


def _begin(period: str) -> dict[str, Any]:
    return {"full": "true"} if period == "full" else {"ago": period}
