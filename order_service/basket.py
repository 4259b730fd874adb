"""What may be in a cart, what it comes to, and whether it may become an order. Pure, like domain.py.

Owns: the limits of a cart, its status, its total.
Must not know: anything outside the standard library; what an order costs (pricing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from order_service.pricing import LARGEST_PRICE, CannotPlace

MOST_LINES = 100
MOST_PIECES = 1000


class CartStatus(StrEnum):
    """ORDERED is final: the cart has become an order."""

    OPEN = "OPEN"
    ORDERED = "ORDERED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cart:
    """``lines``: item → how many of it."""

    id: UUID
    user_id: str
    status: CartStatus
    order_id: UUID | None
    lines: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class CartLine:
    """A line with what the price list says of its item; nothing where it says nothing."""

    item: str
    quantity: int
    price: Decimal | None
    currency: str | None
    for_sale: bool


class CannotUse(CannotPlace):
    """Why a cart cannot be used as asked. ``kind`` is cart_not_open, cart_empty or cart_full."""


def refuse_ordered(cart: Cart) -> None:
    """Raises CannotUse for a cart that has become an order."""
    if cart.status is not CartStatus.OPEN:
        raise CannotUse("cart_not_open", "the cart has become an order", {"orderId": str(cart.order_id)})


def added_up(wanted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Item → quantity; lines of one item are one line."""
    lines: dict[str, int] = {}
    for item, quantity in wanted:
        lines[item] = lines.get(item, 0) + quantity
    return lines


def refuse_too_many(lines: Iterable[str]) -> None:
    """Raises CannotUse for more lines than an order may have."""
    if len(set(lines)) > MOST_LINES:
        raise CannotUse("cart_full", f"a cart has at most {MOST_LINES} lines", {"maxLines": MOST_LINES})


def check_out(cart: Cart) -> tuple[tuple[str, int], ...]:
    """The lines to be ordered. Raises CannotUse for a cart that has become an order, or is empty."""
    refuse_ordered(cart)
    if not cart.lines:
        raise CannotUse("cart_empty", "there is nothing in the cart", {})
    return tuple(cart.lines.items())


def total(lines: Sequence[CartLine]) -> tuple[Decimal | None, str | None]:
    """(price, currency) of all lines: None for an empty cart, for several currencies, and while a line is not sold."""
    currencies = {line.currency for line in lines}
    if len(currencies) != 1 or not all(line.for_sale for line in lines):
        return None, None
    price = sum((line.price * line.quantity for line in lines if line.price is not None), Decimal(0))
    return (price, currencies.pop()) if price <= LARGEST_PRICE else (None, None)
