"""Which cart is the customer's at the moment: the session keeps its id, the order service everything else.

Owns: that id, and what becomes of it when the cart has become an order or is gone. Must not know: pages.
"""

from __future__ import annotations

from typing import Any

from flask import session

from gateway.request_id import request_id
from gateway.services import ORDER_SERVICE, services
from shared.errors import CartNotFound, CartNotOpen

_CART = "cart"
_NO_LONGER_ONE = (CartNotFound, CartNotOpen)


def current_cart() -> dict[str, Any] | None:
    """At the prices of now; None where there is none to be filled."""
    id_ = session.get(_CART)
    if id_ is None:
        return None
    try:
        cart: dict[str, Any] = services().call(ORDER_SERVICE, "get_cart", cart_id=id_)
    except CartNotFound:
        forget()
        return None
    if cart["status"] != "OPEN":
        forget()
        return None
    return cart


def put(item: str, quantity: int, key: str) -> None:
    """So many of ``item`` are in the cart, however many were: safe to repeat. ``key``: for a cart that is new.

    Raises UnknownItem, CartFull, and what a call raises.
    """
    id_ = session.get(_CART)
    if id_ is not None:
        try:
            services().call(ORDER_SERVICE, "put_cart_item", cart_id=id_, item=item, quantity=quantity)
            return
        except _NO_LONGER_ONE:
            forget()
    begun = services().call(
        ORDER_SERVICE,
        "create_cart",
        cart={"items": [{"item": item, "quantity": quantity}]},
        idempotency_key=key,
        correlation_id=request_id(),
    )
    session[_CART] = begun["cart"]["id"]


def remove(*items: str) -> None:
    """None of ``items`` is in the cart. Raises what a call raises."""
    id_ = session.get(_CART)
    try:
        for item in items if id_ is not None else ():
            services().call(ORDER_SERVICE, "remove_cart_item", cart_id=id_, item=item)
    except _NO_LONGER_ONE:
        forget()


def forget() -> None:
    session.pop(_CART, None)
