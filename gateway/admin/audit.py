"""The audit logs of the three services over HTTP, as one.

Owns: GET /admin/audit. Must not know: what is recorded.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.access import caller
from gateway.admin.documents import AuditPage
from gateway.admin.merging import Place, merge, read_cursor, write_cursor
from gateway.admin.schemas import AuditQuery
from gateway.at_once import ask_at_once
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from gateway.services import ALL_SERVICES, trusted_services
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_audit", __name__, url_prefix="/api/v1/admin/audit", description="Operators: who did what to which thing"
)


# As it is called in the query → by the services
_FILTERS = {
    "actor": "actor",
    "action": "action",
    "objectType": "object_type",
    "objectId": "object_id",
    "since": "since",
    "until": "until",
}


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, AuditPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(AuditQuery, location="query")
def list_audit(query: dict[str, Any]) -> Response:
    """What was done in all services, newest first, page by page

    All three are asked: while one is down there is no page, since nobody would see what is missing from it.
    """
    return json_response(audit_page(query))


def audit_page(query: dict[str, Any]) -> dict[str, Any]:
    """``query`` is an AuditQuery. Raises what any of the services raises."""
    limit = query["limit"]
    places = read_cursor(query.get("cursor"), ALL_SERVICES)
    entries, after = merge(_ask(places, limit, query), places, limit)
    return {"entries": entries, "nextCursor": write_cursor(after)}


def _ask(places: dict[str, Place], limit: int, query: dict[str, Any]) -> dict[str, Any]:
    """Their next entries."""
    client, who = trusted_services(), caller()
    asked = [service for service, place in places.items() if not place.is_end]
    wanted = {argument: query[name] for name, argument in _FILTERS.items() if name in query}

    def ask(service: str) -> Any:
        cursor = places[service].after
        return client.call(service, "list_audit", caller=who, limit=limit, cursor=cursor, **wanted)

    return ask_at_once(asked, ask)
