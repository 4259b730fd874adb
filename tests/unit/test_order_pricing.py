"""Prices come from the price list; what cannot be sold together is refused."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_service.pricing import LARGEST_PRICE, CannotPlace, Line, Priced, Product, check_price, price_order


def a_product(item: str, **changes: Any) -> Product:
    known: dict[str, Any] = {
        "seller_id": "s1",
        "price": Decimal("2.50"),
        "currency": "EUR",
        "active": True,
        "requires_approval": False,
    }
    return Product(item=item, **(known | changes))


PRODUCTS = {
    p.item: p
    for p in (
        a_product("mug"),
        a_product("tea", price=Decimal("0.10")),
        a_product("retired", active=False),
        a_product("foreign", seller_id="s2"),
        a_product("dollar", currency="USD"),
        a_product("made to order", requires_approval=True),
        a_product("palace", price=LARGEST_PRICE),
    )
}


def refusal(wanted: Sequence[tuple[str, int]]) -> CannotPlace:
    with pytest.raises(CannotPlace) as refused:
        price_order(wanted, PRODUCTS)
    return refused.value


def test_the_total_is_exact() -> None:
    priced = price_order([("mug", 3), ("tea", 7)], PRODUCTS)

    assert (priced.price, priced.currency, priced.requires_approval) == (Decimal("8.20"), "EUR", False)
    assert priced.lines == (
        Line(item="mug", seller_id="s1", quantity=3, price=Decimal("2.50")),
        Line(item="tea", seller_id="s1", quantity=7, price=Decimal("0.10")),
    )


@given(st.lists(st.tuples(st.sampled_from(["mug", "tea"]), st.integers(1, 1000)), min_size=1, max_size=20))
def test_lines_of_one_item_are_added_up(wanted: list[tuple[str, int]]) -> None:
    priced = price_order(wanted, PRODUCTS)

    assert len({line.item for line in priced.lines}) == len(priced.lines)
    for line in priced.lines:
        assert line.quantity == sum(quantity for item, quantity in wanted if item == line.item)
    assert priced.price == sum(PRODUCTS[item].price * quantity for item, quantity in wanted)


@pytest.mark.parametrize(
    ("wanted", "kind", "details"),
    [
        ([("soup", 1), ("mug", 1), ("bread", 1)], "unknown_item", {"items": ["bread", "soup"]}),
        ([("retired", 1)], "unknown_item", {"items": ["retired"]}),
        ([("mug", 1), ("foreign", 1)], "mixed_sellers", {"sellerIds": ["s1", "s2"]}),
        ([("mug", 1), ("dollar", 1)], "mixed_currencies", {"currencies": ["EUR", "USD"]}),
        ([("palace", 2)], "price_too_high", {"price": "19999999999.98"}),
    ],
)
def test_what_cannot_be_sold_is_named(wanted: list[tuple[str, int]], kind: str, details: dict[str, Any]) -> None:
    error = refusal(wanted)
    assert (error.kind, error.details) == (kind, details)


def test_the_highest_price_can_be_paid() -> None:
    assert price_order([("palace", 1)], PRODUCTS).price == LARGEST_PRICE


def test_one_product_that_needs_approval_makes_the_order_need_it() -> None:
    assert price_order([("mug", 1), ("made to order", 1)], PRODUCTS).requires_approval


class TestPriceCheck:
    PRICED = Priced(lines=(), price=Decimal("8.20"), currency="EUR", requires_approval=False)

    @pytest.mark.parametrize(
        ("price", "currency"),
        [(None, None), (Decimal("8.20"), None), (Decimal("8.2"), "EUR"), (None, "EUR")],
    )
    def test_the_same_or_none_is_fine(self, price: Decimal | None, currency: str | None) -> None:
        check_price(self.PRICED, price, currency)

    @pytest.mark.parametrize(
        ("price", "currency"), [(Decimal("8.19"), None), (Decimal(0), "EUR"), (Decimal("8.20"), "USD"), (None, "USD")]
    )
    def test_another_is_refused_with_the_right_one(self, price: Decimal | None, currency: str | None) -> None:
        with pytest.raises(CannotPlace) as refused:
            check_price(self.PRICED, price, currency)
        assert refused.value.kind == "price_mismatch"
        assert refused.value.details == {"price": "8.20", "currency": "EUR"}
