"""What leaves the shelf for good and what comes back: counted exactly, once, whatever comes before or after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_story import (
    BROKEN,
    CANCELLED,
    COMMITTED,
    EVERY_EVENT,
    EXPIRED,
    FAILED,
    FULFILLED,
    HELD,
    ID,
    LATER,
    LINES,
    OPEN,
    PAID,
    RETURNED,
    TAKEN,
    TTL,
    Story,
    any_event,
    decided,
    in_status,
    name_of,
)

from inventory_service.domain import Decision
from inventory_service.happenings import Happening, OrderReturned, Refusal, Rejected, Restocked
from inventory_service.states import Holding, HoldingStatus, Line, MovementKind

NONE_LEFT = {"mug": 1, "tea": 9}


def _return(number: int, restock: bool = True, **quantities: int) -> OrderReturned:
    lines = tuple(Line(item=item, quantity=quantity) for item, quantity in quantities.items())
    return OrderReturned(order_id=ID, return_id=UUID(int=number), lines=lines, restock=restock)


class TestFulfilled:
    @pytest.mark.parametrize("holding", [PAID, HELD], ids=["paid", "not known to be paid"])
    def test_units_leave_both_counts_at_once(self, holding: Holding) -> None:
        decision = decided(holding, FULFILLED)
        assert decision.holding == replace(COMMITTED, generation=1)
        assert [(m.item, m.kind, m.delta_on_hand, m.delta_reserved) for m in decision.movements] == [
            ("mug", MovementKind.COMMITTED, -2, -2),
            ("tea", MovementKind.COMMITTED, -1, -1),
        ]

    def test_the_shelf_has_as_many_free_units_as_before(self) -> None:
        story = Story({"mug": 3, "tea": 0}, PAID).tell(FULFILLED)
        assert story.shelf.missing([Line(item="mug", quantity=3)]) is None
        assert story.shelf.missing([Line(item="mug", quantity=4)]) is not None

    def test_expired_before_inventory_heard_of_the_payment_it_is_held_again_and_committed(self) -> None:
        story = Story(holding=HELD).tell(EXPIRED, FULFILLED, TAKEN, now=LATER)
        assert story.answers == ["refunded expired", "committed"]
        assert (story.holding.status, story.holding.generation) == ("COMMITTED", 2)
        assert story.moved == {"mug": (-2, -2), "tea": (-1, -1)}
        assert [m.kind for m in story.decisions[1].movements if m.item == "mug"] == ["reserved", "committed"]

    def test_expired_and_gone_it_is_rejected_for_the_expiry(self) -> None:
        story = Story(NONE_LEFT, in_status(HoldingStatus.EXPIRED)).tell(FULFILLED, TAKEN, FULFILLED)
        assert story.decisions[0].answer == Rejected(reason="reservation_expired", short=("mug",))
        assert (story.holding.status, story.holding.generation, story.moved) == ("REJECTED", 1, {})
        assert len(story.answers) == 1

    @pytest.mark.parametrize("holding", [OPEN, in_status(HoldingStatus.RELEASED)], ids=["nothing ever", "released"])
    def test_without_stock_the_order_must_end(self, holding: Holding) -> None:
        story = Story(holding=holding).tell(FULFILLED, FULFILLED)
        assert (story.answers, story.holding.status) == (["rejected reservation_expired"], "REJECTED")
        assert story.moved == {}

    @pytest.mark.parametrize("status", [s for s in HoldingStatus if s is not HoldingStatus.HELD])
    def test_what_is_cancelled_is_not_shipped(self, status: HoldingStatus) -> None:
        buried = replace(in_status(status), cancelled=True)
        assert decided(buried, FULFILLED) == Decision(holding=buried)

    @pytest.mark.parametrize("events", list(permutations([FULFILLED, CANCELLED])))
    def test_shipping_and_cancelling_whichever_comes_first_is_the_only_one(self, events: Sequence[Happening]) -> None:
        story = Story(holding=PAID).tell(*events)
        shipped = events[0] is FULFILLED
        assert story.holding.status == ("COMMITTED" if shipped else "RELEASED")
        assert story.moved == ({"mug": (-2, -2), "tea": (-1, -1)} if shipped else {"mug": (0, -2), "tea": (0, -1)})

    @pytest.mark.parametrize("events", list(permutations([FULFILLED, EXPIRED, FAILED, TAKEN])))
    def test_in_whatever_order_word_of_payment_expiry_and_shipping_comes(self, events: Sequence[Happening]) -> None:
        """Given enough on the shelf, then it is shipped once, or released unpaid and then rejected; never between."""
        story = Story(holding=HELD).tell(*events, now=LATER)
        if story.holding.status is HoldingStatus.COMMITTED:
            assert story.moved == {"mug": (-2, -2), "tea": (-1, -1)}
        else:
            assert story.holding.status is HoldingStatus.REJECTED
            assert story.moved == {"mug": (0, -2), "tea": (0, -1)}

    @pytest.mark.parametrize("event", [e for e in EVERY_EVENT if not isinstance(e, OrderReturned)], ids=name_of)
    def test_what_is_committed_hears_of_nothing_but_returns(self, event: Happening) -> None:
        decision = decided(COMMITTED, event)
        assert (decision.holding, decision.answer, decision.movements) == (COMMITTED, None, ())


class TestReturned:
    def test_restocked_units_are_on_hand_again(self) -> None:
        decision = decided(COMMITTED, RETURNED)
        assert decision.answer == Restocked(lines=RETURNED.lines)
        assert [(m.item, m.kind, m.delta_on_hand, m.delta_reserved) for m in decision.movements] == [
            ("mug", MovementKind.RETURNED, 1, 0)
        ]
        assert decision.holding.status is HoldingStatus.COMMITTED

    def test_without_restock_nothing_moves_but_it_counts_as_returned(self) -> None:
        decision = decided(COMMITTED, BROKEN)
        assert (decision.answer, decision.movements) == (None, ())
        assert [r.restocked for r in decision.holding.returns] == [False]
        too_many = _return(5, mug=2)
        assert decided(decision.holding, too_many).refusal is Refusal.TOO_MUCH

    def test_in_several_parts_up_to_all_and_not_one_more(self) -> None:
        story = Story(holding=COMMITTED).tell(_return(1, mug=1), _return(2, mug=1, tea=1))
        assert story.on_hand == {"mug": 2, "tea": 1}
        assert story.tell(_return(3, tea=1)).decisions[-1].refusal is Refusal.TOO_MUCH
        assert story.on_hand == {"mug": 2, "tea": 1}

    def test_the_same_return_again_is_known_even_with_other_lines(self) -> None:
        story = Story(holding=COMMITTED).tell(_return(1, mug=1), _return(1, mug=1), _return(1, mug=50))
        assert story.on_hand == {"mug": 1}
        assert [decision.refusal for decision in story.decisions] == [None, None, None]

    def test_lines_of_one_item_count_together(self) -> None:
        mug = Line(item="mug", quantity=1)
        thrice = replace(RETURNED, lines=(mug, mug, mug))
        assert decided(COMMITTED, thrice).refusal is Refusal.TOO_MUCH
        twice = decided(COMMITTED, replace(RETURNED, lines=(mug, mug)))
        assert [m.delta_on_hand for m in twice.movements] == [2]

    @pytest.mark.parametrize("lines", [{"mug": 3}, {"cup": 1}, {"mug": 1, "cup": 1}, {"mug": 10**6}])
    def test_never_what_was_not_shipped(self, lines: dict[str, int]) -> None:
        assert decided(COMMITTED, _return(1, **lines)) == Decision(holding=COMMITTED, refusal=Refusal.TOO_MUCH)

    @pytest.mark.parametrize("status", [s for s in HoldingStatus if s is not HoldingStatus.COMMITTED])
    def test_of_what_was_not_shipped_nothing_comes_back(self, status: HoldingStatus) -> None:
        holding = in_status(status)
        assert decided(holding, RETURNED) == Decision(holding=holding)

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 3), st.integers(1, 2)), max_size=12),
        st.lists(any_event, max_size=5),
    )
    def test_never_more_comes_back_than_was_shipped(
        self, returns: list[tuple[int, bool, int, int]], others: list[Happening]
    ) -> None:
        story = Story(holding=PAID).tell(FULFILLED)
        for number, restock, mugs, teas in returns:
            story.tell(_return(number, restock, **({"mug": mugs} if mugs else {}), tea=teas), *others)
        back: dict[str, int] = {}
        for came in story.holding.returns:
            for line in came.lines:
                back[line.item] = back.get(line.item, 0) + line.quantity
        assert all(back.get(line.item, 0) <= line.quantity for line in LINES)
        assert len({came.return_id for came in story.holding.returns}) == len(story.holding.returns)
        restocked = [line for came in story.holding.returns if came.restocked for line in came.lines]
        for shipped in LINES:
            on_shelf = sum(line.quantity for line in restocked if line.item == shipped.item)
            assert story.on_hand.get(shipped.item, 0) == on_shelf - shipped.quantity

    def test_long_after_its_expiry_would_have_been(self) -> None:
        story = Story(holding=HELD).tell(FULFILLED).tell(EXPIRED, RETURNED, now=LATER + TTL)
        assert story.answers == ["committed", "restocked"]
