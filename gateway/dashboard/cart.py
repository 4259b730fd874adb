"""The cart: what is in it, what it comes to, and why it may not become an order as it is.

Owns: /cart. Must not know: the rules of placing, which the order service has; a page may only warn.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flask import Response, request, url_for

from gateway.dashboard import current_cart
from gateway.dashboard.forms import quantity
from gateway.dashboard.pages import PageBlueprint, done, posted_key, render
from gateway.paths import as_item
from shared.errors import UnknownItem
from shared.identity import Role

blueprint = PageBlueprint("cart", __name__)


@blueprint.page("/cart", Role.USER)
def show() -> Response:
    cart = current_cart.current_cart()
    return render("cart.html", cart=cart, lines=lines_of(cart), sellers=sellers(cart), objections=objections(cart))


@blueprint.action("/cart/items", Role.USER)
def change() -> Response:
    item = _item()
    number = quantity(request.form.get("quantity", ""))
    current_cart.put(item, number, posted_key())
    return done(f"In your cart: {number} of {item}", url_for(".show"))


@blueprint.action("/cart/remove", Role.USER)
def remove() -> Response:
    item = _item()
    current_cart.remove(item)
    return done(f"Removed: {item}", url_for(".show"))


@blueprint.action("/cart/remove-seller", Role.USER)
def remove_seller() -> Response:
    """Everything of one seller, for carts with goods of several."""
    seller = request.form.get("seller", "")
    cart = current_cart.current_cart()
    unwanted = [line["item"] for line in cart["items"] if line.get("sellerId") == seller] if cart else []
    current_cart.remove(*unwanted)
    return done(f"Removed: {', '.join(unwanted)}" if unwanted else "There was nothing to remove", url_for(".show"))


def lines_of(cart: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """With what each comes to."""
    return [{**line, "sum": _sum(line)} for line in cart["items"]] if cart else []


def sellers(cart: Mapping[str, Any] | None) -> list[str]:
    return sorted({line["sellerId"] for line in cart["items"] if line.get("sellerId")}) if cart else []


def objections(cart: Mapping[str, Any] | None) -> list[str]:
    """What an order of this cart would be refused for."""
    lines = cart["items"] if cart else []
    gone = [line["item"] for line in lines if not line.get("forSale")]
    found = []
    if len(sellers(cart)) > 1:
        found.append(
            "Your cart has goods of several sellers. An order has one seller: keep those of one, order them, and come "
            "back for the others."
        )
    if len({line["currency"] for line in lines if line.get("currency")}) > 1:
        found.append("The prices are in different currencies, and an order has one.")
    if gone:
        found.append(f"No longer sold: {', '.join(gone)}. Remove it to go on.")
    return found


def _item() -> str:
    return as_item(request.form.get("item", ""), UnknownItem("There is no such product"))


def _sum(line: Mapping[str, Any]) -> str | None:
    return str(Decimal(line["price"]) * line["quantity"]) if line.get("price") else None
