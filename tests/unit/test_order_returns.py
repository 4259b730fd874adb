"""What may come back of a fulfilled order, and what is given back for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_service.returns import (
    AWAIT_REFUND,
    Accepted,
    CannotReturn,
    ReturnedLine,
    ReturnStatus,
    Shipped,
    accept_return,
)

MUGS = Shipped(item="mug", quantity=3, price=Decimal("10.00"))
CUPS = Shipped(item="cup", quantity=2, price=Decimal("2.50"))


def back(**quantities: int) -> list[ReturnedLine]:
    return [ReturnedLine(item=item, quantity=quantity) for item, quantity in quantities.items()]


def accepted(
    wanted: Sequence[ReturnedLine], refund: str | None = None, shipped: Sequence[Shipped] = (MUGS, CUPS)
) -> Accepted:
    return accept_return(wanted, None if refund is None else Decimal(refund), shipped, "EUR")


def refusal(
    wanted: Sequence[ReturnedLine], refund: str | None = None, shipped: Sequence[Shipped] = (MUGS, CUPS)
) -> CannotReturn:
    with pytest.raises(CannotReturn) as caught:
        accepted(wanted, refund, shipped)
    return caught.value


class TestRefund:
    def test_it_is_the_price_of_the_lines_unless_less_is_said(self) -> None:
        assert accepted(back(mug=2, cup=1)).refund == Decimal("22.50")
        assert accepted(back(mug=2, cup=1), "22.50").refund == Decimal("22.50")
        assert accepted(back(mug=2, cup=1), "7.00").refund == Decimal("7.00")

    def test_it_is_never_more_than_the_lines_cost(self) -> None:
        refused = refusal(back(cup=1), "2.51")
        assert refused.kind == "refund_too_large"
        assert refused.details == {"refundable": "2.50", "currency": "EUR"}

    def test_a_return_waits_for_its_refund_and_without_one_it_is_complete(self) -> None:
        assert accepted(back(mug=1)).status is ReturnStatus.REQUESTED
        assert accepted(back(mug=1), "0.00").status is ReturnStatus.COMPLETED

    def test_a_refund_that_failed_may_still_come_and_nothing_else_changes(self) -> None:
        assert set(AWAIT_REFUND) == {ReturnStatus.REQUESTED, ReturnStatus.REFUND_FAILED}


class TestQuantities:
    def test_all_of_it_may_come_back(self) -> None:
        whole = accepted(back(mug=3, cup=2))
        assert (whole.lines, whole.refund) == (tuple(back(mug=3, cup=2)), Decimal("35.00"))

    def test_lines_of_one_item_are_added_up(self) -> None:
        assert accepted([*back(mug=1), *back(mug=2)]).lines == tuple(back(mug=3))
        assert refusal([*back(mug=2), *back(mug=2)]).details == {"items": {"mug": 3}}

    def test_more_than_was_shipped_is_refused_with_what_is_left_of_each(self) -> None:
        refused = refusal(back(mug=4, cup=3))
        assert (refused.kind, refused.details) == ("return_too_large", {"items": {"mug": 3, "cup": 2}})

    def test_what_came_back_before_is_not_there_any_more(self) -> None:
        shipped = [replace(MUGS, returned=2), replace(CUPS, returned=2)]
        assert accepted(back(mug=1), shipped=shipped).lines == tuple(back(mug=1))
        assert refusal(back(mug=2, cup=1), shipped=shipped).details == {"items": {"mug": 1, "cup": 0}}

    def test_what_was_never_shipped_cannot_come_back(self) -> None:
        assert refusal(back(plate=1, mug=1)).details == {"items": {"plate": 0}}


@given(
    shipped=st.integers(1, 20),
    wanted=st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(0, 200)), max_size=12),
)
def test_however_often_it_is_asked_never_more_comes_back_than_was_shipped(
    shipped: int, wanted: list[tuple[int, int | None]]
) -> None:
    line, given_back = Shipped(item="mug", quantity=shipped, price=Decimal("10.00")), Decimal(0)
    for quantity, refund in wanted:
        money = None if refund is None else str(refund)
        if quantity > line.returnable or (refund or 0) > 10 * quantity:
            assert refusal(back(mug=quantity), money, [line]).details
            continue
        given_back += accepted(back(mug=quantity), money, [line]).refund
        line = replace(line, returned=line.returned + quantity)
    assert line.returnable >= 0
    assert given_back <= 10 * line.returned
