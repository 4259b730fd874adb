"""Products over HTTP: create, change, look at, search.

Owns: the endpoints under /products. Must not know: stock rules; the inventory service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.access import EVERY_ROLE
from gateway.documents import Product, ProductPage
from gateway.etags import IF_MATCH_PARAMETER, IF_NONE_MATCH_PARAMETER, tagged_response, wanted_versions
from gateway.openapi import ApiBlueprint
from gateway.paths import ITEM_PARAMETER, as_item
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import NewProduct, ProductChanges, ProductQuery
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import ProductNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "products", __name__, url_prefix="/api/v1/products", description="Products, their prices and stock"
)


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(201, Product)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
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
@blueprint.documented(problems=(504,))
@blueprint.arguments(ProductQuery, location="query")
def list_products(query: dict[str, Any]) -> Response:
    """Search the catalogue, page by page

    Without `active` only what is sold at the moment.
    """
    page = services().call(
        INVENTORY_SERVICE,
        "list_products",
        limit=query["limit"],
        cursor=query.get("cursor"),
        text=query.get("text"),
        seller_id=query.get("sellerId"),
        active=query["active"],
    )
    return json_response(page)


@blueprint.route("/<item>", methods=["GET"], parameters=[ITEM_PARAMETER])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Product)
@blueprint.documented(problems=(504,), headers=(IF_NONE_MATCH_PARAMETER,))
def get_product(item: str) -> Response:
    """A product with its price and stock

    Its ETag is what a change of it needs.
    """
    product = services().call(INVENTORY_SERVICE, "get_product", item=_as_item(item))
    return tagged_response(product, version=product["version"])


@blueprint.route("/<item>", methods=["PATCH"], parameters=[ITEM_PARAMETER])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Product)
@blueprint.documented(problems=(409, 504), headers=(IF_MATCH_PARAMETER,))
@blueprint.arguments(ProductChanges)
def change_product(changes: dict[str, Any], item: str) -> Response:
    """Change a product's name, price, approval or whether it is sold

    Orders that were placed keep the price they were placed at. New ones get the new price a moment later, once the
    order service has learnt it.
    """
    product = services().call(
        INVENTORY_SERVICE,
        "update_product",
        item=_as_item(item),
        changes=changes,
        versions=wanted_versions(),
        correlation_id=request_id(),
    )
    return tagged_response(product, version=product["version"])


def _as_item(text: str) -> str:
    return as_item(text, ProductNotFound("There is no product with this id"))
