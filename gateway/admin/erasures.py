"""Forgetting a customer's addresses, over HTTP.

Owns: the endpoints under /admin/erasures. Must not know: where addresses are; the order service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.admin.documents import Erasure
from gateway.admin.schemas import NewErasure
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.services import ORDER_SERVICE, services
from shared.errors import ErasureNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_erasures", __name__, url_prefix="/api/v1/admin/erasures", description="Operators: forget addresses"
)


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(202, Erasure, description="Begun; Location shows how far it is")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewErasure)
def request_erasure(wanted: dict[str, Any]) -> Response:
    """Forget the addresses of a customer's finished orders, archived ones too

    In batches; the money, the goods and the customer's id stay. Orders that are not finished are skipped and counted.
    """
    asked = services().call(
        ORDER_SERVICE,
        "request_erasure",
        user_id=wanted["userId"],
        note=wanted["note"],
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    location = url_for("admin_erasures.get_erasure", erasure_id=asked["erasure"]["id"])
    headers = {"Location": location} | idempotency.replay_header(asked["replayed"])
    return json_response(asked["erasure"], 202, headers)


@blueprint.route("/<erasure_id>", methods=["GET"], parameters=[uuid_parameter("erasure_id")])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, Erasure)
@blueprint.documented(problems=(504,))
def get_erasure(erasure_id: str) -> Response:
    """How far an erasure has come"""
    id_ = as_uuid(erasure_id, ErasureNotFound("There is no erasure with this id"))
    return json_response(services().call(ORDER_SERVICE, "get_erasure", erasure_id=id_))
