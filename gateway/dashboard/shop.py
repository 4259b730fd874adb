"""The catalogue for customers: search it, put things into the cart.

Owns: /shop. Must not know: stock or prices; the inventory service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.dashboard import current_cart
from gateway.dashboard.forms import quantity, read
from gateway.dashboard.pages import PageBlueprint, done, posted_key, render
from gateway.paths import as_item
from gateway.schemas import ProductQuery
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import TransientError, UnknownItem
from shared.identity import Role

blueprint = PageBlueprint("shop", __name__)

_AT_ONCE = 24
_FILTERS = ("text", "sellerId")


@blueprint.page("/shop", Role.USER)
def show() -> Response:
    asked = {name: request.args.get(name, "") for name in (*_FILTERS, "cursor")}
    wanted, wrong = read(ProductQuery(), asked)
    page = {"products": [], "nextCursor": None} if wrong else _page(wanted)
    cart = _cart()
    filters = _filters(request.args)
    return render(
        "shop.html",
        422 if wrong else 200,
        products=page["products"],
        wanted=filters,
        wrong=wrong,
        cart=cart,
        in_cart={line["item"]: line["quantity"] for line in cart["items"]} if cart else {},
        cursor=asked["cursor"],
        more=url_for(".show", **filters, cursor=page["nextCursor"]) if page["nextCursor"] else None,
    )


@blueprint.action("/shop/cart", Role.USER)
def put() -> Response:
    """Have so many of a product in the cart."""
    item = as_item(request.form.get("item", ""), UnknownItem("There is no such product"))
    number = quantity(request.form.get("quantity", ""))
    current_cart.put(item, number, posted_key())
    return done(f"In your cart: {number} of {item}", url_for(".show", **_filters(request.form, "cursor")))


def _cart() -> dict[str, Any] | None:
    """Whoever only looks around needs no order service."""
    try:
        return current_cart.current_cart()
    except TransientError:
        return None


def _filters(said: Any, *more: str) -> dict[str, Any]:
    return {name: said[name] for name in (*_FILTERS, *more) if said.get(name)}


def _page(wanted: dict[str, Any]) -> Any:
    return services().call(
        INVENTORY_SERVICE,
        "list_products",
        limit=_AT_ONCE,
        cursor=wanted.get("cursor"),
        text=wanted.get("text"),
        seller_id=wanted.get("sellerId"),
        active="true",
    )
