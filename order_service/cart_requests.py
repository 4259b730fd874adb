"""Answers to requests about carts: validate, look up, dump.

Owns: from RPC arguments to commands and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from order_service import cart_queries, carts
from order_service.access import cart_not_found, customer_of, refuse_stranger_to_cart
from order_service.basket import MOST_PIECES, CartLine, added_up, total
from order_service.cart_schemas import CartView, NewCartSchema
from order_service.requests import as_uuid
from order_service.schemas import WantedLine, pairs
from shared.database import Transaction
from shared.errors import InvalidRequest
from shared.event_schema import load_request
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity

_NEW_CART, _LINE, _ITEM, _CART = NewCartSchema(), WantedLine(), WantedLine(only=("item",)), CartView()


def create_cart(
    tx: Transaction, caller: Identity, cart: Any, idempotency_key: Any, correlation_id: Any
) -> dict[str, Any]:
    """{"cart", "replayed"}. Raises InvalidRequest, Forbidden, UnknownItem, CartFull, and what `once` raises."""
    check_request_ids(idempotency_key, correlation_id)
    said = load_request(_NEW_CART, {} if cart is None else cart, "cart")
    user_id = customer_of(caller, said.get("user_id"))
    lines = added_up(pairs(said.get("items", ())))
    if any(quantity > MOST_PIECES for quantity in lines.values()):
        raise InvalidRequest("cart is not valid", {"errors": {"items": [f"At most {MOST_PIECES} of one item."]}})

    def create() -> Any:
        return _shown(tx, carts.create(tx, user_id, lines))

    key = owned_key(caller, idempotency_key)
    created, replayed = once(tx, "create_cart", key, {"userId": user_id, "items": lines}, create)
    return {"cart": created, "replayed": replayed}


def get_cart(tx: Transaction, caller: Identity, cart_id: Any) -> dict[str, Any]:
    """Raises CartNotFound."""
    id_ = _cart_id(cart_id)
    row = cart_queries.cart_row(tx, id_)
    if row is None:
        raise cart_not_found(id_)
    refuse_stranger_to_cart(caller, id_, row["user_id"], to_change=False)
    return _shown(tx, id_)


def put_cart_item(tx: Transaction, caller: Identity, cart_id: Any, item: Any, quantity: Any) -> dict[str, Any]:
    """The cart with so many of the item. Raises InvalidRequest, and what `carts.put_item` raises."""
    line = load_request(_LINE, {"item": item, "quantity": quantity}, "line")
    id_ = _cart_id(cart_id)
    carts.put_item(tx, caller, id_, line["item"], line["quantity"])
    return _shown(tx, id_)


def remove_cart_item(tx: Transaction, caller: Identity, cart_id: Any, item: Any) -> dict[str, Any]:
    """The cart without the item. Raises InvalidRequest, and what `carts.remove_item` raises."""
    line = load_request(_ITEM, {"item": item}, "line")
    id_ = _cart_id(cart_id)
    carts.remove_item(tx, caller, id_, line["item"])
    return _shown(tx, id_)


def _shown(tx: Transaction, cart_id: UUID) -> dict[str, Any]:
    """A cart that the caller may see, at the prices of now."""
    lines = cart_queries.priced_lines(tx, cart_id)
    price, currency = total([_line(line) for line in lines])
    row = cart_queries.cart_row(tx, cart_id) or {}
    answer: dict[str, Any] = _CART.dump({**row, "items": lines, "price": price, "currency": currency})
    return answer


def _line(row: Any) -> CartLine:
    return CartLine(
        item=row["item"],
        quantity=row["quantity"],
        price=row["price"],
        currency=row["currency"],
        for_sale=row["for_sale"],
    )


def _cart_id(value: Any) -> UUID:
    id_ = as_uuid(value)
    if id_ is None:
        raise cart_not_found(value)
    return id_
