"""Carts: make one, change it, and what placing needs of those that become orders.

Owns: who is told no and how. Every change locks its cart first. Beside handlers.py because a cart has no events.
Must not know: idempotency keys and the shape of answers (cart_requests.py).

Locks: carts, sorted by id, come before anything else that a transaction waits for. So two checkouts of one cart are
one after the other, and no circle of waits can form with placing (which locks nothing but carts and new rows) or with
commands.py and handlers.py (which lock orders and no cart).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from order_service import cart_queries, queries
from order_service.access import cart_not_found, refuse_stranger_to_cart
from order_service.basket import CannotUse, Cart, CartStatus, check_out, refuse_ordered, refuse_too_many
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import CartEmpty, CartFull, CartNotOpen, OrderSagaError, UnknownItem
from shared.identity import Identity

ERRORS: Mapping[str, type[OrderSagaError]] = {
    "cart_not_open": CartNotOpen,
    "cart_empty": CartEmpty,
    "cart_full": CartFull,
}


def create(tx: Transaction, user_id: str, lines: Mapping[str, int]) -> UUID:
    """The new cart's id. Raises CartFull, UnknownItem."""
    with _refusals():
        refuse_too_many(lines)
    _refuse_unknown(tx, lines)
    cart_id = new_id()
    cart_queries.insert_cart(tx, cart_id, user_id)
    cart_queries.put_lines(tx, cart_id, lines)
    return cart_id


def put_item(tx: Transaction, caller: Identity, cart_id: UUID, item: str, quantity: int) -> None:
    """So many of ``item`` are in the cart, however many were. Raises what `_lock` does, UnknownItem, CartFull."""
    cart = _lock(tx, caller, cart_id)
    _refuse_unknown(tx, [item])
    with _refusals():
        refuse_too_many([*cart.lines, item])
    if cart.lines.get(item) != quantity:
        cart_queries.put_lines(tx, cart_id, {item: quantity})
        cart_queries.touch(tx, cart_id)


def remove_item(tx: Transaction, caller: Identity, cart_id: UUID, item: str) -> None:
    """``item`` is not in the cart, whether it was or not. Raises what `_lock` does."""
    cart = _lock(tx, caller, cart_id)
    if item in cart.lines:
        cart_queries.delete_line(tx, cart_id, item)
        cart_queries.touch(tx, cart_id)


def _lock(tx: Transaction, caller: Identity, cart_id: UUID) -> Cart:
    """A cart to be changed. Raises CartNotFound, Forbidden, CartNotOpen."""
    cart = cart_queries.carts_for_update(tx, [cart_id]).get(cart_id)
    if cart is None:
        raise cart_not_found(cart_id)
    refuse_stranger_to_cart(caller, cart_id, cart.user_id, to_change=True)
    with _refusals():
        refuse_ordered(cart)
    return cart


def _refuse_unknown(tx: Transaction, items: Iterable[str]) -> None:
    wanted = set(items)
    on_sale = {item for item, product in queries.products(tx, wanted).items() if product.active} if wanted else set()
    missing = sorted(wanted - on_sale)
    if missing:
        raise UnknownItem(f"not for sale: {', '.join(missing)}", {"items": missing})


@contextmanager
def _refusals() -> Iterator[None]:
    """What the rules of a cart refuse, as the error that its sender gets."""
    try:
        yield
    except CannotUse as refusal:
        raise ERRORS[refusal.kind](refusal.message, refusal.details) from refusal


class Checkouts:
    """The carts that one batch of placements names: locked together, and each becomes one order at most."""

    def __init__(self, tx: Transaction, cart_ids: Iterable[UUID | None]) -> None:
        named = {cart_id for cart_id in cart_ids if cart_id is not None}
        self._carts = cart_queries.carts_for_update(tx, named) if named else {}
        self._ordered: dict[UUID, UUID] = {}

    @property
    def items(self) -> Iterator[str]:
        return (item for cart in self._carts.values() for item in cart.lines)

    def lines(self, cart_id: UUID, user_id: str) -> tuple[tuple[str, int], ...]:
        """What is to be ordered. Raises CartNotFound (also for somebody else's cart), CannotUse."""
        cart = self._carts.get(cart_id)
        if cart is None or cart.user_id != user_id:
            raise cart_not_found(cart_id)
        return check_out(cart)

    def becomes(self, cart_id: UUID, order_id: UUID) -> None:
        """From here on the cart is ordered, also for what follows in the same batch."""
        self._carts[cart_id] = replace(self._carts[cart_id], status=CartStatus.ORDERED, order_id=order_id)
        self._ordered[cart_id] = order_id

    def save(self, tx: Transaction) -> None:
        cart_queries.set_ordered(tx, self._ordered)
