"""From the cart to an order: where it goes, and how it is paid.

Owns: /checkout. Must not know: what may be ordered. A card's number never comes here: its fields have no names, and
the page's script turns them into a token at the provider (card.js).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from gateway.dashboard import current_cart
from gateway.dashboard.card_form import card_form
from gateway.dashboard.cart import lines_of, objections
from gateway.dashboard.forms import read
from gateway.dashboard.pages import PageBlueprint, done, posted_key, refused, render
from gateway.request_id import request_id
from gateway.schemas import NewOrder, ShippingAddress
from gateway.services import ORDER_SERVICE, services
from shared.errors import CartNotOpen, IdempotencyKeyInProgress, PermanentError, TransientError
from shared.identity import Role

blueprint = PageBlueprint("checkout", __name__)

_ADDRESS = ("name", "line1", "line2", "city", "postalCode", "country")
_SEEN = ("cartId", "price", "currency")
_TOKEN_FIELDS = {"card": "cardToken", "token": "paymentMethod"}
_NO_TOKEN = {
    "card": "The card was not turned into a token. That needs scripts: allow them, or pay later.",
    "token": "Please fill this in.",
}


@blueprint.page("/checkout", Role.USER)
def show() -> Response:
    cart = current_cart.current_cart()
    if cart is None or not cart["items"] or objections(cart):
        # The cart's page says why.
        return make_response(redirect(url_for("cart.show"), 303))
    # The price that is seen here is the one that is paid, or nothing is ordered.
    seen = {"cartId": cart["id"], "price": cart["price"] or "", "currency": cart["currency"] or ""}
    return _form(cart, seen, {}, 200)


@blueprint.action("/checkout", Role.USER)
def place() -> Response:
    order, wrong = _order(request.form)
    if wrong:
        return _form(current_cart.current_cart(), request.form, wrong, 422)
    try:
        placed = services().call(
            ORDER_SERVICE, "place_order", order=order, idempotency_key=posted_key(), correlation_id=request_id()
        )
    except (TransientError, IdempotencyKeyInProgress):
        return _again()
    except CartNotOpen as error:
        current_cart.forget()
        return refused("This cart has become an order already", _order_page(error.details["orderId"]))
    except PermanentError as error:
        return refused(f"Not ordered: {error.message}", url_for("cart.show"))
    current_cart.forget()
    return done("Ordered. Watch what happens to it here.", _order_page(placed["order"]["id"]))


def _order(form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The order as the API would get it, and what is wrong with the form."""
    said = {name: form.get(name, "") for name in _ADDRESS} | {"country": form.get("country", "").upper()}
    address, wrong = read(ShippingAddress(), said)
    paid, unpaid = _payment(form)
    order, unordered = read(NewOrder(), {**{name: form.get(name, "") for name in _SEEN}, **paid})
    return {**order, "shippingAddress": address}, {**unordered, **wrong, **unpaid}


def _payment(form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    way = form.get("way")
    if way == "later":
        return {"paymentMode": "manual"}, {}
    if way not in _TOKEN_FIELDS:
        return {}, {"way": "Please choose how to pay."}
    token = form.get(_TOKEN_FIELDS[way], "").strip()
    wrong = {} if token else {"paymentMethod" if way == "token" else "card": _NO_TOKEN[way]}
    return {"paymentMode": "auto", "paymentMethod": token}, wrong


def _form(cart: Any, said: Mapping[str, str], wrong: Mapping[str, str], status: int) -> Response:
    # What was typed as a token may be anything, a card number too: it is not repeated.
    shown = {name: said.get(name, "") for name in (*_SEEN, *_ADDRESS, "way")}
    return render("checkout.html", status, cart=cart, lines=lines_of(cart), said=shown, wrong=wrong, **card_form())


def _again() -> Response:
    """Nobody knows whether it was placed: the same request with the same key finds out, and never places a second."""
    # Only what was looked at: a token field that was not meant may hold anything.
    meant = (*_SEEN, *_ADDRESS, "way", _TOKEN_FIELDS.get(request.form["way"]))
    fields = {name: text for name, text in request.form.items() if name in meant}
    return render("checkout_again.html", 503, fields=fields, key=posted_key())


def _order_page(order_id: str) -> str:
    return url_for("order.show", order_id=order_id)
