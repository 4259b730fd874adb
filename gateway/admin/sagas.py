"""Sagas over HTTP, as operators look at them and help them on: whose turn it is, since when, until when.

Owns: the endpoints under /admin/sagas. Must not know: how an order tells, or what helps it; the order service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway import idempotency
from gateway.admin.documents import SagaDetail, SagaPage
from gateway.admin.schemas import Note, SagaQuery
from gateway.openapi import ApiBlueprint
from gateway.paths import as_order_id, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.services import ORDER_SERVICE, services
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_sagas", __name__, url_prefix="/api/v1/admin/sagas", description="Operators: sagas, stuck ones first"
)

_ORDER_ID = uuid_parameter("order_id")


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(SagaQuery, location="query")
def list_sagas(query: dict[str, Any]) -> Response:
    """Sagas with what each waits for, page by page, flagged ones first

    `since` and `until` in the query are about when a saga began; in the answer they say since when and until when it
    waits.
    """
    page = services().call(
        ORDER_SERVICE,
        "list_sagas",
        limit=query["limit"],
        cursor=query.get("cursor"),
        state=query.get("state"),
        text=query.get("text"),
        step=query.get("step"),
        waits_for=query.get("waitsFor"),
        status=query.get("status"),
        user_id=query.get("userId"),
        seller_id=query.get("sellerId"),
        since=query.get("since"),
        until=query.get("until"),
    )
    return json_response(page)


@blueprint.route("/<order_id>", methods=["GET"], parameters=[_ORDER_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaDetail)
@blueprint.documented(problems=(504,))
def get_saga(order_id: str) -> Response:
    """One saga: its timeline with durations, and the steps that are still expected"""
    return json_response(services().call(ORDER_SERVICE, "get_saga", order_id=as_order_id(order_id)))


@blueprint.route("/<order_id>/nudge", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaDetail)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Note)
def nudge_saga(note: dict[str, Any], order_id: str) -> Response:
    """Publish the event that waits for an answer once more

    With its own id: a service that has applied it does nothing. 409 where no event of the order waits for an answer.
    """
    return _ask("nudge_saga", order_id, note)


@blueprint.route("/<order_id>/cancel", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaDetail)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Note)
def cancel_saga(note: dict[str, Any], order_id: str) -> Response:
    """Cancel an order as an operator, and say why

    As `POST /orders/{id}/cancel`; the note stays in the audit log and in the timeline.
    """
    return _ask("cancel_saga", order_id, note)


@blueprint.route("/<order_id>/resolve", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SagaDetail)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Note)
def resolve_saga(note: dict[str, Any], order_id: str) -> Response:
    """Take the flag away, and say what was done about it

    The order stays as it is and is not watched any more until it waits for something else. 409 if it is not flagged.
    """
    return _ask("resolve_saga", order_id, note)


def _ask(method: str, order_id: str, note: dict[str, Any]) -> Response:
    asked = services().call(
        ORDER_SERVICE,
        method,
        order_id=as_order_id(order_id),
        note=note["note"],
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    return json_response(asked["saga"], 200, idempotency.replay_header(asked["replayed"]))
