"""What may be in a cart, what it comes to, and when it may become an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from order_service.basket import (
    MOST_LINES,
    CannotUse,
    Cart,
    CartLine,
    CartStatus,
    added_up,
    check_out,
    refuse_ordered,
    refuse_too_many,
    total,
)
from order_service.cart_requests import create_cart, get_cart, put_cart_item, remove_cart_item
from order_service.pricing import LARGEST_PRICE
from shared.errors import CartNotFound, InvalidRequest
from shared.identity import Identity, Role

ORDER = UUID(int=7)
ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
NO_DATABASE: Any = None
ID = str(UUID(int=1))


def cart(status: CartStatus = CartStatus.OPEN, **lines: int) -> Cart:
    order_id = ORDER if status is CartStatus.ORDERED else None
    return Cart(id=UUID(int=1), user_id="ada", status=status, order_id=order_id, lines=lines)


def line(price: str | None = "10.00", quantity: int = 1, currency: str | None = "EUR", sold: bool = True) -> CartLine:
    said = None if price is None else Decimal(price)
    return CartLine(item="mug", quantity=quantity, price=said, currency=currency, for_sale=sold)


class TestCheckOut:
    def test_an_open_cart_becomes_an_order_of_its_lines(self) -> None:
        assert check_out(cart(mug=2, pen=1)) == (("mug", 2), ("pen", 1))

    def test_a_cart_becomes_one_order(self) -> None:
        for use in (check_out, refuse_ordered):
            with pytest.raises(CannotUse) as refused:
                use(cart(CartStatus.ORDERED, mug=1))
            assert (refused.value.kind, refused.value.details) == ("cart_not_open", {"orderId": str(ORDER)})

    def test_an_empty_cart_becomes_none(self) -> None:
        with pytest.raises(CannotUse) as refused:
            check_out(cart())
        assert refused.value.kind == "cart_empty"


class TestLines:
    def test_lines_of_one_item_are_one(self) -> None:
        assert added_up([("mug", 2), ("pen", 1), ("mug", 3)]) == {"mug": 5, "pen": 1}

    def test_as_many_lines_as_an_order_has(self) -> None:
        names = [f"item-{number}" for number in range(MOST_LINES)]
        refuse_too_many([*names, "item-0"])
        with pytest.raises(CannotUse) as refused:
            refuse_too_many([*names, "one more"])
        assert (refused.value.kind, refused.value.details) == ("cart_full", {"maxLines": MOST_LINES})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], (None, None)),
        ([line("10.00", 2)], (Decimal("20.00"), "EUR")),
        ([line("10.00", 2), line("0.50", 3)], (Decimal("21.50"), "EUR")),
        ([line(), line(currency="USD")], (None, None)),
        ([line(), line(sold=False)], (None, None)),
        ([line(None, currency=None, sold=False)], (None, None)),
        ([line(str(LARGEST_PRICE), 2)], (None, None)),
    ],
)
def test_what_a_cart_comes_to(lines: list[CartLine], expected: Any) -> None:
    """Given an empty cart, two currencies, or something that is not sold, then nothing that could be paid."""
    assert total(lines) == expected


class TestRequests:
    """What is wrong is refused by name before anything is asked of the database."""

    @pytest.mark.parametrize(
        ("said", "field"),
        [
            ([], "cart"),
            ("mine", "cart"),
            ({"items": "mug"}, "items"),
            ({"items": [{"item": "mug"}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 0}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 600}] * 2}, "items"),
            ({"coupon": "x"}, "coupon"),
            ({"userId": 5}, "userId"),
        ],
    )
    def test_a_new_cart(self, said: Any, field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            create_cart(NO_DATABASE, ADA, said, None, None)
        assert list(refused.value.details["errors"]) == [field]

    @pytest.mark.parametrize(("item", "quantity", "field"), [("", 1, "item"), (7, 1, "item"), ("x" * 201, 1, "item")])
    def test_an_item(self, item: Any, quantity: Any, field: str) -> None:
        for ask in (
            lambda: put_cart_item(NO_DATABASE, ADA, ID, item, quantity),
            lambda: remove_cart_item(NO_DATABASE, ADA, ID, item),
        ):
            with pytest.raises(InvalidRequest) as refused:
                ask()
            assert list(refused.value.details["errors"]) == [field]

    @pytest.mark.parametrize("quantity", [0, -1, 1001, 1.5, "2", None, True])
    def test_pieces(self, quantity: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            put_cart_item(NO_DATABASE, ADA, ID, "mug", quantity)
        assert list(refused.value.details["errors"]) == ["quantity"]

    @pytest.mark.parametrize("cart_id", ["", "7", None, 5, [ID]])
    def test_an_id_that_cannot_be_one_names_no_cart(self, cart_id: Any) -> None:
        for ask in (
            lambda: get_cart(NO_DATABASE, ADA, cart_id),
            lambda: put_cart_item(NO_DATABASE, ADA, cart_id, "mug", 1),
            lambda: remove_cart_item(NO_DATABASE, ADA, cart_id, "mug"),
        ):
            with pytest.raises(CartNotFound):
                ask()
