"""The audit logs of the services as one: who did what to which thing, and why.

Owns: /admin/audit. Must not know: what is recorded.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request, url_for

from gateway.admin.audit import audit_page
from gateway.admin.schemas import AuditQuery
from gateway.dashboard.admin.asking import asked, checked, given, in_utc
from gateway.dashboard.pages import PageBlueprint, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from shared.identity import Role

blueprint = PageBlueprint("admin_log", __name__, url_prefix="/admin/audit")

_AT_ONCE, _FOR_A_FILE = 50, 100
_FILTERS = ("actor", "action", "objectType", "objectId", "since", "until")
_COLUMNS = ("at", "service", "actor", "roles", "action", "objectType", "objectId", "requestId", "before", "after", "id")


@blueprint.page("", Role.ADMIN)
def list_entries() -> Response:
    wanted = given(request.args, *_FILTERS)
    if wants_csv():
        return csv_of_all("audit", _COLUMNS, lambda cursor: _rows_and_next(wanted, cursor))
    found = asked(lambda: _page(wanted, request.args.get("cursor"), _AT_ONCE))
    page = found.value or {"entries": [], "nextCursor": None}
    return render(
        "admin/audit.html",
        entries=page["entries"],
        trouble=found.trouble,
        wanted=wanted,
        more=url_for(".list_entries", **wanted, cursor=page["nextCursor"]) if page["nextCursor"] else None,
        csv=url_for(".list_entries", **wanted, format="csv"),
    )


def _page(wanted: dict[str, Any], cursor: str | None, limit: int) -> dict[str, Any]:
    said = {**in_utc(wanted), "limit": str(limit), **({"cursor": cursor} if cursor else {})}
    return audit_page(checked(AuditQuery(), said))


def _rows_and_next(wanted: dict[str, Any], cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    page = _page(wanted, cursor, _FOR_A_FILE)
    return [{name: _plain(value) for name, value in entry.items()} for entry in page["entries"]], page["nextCursor"]


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
