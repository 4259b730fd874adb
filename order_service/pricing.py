"""What an order costs and whether it may be placed. Pure, like domain.py.

Owns: prices from the price list, totals, one seller and one currency per order.
Must not know: anything outside the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LARGEST_PRICE = Decimal("9999999999.99")
"""What a price can be on the wire and in the database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A line of the local price list."""

    item: str
    seller_id: str
    price: Decimal
    currency: str
    active: bool
    requires_approval: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    item: str
    seller_id: str
    quantity: int
    price: Decimal


class CannotPlace(Exception):
    """Why an order cannot be placed.

    ``kind`` is unknown_item, mixed_sellers, mixed_currencies, price_mismatch or price_too_high.
    """

    def __init__(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        self.kind, self.message, self.details = kind, message, details
        super().__init__(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    lines: tuple[Line, ...]
    price: Decimal
    currency: str
    requires_approval: bool


def price_order(wanted: Sequence[tuple[str, int]], products: Mapping[str, Product]) -> Priced:
    """Lines, total and currency from the price list, never from the client. Lines of one item are added up.

    Raises CannotPlace: an item is not for sale, there is more than one seller or currency (contract: one seller
    per order), or the total is over LARGEST_PRICE.
    """
    quantities: dict[str, int] = {}
    for item, quantity in wanted:
        quantities[item] = quantities.get(item, 0) + quantity
    missing = sorted(item for item in quantities if item not in products or not products[item].active)
    if missing:
        raise CannotPlace("unknown_item", f"not for sale: {', '.join(missing)}", {"items": missing})
    chosen = [products[item] for item in quantities]
    _only_one("mixed_sellers", "sellerIds", {p.seller_id for p in chosen})
    _only_one("mixed_currencies", "currencies", {p.currency for p in chosen})
    lines = tuple(Line(item=p.item, seller_id=p.seller_id, quantity=quantities[p.item], price=p.price) for p in chosen)
    price = sum((line.price * line.quantity for line in lines), Decimal(0))
    if price > LARGEST_PRICE:
        raise CannotPlace("price_too_high", f"{price} is more than an order may cost", {"price": str(price)})
    return Priced(
        lines=lines,
        price=price,
        currency=chosen[0].currency,
        requires_approval=any(p.requires_approval for p in chosen),
    )


def _only_one(kind: str, name: str, values: set[str]) -> None:
    if len(values) > 1:
        raise CannotPlace(kind, f"one order, one of {name}: {', '.join(sorted(values))}", {name: sorted(values)})


def check_price(priced: Priced, price: Decimal | None, currency: str | None) -> None:
    """The client's price is only a check. Raises CannotPlace where it differs from the price list."""
    if (price is not None and price != priced.price) or (currency is not None and currency != priced.currency):
        raise CannotPlace(
            "price_mismatch",
            f"the price is {priced.price} {priced.currency}",
            {"price": str(priced.price), "currency": priced.currency},
        )
