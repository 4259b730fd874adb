"""How badly the simulated payment provider behaves, over HTTP.

Owns: the endpoints under /admin/chaos. Must not know: what a setting does; the payment service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.admin.documents import ProviderBehaviour
from gateway.admin.schemas import BehaviourChanges
from gateway.openapi import ApiBlueprint
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.services import PAYMENT_SERVICE, services
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_chaos", __name__, url_prefix="/api/v1/admin/chaos", description="Operators: breaking the provider on purpose"
)


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ProviderBehaviour)
@blueprint.documented(problems=(504,))
def behaviour() -> Response:
    """How the provider behaves at the moment, what may be changed, and what it means"""
    return json_response(services().call(PAYMENT_SERVICE, "provider_behaviour"))


@blueprint.route("", methods=["PATCH"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ProviderBehaviour)
@blueprint.documented(problems=(504,))
@blueprint.arguments(BehaviourChanges)
def change_behaviour(changes: dict[str, Any]) -> Response:
    """Make it fail, lose answers, be slow; what is not named stays as it is

    It behaves so until it is told otherwise. Safe to repeat.
    """
    changed = services().call(
        PAYMENT_SERVICE, "change_provider_behaviour", changes=changes, correlation_id=request_id()
    )
    return json_response(changed)


@blueprint.route("", methods=["DELETE"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, ProviderBehaviour)
@blueprint.documented(problems=(504,))
def reset_behaviour() -> Response:
    """Make it behave well again

    Safe to repeat.
    """
    return json_response(services().call(PAYMENT_SERVICE, "reset_provider_behaviour", correlation_id=request_id()))
