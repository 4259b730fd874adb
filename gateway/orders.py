"""Orders over HTTP: place, look at, search, and what customer, seller and operator ask of them.

Owns: the endpoints under /orders. Must not know: how an order is decided, nor whose it is; the order service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.access import EVERY_ROLE
from gateway.documents import Order, OrderPage, OrderReturn, OrderSummary
from gateway.etags import IF_NONE_MATCH_PARAMETER, tagged_response
from gateway.expansion import expanded
from gateway.openapi import ApiBlueprint
from gateway.paths import as_order_id, uuid_parameter
from gateway.placing import place_order_together
from gateway.request_id import request_id
from gateway.request_log import about_order
from gateway.responses import json_response
from gateway.schemas import Cancellation, Expansion, Fulfilment, NewOrder, NewReturn, Nothing, OrderQuery
from gateway.services import ORDER_SERVICE, services
from shared.identity import Role

blueprint = ApiBlueprint("orders", __name__, url_prefix="/api/v1/orders", description="Orders and their sagas")

_ORDER_ID = uuid_parameter("order_id")


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.USER)
@blueprint.response(202, OrderSummary, description="Accepted; follow Location for the outcome")
@blueprint.documented(problems=(404, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewOrder)
def place_order(order: dict[str, Any]) -> Response:
    """Place an order, of lines or of a cart

    Repeating the request with the same Idempotency-Key gives the same answer and never a second order. Prices come
    from the price list: a `price` is only compared, and refused with 409 if it is another.
    """
    placed = _place(order)
    return _accepted(placed["order"], placed["order"]["id"], replayed=placed["replayed"])


def _place(order: dict[str, Any]) -> Any:
    ids: dict[str, Any] = {"idempotency_key": idempotency.idempotency_key(), "correlation_id": request_id()}
    if "cartId" in order:
        # By itself: whoever holds the cart's row would keep everybody waiting who travels along.
        return services().call(ORDER_SERVICE, "place_order", order=order, **ids)
    return place_order_together(order, **ids)


@blueprint.route("", methods=["GET"])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, OrderPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(OrderQuery, location="query")
def list_orders(query: dict[str, Any]) -> Response:
    """Search orders, newest first, page by page

    A customer's own, those of a seller's shop, or all of them.
    """
    page = services().call(
        ORDER_SERVICE,
        "list_orders",
        limit=query["limit"],
        cursor=query.get("cursor"),
        status=query.get("status"),
        user_id=query.get("userId"),
        seller_id=query.get("sellerId"),
        item=query.get("item"),
        since=query.get("since"),
        until=query.get("until"),
        text=query.get("text"),
    )
    return json_response(page)


@blueprint.route("/<order_id>", methods=["GET"], parameters=[_ORDER_ID])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Order)
@blueprint.documented(problems=(504,), headers=(IF_NONE_MATCH_PARAMETER,))
@blueprint.arguments(Expansion, location="query")
def get_order(query: dict[str, Any], order_id: str) -> Response:
    """An order with its items, status history, saga timeline, and what may be asked of it now

    `payment` and `reservation` are what the order was told; expanded, they are what those services say themselves.
    """
    order = services().call(ORDER_SERVICE, "get_order", order_id=as_order_id(order_id))
    return tagged_response(expanded(order, query.get("expand", "")))


@blueprint.route("/<order_id>/cancel", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(202, Order, description="Cancelled; stock and money are returned, see settledAt")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Cancellation)
def cancel_order(cancellation: dict[str, Any], order_id: str) -> Response:
    """Cancel an order whose fulfilment was not asked for yet

    As its customer, its seller or an operator, whichever you are to it. An order that is cancelled already stays as
    it is.
    """
    return _ask("cancel_order", order_id, by=cancellation.get("by"))


@blueprint.route("/<order_id>/approve", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.SELLER)
@blueprint.response(202, Order, description="Approved; its stock is reserved next")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Nothing)
def approve_order(_nothing: dict[str, Any], order_id: str) -> Response:
    """Approve an order of a product that requires it

    An order that was approved before stays as it is.
    """
    return _ask("approve_order", order_id)


@blueprint.route("/<order_id>/decline", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.SELLER)
@blueprint.response(202, Order, description="Declined: cancelled by its seller")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Nothing)
def decline_order(_nothing: dict[str, Any], order_id: str) -> Response:
    """Decline an order that waits for its seller's approval"""
    return _ask("decline_order", order_id)


@blueprint.route("/<order_id>/fulfil", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.SELLER)
@blueprint.response(202, Order, description="Shipped; FULFILLED once its stock is off the shelf")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Fulfilment)
def fulfil_order(fulfilment: dict[str, Any], order_id: str) -> Response:
    """Ship a confirmed order; from then on it cannot be cancelled"""
    return _ask("fulfil_order", order_id, tracking=fulfilment.get("tracking"))


def _ask(method: str, order_id: str, **wanted: Any) -> Response:
    asked = services().call(
        ORDER_SERVICE,
        method,
        order_id=as_order_id(order_id),
        **wanted,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    return _accepted(asked["order"], asked["order"]["id"], replayed=asked["replayed"])


@blueprint.route("/<order_id>/returns", methods=["POST"], parameters=[_ORDER_ID])
@blueprint.allow(Role.SELLER)
@blueprint.response(202, OrderReturn, description="Taken back; the order at Location shows when the money is")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewReturn)
def return_order(goods: dict[str, Any], order_id: str) -> Response:
    """Take lines of a fulfilled order back and refund them

    Never more than was shipped and not returned yet. Without refundAmount the lines' price is given back.
    """
    id_ = as_order_id(order_id)
    taken = services().call(
        ORDER_SERVICE,
        "return_order",
        order_id=id_,
        goods=goods,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    return _accepted(taken["return"], id_, replayed=taken["replayed"])


def _accepted(body: Any, order_id: str, *, replayed: bool) -> Response:
    """202: the order at Location shows what comes of it."""
    about_order(order_id)
    location = url_for("orders.get_order", order_id=order_id)
    return json_response(body, 202, {"Location": location} | idempotency.replay_header(replayed))
