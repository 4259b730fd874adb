"""Orders over HTTP: place, look at, list, cancel.

Owns: the endpoints under /orders. Must not know: how an order is decided; the order service is asked.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, url_for

from gateway import idempotency
from gateway.documents import Order, OrderPage, OrderSummary
from gateway.openapi import ApiBlueprint
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Cancellation, NewOrder, OrderQuery
from gateway.services import ORDER_SERVICE, services
from shared.errors import OrderNotFound

blueprint = ApiBlueprint("orders", __name__, url_prefix="/api/v1/orders", description="Orders and their sagas")

_ORDER_ID = {
    "in": "path",
    "name": "order_id",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}


@blueprint.route("", methods=["POST"])
@blueprint.response(202, OrderSummary, description="Accepted; follow Location for the outcome")
@blueprint.documented(problems=(400, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewOrder)
def place_order(order: dict[str, Any]) -> Response:
    """Place an order

    Repeating the request with the same Idempotency-Key gives the same answer and never a second order.
    """
    placed = services().call(
        ORDER_SERVICE,
        "place_order",
        order=order,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    accepted = placed["order"]
    headers = {"Location": url_for("orders.get_order", order_id=accepted["id"])}
    return json_response(accepted, 202, headers | idempotency.replay_header(placed["replayed"]))


@blueprint.route("", methods=["GET"])
@blueprint.response(200, OrderPage)
@blueprint.documented(problems=(422, 503, 504))
@blueprint.arguments(OrderQuery, location="query")
def list_orders(query: dict[str, Any]) -> Response:
    """List orders, newest first, page by page"""
    page = services().call(
        ORDER_SERVICE,
        "list_orders",
        limit=query["limit"],
        cursor=query.get("cursor"),
        status=query.get("status"),
        user_id=query.get("userId"),
    )
    return json_response(page)


@blueprint.route("/<order_id>", methods=["GET"], parameters=[_ORDER_ID])
@blueprint.response(200, Order)
@blueprint.documented(problems=(404, 503, 504))
def get_order(order_id: str) -> Response:
    """An order with its items, status history and saga timeline"""
    order = services().call(ORDER_SERVICE, "get_order", order_id=_as_uuid(order_id))
    return json_response(order)


@blueprint.route("/<order_id>/cancel", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.response(202, Order, description="Cancelled; stock and money are returned, see settledAt")
@blueprint.documented(problems=(404, 409, 413, 415, 422, 503, 504))
@blueprint.arguments(Cancellation)
def cancel_order(cancellation: dict[str, Any], order_id: str) -> Response:
    """Cancel an order that is not fulfilled yet

    Safe to repeat: an order that is cancelled already stays as it is.
    """
    cancelled = services().call(
        ORDER_SERVICE,
        "cancel_order",
        order_id=_as_uuid(order_id),
        by=cancellation["by"],
        correlation_id=request_id(),
    )
    headers = {"Location": url_for("orders.get_order", order_id=cancelled["id"])}
    return json_response(cancelled, 202, headers)


def _as_uuid(text: str) -> str:
    """The id in its usual form; what is no UUID cannot be an order's id."""
    try:
        parsed = UUID(text) if len(text) == 36 else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise OrderNotFound("There is no order with this id")
    return str(parsed)
