"""Products over HTTP: create, look at, list.

Owns: the endpoints under /products. Must not know: stock rules; the inventory service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.access import EVERY_ROLE
from gateway.documents import Product, ProductPage
from gateway.fields import ITEM_PATTERN, is_item_id
from gateway.openapi import ApiBlueprint
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import NewProduct, ProductQuery
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import ProductNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "products", __name__, url_prefix="/api/v1/products", description="Products, their prices and stock"
)

_ITEM = {
    "in": "path",
    "name": "item",
    "required": True,
    "schema": {"type": "string", "pattern": ITEM_PATTERN},
}


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(201, Product)
@blueprint.documented(problems=(400, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewProduct)
def create_product(product: dict[str, Any]) -> Response:
    """Create a product

    It can be ordered a moment later, once the order service has learnt its price.
    """
    created = services().call(
        INVENTORY_SERVICE,
        "create_product",
        product=product,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    body = created["product"]
    headers = {"Location": url_for("products.get_product", item=body["item"])}
    return json_response(body, 201, headers | idempotency.replay_header(created["replayed"]))


@blueprint.route("", methods=["GET"])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, ProductPage)
@blueprint.documented(problems=(422, 503, 504))
@blueprint.arguments(ProductQuery, location="query")
def list_products(query: dict[str, Any]) -> Response:
    """List products, page by page"""
    page = services().call(INVENTORY_SERVICE, "list_products", limit=query["limit"], cursor=query.get("cursor"))
    return json_response(page)


@blueprint.route("/<item>", methods=["GET"], parameters=[_ITEM])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Product)
@blueprint.documented(problems=(404, 503, 504))
def get_product(item: str) -> Response:
    """A product with its price and stock"""
    if not is_item_id(item):
        raise ProductNotFound("There is no product with this id")
    return json_response(services().call(INVENTORY_SERVICE, "get_product", item=item))
