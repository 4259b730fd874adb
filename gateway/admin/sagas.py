"""Sagas over HTTP, as operators look at them: whose turn it is, since when, until when.

Owns: GET /admin/sagas. Must not know: how an order tells; the order service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.admin.documents import SagaPage
from gateway.admin.schemas import SagaQuery
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from gateway.services import ORDER_SERVICE, services
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_sagas", __name__, url_prefix="/api/v1/admin/sagas", description="Operators: sagas, stuck ones first"
)


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(SagaQuery, location="query")
def list_sagas(query: dict[str, Any]) -> Response:
    """Sagas with what each waits for, page by page, flagged ones first"""
    page = services().call(
        ORDER_SERVICE,
        "list_sagas",
        limit=query["limit"],
        cursor=query.get("cursor"),
        state=query.get("state"),
        text=query.get("text"),
    )
    return json_response(page)
