"""Carts over HTTP: what somebody means to order, kept until it is ordered.

Owns: the endpoints under /carts. Must not know: prices or what may be ordered; the order service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.documents import Cart
from gateway.etags import IF_NONE_MATCH_PARAMETER, tagged_response
from gateway.openapi import ApiBlueprint
from gateway.paths import ITEM_PARAMETER, as_item, as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import CartLine, NewCart
from gateway.services import ORDER_SERVICE, services
from shared.errors import CartNotFound, UnknownItem
from shared.identity import Role

blueprint = ApiBlueprint("carts", __name__, url_prefix="/api/v1/carts", description="What somebody means to order")

_CART_ID = uuid_parameter("cart_id")


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.USER)
@blueprint.response(201, Cart)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewCart)
def create_cart(cart: dict[str, Any]) -> Response:
    """Begin a cart, empty or with lines

    Order it with `POST /orders` and its id as `cartId`. Prices are those of the moment, and settled when it is ordered.
    """
    created = services().call(
        ORDER_SERVICE,
        "create_cart",
        cart=cart,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    body = created["cart"]
    location = url_for("carts.get_cart", cart_id=body["id"])
    return json_response(body, 201, {"Location": location} | idempotency.replay_header(created["replayed"]))


@blueprint.route("/<cart_id>", methods=["GET"], parameters=[_CART_ID])
@blueprint.allow(Role.USER)
@blueprint.response(200, Cart)
@blueprint.documented(problems=(504,), headers=(IF_NONE_MATCH_PARAMETER,))
def get_cart(cart_id: str) -> Response:
    """A cart with the prices of this moment"""
    return tagged_response(services().call(ORDER_SERVICE, "get_cart", cart_id=_as_cart_id(cart_id)))


@blueprint.route("/<cart_id>/items/<item>", methods=["PUT"], parameters=[_CART_ID, ITEM_PARAMETER])
@blueprint.allow(Role.USER)
@blueprint.response(200, Cart)
@blueprint.documented(problems=(409, 504))
@blueprint.arguments(CartLine)
def put_cart_item(line: dict[str, Any], cart_id: str, item: str) -> Response:
    """Have this many pieces of an item in the cart

    Safe to repeat: it sets the quantity, and adds nothing to it.
    """
    id_ = _as_cart_id(cart_id)
    wanted = as_item(item, UnknownItem("There is no product with this id", {"items": [item[:64]]}))
    return json_response(
        services().call(ORDER_SERVICE, "put_cart_item", cart_id=id_, item=wanted, quantity=line["quantity"])
    )


@blueprint.route("/<cart_id>/items/<item>", methods=["DELETE"], parameters=[_CART_ID, ITEM_PARAMETER])
@blueprint.allow(Role.USER)
@blueprint.response(200, Cart)
@blueprint.documented(problems=(409, 504))
def remove_cart_item(cart_id: str, item: str) -> Response:
    """Take an item out of the cart

    Safe to repeat: what is not in it stays out of it.
    """
    id_ = _as_cart_id(cart_id)
    unwanted = as_item(item, UnknownItem("There is no product with this id", {"items": [item[:64]]}))
    return json_response(services().call(ORDER_SERVICE, "remove_cart_item", cart_id=id_, item=unwanted))


def _as_cart_id(text: str) -> str:
    return as_uuid(text, CartNotFound("There is no cart with this id"))
