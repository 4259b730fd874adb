"""Holdings of stock: every event decided in every state, units counted right, races ending the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations, product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_story import (
    APPROVED,
    AWAITS_APPROVAL,
    BROKEN,
    CANCELLED,
    CREATED,
    EVERY_EVENT,
    EXPIRED,
    FAILED,
    FULFILLED,
    HELD,
    LATER,
    MANUAL_TTL,
    NOW,
    OPEN,
    PAID,
    PLENTY,
    REMIND,
    REMINDER,
    REQUESTS,
    RETURNED,
    RULES,
    TAKEN,
    TERMS,
    TTL,
    Story,
    any_event,
    any_holding,
    any_hours,
    any_order_holding,
    any_saga_event,
    any_shelf,
    decided,
    in_status,
    name_of,
)

from inventory_service.domain import TRANSITIONS, Decision, decide, items_moved_by
from inventory_service.happenings import Happening, Refunded, Rejected, Reserved, ReservedStill
from inventory_service.shelf import Shelf, totals
from inventory_service.states import Holding, HoldingStatus, Line, Movement, MovementKind

NOT_HELD = [status for status in HoldingStatus if status is not HoldingStatus.HELD]


class TestTable:
    def test_every_event_is_decided_in_every_state(self) -> None:
        assert set(TRANSITIONS) == set(product(HoldingStatus, Happening.__args__))

    def test_the_examples_here_cover_every_kind_of_event(self) -> None:
        assert {type(event) for event in EVERY_EVENT} == set(Happening.__args__)

    @pytest.mark.parametrize("event", EVERY_EVENT, ids=name_of)
    @pytest.mark.parametrize("status", HoldingStatus)
    @pytest.mark.parametrize("manual", [False, True], ids=["order", "manual"])
    def test_stock_moves_only_where_its_rows_were_locked(
        self, manual: bool, status: HoldingStatus, event: Happening
    ) -> None:
        """And is locked only where it may move."""
        holding = in_status(status, manual=manual)
        moved = {movement.item for movement in decided(holding, event).movements}
        assert moved == set(items_moved_by(holding, event))

    @pytest.mark.parametrize("event", [TAKEN, REMIND, AWAITS_APPROVAL, BROKEN], ids=name_of)
    @pytest.mark.parametrize("holding", [OPEN, HELD, PAID], ids=["open", "held", "paid"])
    def test_what_moves_no_stock_locks_none(self, holding: Holding, event: Happening) -> None:
        assert items_moved_by(holding, event) == ()

    @pytest.mark.parametrize(
        ("event", "after"),
        [
            (CREATED, "HELD HELD EXPIRED RELEASED REJECTED COMMITTED"),
            (AWAITS_APPROVAL, "OPEN HELD EXPIRED RELEASED REJECTED COMMITTED"),
            (APPROVED, "HELD HELD EXPIRED RELEASED REJECTED COMMITTED"),
            (CANCELLED, "RELEASED RELEASED RELEASED RELEASED REJECTED COMMITTED"),
            (FULFILLED, "REJECTED COMMITTED COMMITTED REJECTED REJECTED COMMITTED"),
            (RETURNED, "OPEN HELD EXPIRED RELEASED REJECTED COMMITTED"),
            (BROKEN, "OPEN HELD EXPIRED RELEASED REJECTED COMMITTED"),
            (TAKEN, "OPEN HELD HELD RELEASED REJECTED COMMITTED"),
            (FAILED, "OPEN RELEASED EXPIRED RELEASED REJECTED COMMITTED"),
            (EXPIRED, "OPEN EXPIRED EXPIRED RELEASED REJECTED COMMITTED"),
            (REMIND, "OPEN HELD EXPIRED RELEASED REJECTED COMMITTED"),
        ],
        ids=lambda value: name_of(value) if not isinstance(value, str) else "",
    )
    def test_where_every_event_leads_from_every_state(self, event: Happening, after: str) -> None:
        """The statuses in the order of HoldingStatus, of an order's holding with enough on the shelf."""
        assert [decided(in_status(status), event).holding.status for status in HoldingStatus] == after.split()


class TestForEveryHoldingAndEvent:
    @settings(deadline=None)
    @given(holding=any_holding, event=any_event, available=any_shelf)
    def test_twice_is_the_same_as_once(self, holding: Holding, event: Happening, available: dict[str, int]) -> None:
        """Also where the inbox has forgotten the first time; a request is refused the second time."""
        shelf = Shelf(available)
        once = decide(holding, event, shelf, now=NOW, rules=RULES)
        twice = decide(once.holding, event, shelf, now=NOW, rules=RULES)
        assert (twice.holding, twice.answer, twice.movements) == (once.holding, None, ())
        assert twice.refusal is None or once.refusal == twice.refusal or event in REQUESTS

    @pytest.mark.parametrize("event", EVERY_EVENT, ids=name_of)
    @pytest.mark.parametrize("status", HoldingStatus)
    @pytest.mark.parametrize("manual", [False, True], ids=["order", "manual"])
    def test_twice_is_the_same_as_once_for_every_pair(
        self, manual: bool, status: HoldingStatus, event: Happening
    ) -> None:
        shelf, holding = Shelf(PLENTY), in_status(status, manual=manual)
        once = decide(holding, event, shelf, now=NOW, rules=RULES)
        twice = decide(once.holding, event, shelf, now=NOW, rules=RULES)
        assert (twice.holding, twice.answer, twice.movements) == (once.holding, None, ())

    @settings(deadline=None)
    @given(holding=any_holding, event=any_event, available=any_shelf)
    def test_a_refusal_changes_nothing(self, holding: Holding, event: Happening, available: dict[str, int]) -> None:
        decision = decided(holding, event, available)
        if decision.refusal is not None:
            assert decision == Decision(holding=holding, refusal=decision.refusal)

    @settings(deadline=None)
    @given(holding=any_order_holding, events=st.lists(any_event, max_size=10))
    def test_a_cancelled_order_is_never_held_again(self, holding: Holding, events: Sequence[Happening]) -> None:
        """But what was shipped is beyond cancelling."""
        is_gone = holding.status is HoldingStatus.COMMITTED
        story = Story(holding=holding).tell(CANCELLED)
        assert story.holding.cancelled or is_gone
        for event in events:
            story.tell(event, now=story.now + TTL)
            assert story.holding.status is not HoldingStatus.HELD
            assert (story.holding.status is HoldingStatus.COMMITTED) == is_gone

    @pytest.mark.parametrize("event", EVERY_EVENT, ids=name_of)
    @pytest.mark.parametrize("status", [s for s in NOT_HELD if s is not HoldingStatus.COMMITTED])
    def test_the_tombstone_alone_keeps_an_order_from_being_held(self, status: HoldingStatus, event: Happening) -> None:
        buried = replace(HELD, status=status, cancelled=True, expires_at=None, wake_at=None)
        decision = decided(buried, event)
        assert decision.holding.status not in {HoldingStatus.HELD, HoldingStatus.COMMITTED}
        assert decision.movements == ()

    @settings(deadline=None)
    @given(holding=any_holding, events=st.lists(any_event, max_size=10))
    def test_what_is_rejected_stays_so(self, holding: Holding, events: Sequence[Happening]) -> None:
        rejected = replace(holding, status=HoldingStatus.REJECTED, expires_at=None, wake_at=None)
        story = Story(holding=rejected).tell(*events)
        assert (story.holding.status, story.answers, story.moved) == ("REJECTED", [], {})

    @settings(deadline=None)
    @given(holding=any_holding, events=st.lists(any_event, max_size=10), available=any_shelf)
    def test_what_is_released_is_never_held_again(
        self, holding: Holding, events: Sequence[Happening], available: dict[str, int]
    ) -> None:
        released = replace(holding, status=HoldingStatus.RELEASED, expires_at=None, wake_at=None)
        story = Story(available, released).tell(*events)
        assert story.holding.status in {HoldingStatus.RELEASED, HoldingStatus.REJECTED}
        assert story.moved == {}
        assert story.answers in ([], ["rejected reservation_expired"])

    @settings(deadline=None)
    @given(events=st.lists(any_saga_event, max_size=14), available=any_shelf, hours=any_hours)
    def test_reserved_units_are_those_of_a_holding_that_is_held(
        self, events: list[Happening], available: dict[str, int], hours: list[int]
    ) -> None:
        story = Story(available)
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
            is_held = story.holding.status is HoldingStatus.HELD
            assert story.reserved == ({"mug": 2, "tea": 1} if is_held else {})
            assert is_held or story.holding.expires_at is None
            assert (story.holding.wake_at is None) == (story.holding.expires_at is None)

    @settings(deadline=None)
    @given(events=st.lists(any_saga_event, max_size=14), available=any_shelf, hours=any_hours)
    def test_on_hand_goes_down_by_what_is_committed_and_up_by_what_is_restocked(
        self, events: list[Happening], available: dict[str, int], hours: list[int]
    ) -> None:
        story = Story(available)
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
            is_gone = story.holding.status is HoldingStatus.COMMITTED
            back = sum(r.restocked for r in story.holding.returns)
            assert story.on_hand == ({"mug": back - 2, "tea": -1} if is_gone else {})
            assert is_gone or not story.holding.returns

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=14), available=any_shelf, hours=any_hours, manual=st.booleans())
    def test_what_the_shelf_counts_is_what_the_movements_say(
        self, events: list[Happening], available: dict[str, int], hours: list[int], manual: bool
    ) -> None:
        story = Story(available, replace(OPEN, manual=manual))
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
        for item, units in available.items():
            on_hand, reserved = story.moved.get(item, (0, 0))
            free = units + on_hand - reserved
            assert free >= 0
            assert story.shelf.missing([Line(item=item, quantity=free)]) is None
            assert story.shelf.missing([Line(item=item, quantity=free + 1)]) is not None

    @settings(deadline=None)
    @given(events=st.lists(any_saga_event, max_size=14), hours=any_hours)
    def test_a_generation_is_taken_once_and_ends_at_most_once(self, events: list[Happening], hours: list[int]) -> None:
        story = Story()
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
        kinds = [
            movement.kind
            for decision in story.decisions
            for movement in decision.movements
            if movement.item == "mug" and movement.kind is not MovementKind.RETURNED
        ]
        assert all((kind is MovementKind.RESERVED) == (n % 2 == 0) for n, kind in enumerate(kinds))
        assert kinds.count(MovementKind.RESERVED) == story.holding.generation
        assert MovementKind.COMMITTED not in kinds[:-1]

    @settings(deadline=None)
    @given(
        quantities=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=8),
        available=any_shelf,
        events=st.lists(st.tuples(st.integers(0, 7), any_event), max_size=30),
    )
    def test_a_shelf_is_never_oversold(
        self,
        quantities: list[tuple[int, int]],
        available: dict[str, int],
        events: list[tuple[int, Happening]],
    ) -> None:
        """Several orders on one shelf: what is held never exceeds what there is."""
        shelf, holdings = Shelf(available), [Holding(order_id=UUID(int=n)) for n in range(len(quantities))]
        for number, event in [*((n, CREATED) for n in range(len(quantities))), *events]:
            which = number % len(holdings)
            mugs, teas = quantities[which]
            wanted = replace(CREATED, lines=(Line(item="mug", quantity=mugs), Line(item="tea", quantity=teas)))
            happened = wanted if event is CREATED else event
            holdings[which] = decide(holdings[which], happened, shelf, now=LATER, rules=RULES).holding
            held = [line for h in holdings if h.status is HoldingStatus.HELD for line in h.lines]
            for item, units in available.items():
                assert sum(line.quantity for line in held if line.item == item) <= units


class TestReserving:
    def test_all_lines_are_held_until_the_reservation_expires(self) -> None:
        decision = decided(OPEN, CREATED)
        assert decision.holding == HELD
        assert decision.answer == Reserved()
        assert [(m.item, m.kind, m.delta_on_hand, m.delta_reserved) for m in decision.movements] == [
            ("mug", MovementKind.RESERVED, 0, 2),
            ("tea", MovementKind.RESERVED, 0, 1),
        ]

    def test_a_customer_who_pays_by_hand_has_another_time_limit(self) -> None:
        by_hand = replace(CREATED, terms=replace(TERMS, payment_mode="manual"))
        held = decided(OPEN, by_hand).holding
        assert (held.expires_at, held.wake_at) == (NOW + MANUAL_TTL, NOW + MANUAL_TTL / 2)

    def test_an_order_that_requires_approval_waits_for_it(self) -> None:
        assert decided(OPEN, AWAITS_APPROVAL) == Decision(holding=OPEN)
        assert decided(OPEN, APPROVED) == decided(OPEN, CREATED)
        assert Story().tell(AWAITS_APPROVAL, APPROVED, AWAITS_APPROVAL, APPROVED).answers == ["reserved 1"]

    def test_an_order_declined_by_its_seller_is_not_held_by_a_late_approval(self) -> None:
        story = Story().tell(AWAITS_APPROVAL, CANCELLED, APPROVED)
        assert (story.holding.status, story.answers, story.moved) == ("RELEASED", ["refunded cancelled"], {})

    @pytest.mark.parametrize(
        ("available", "answer"),
        [
            ({"mug": 1, "tea": 5}, Rejected(reason="out_of_stock", short=("mug",))),
            ({"mug": 1, "tea": 0}, Rejected(reason="out_of_stock", short=("mug", "tea"))),
            ({"mug": 5}, Rejected(reason="unknown_item", short=("tea",))),
            ({}, Rejected(reason="unknown_item", short=("mug", "tea"))),
            ({"mug": 0}, Rejected(reason="unknown_item", short=("tea",))),
        ],
    )
    def test_all_lines_or_none(self, available: dict[str, int], answer: Rejected) -> None:
        decision = decided(OPEN, CREATED, available)
        assert (decision.holding.status, decision.answer, decision.movements) == ("REJECTED", answer, ())

    def test_lines_of_one_item_count_together(self) -> None:
        twice = replace(CREATED, lines=(Line(item="mug", quantity=2), Line(item="mug", quantity=2)))
        assert decided(OPEN, twice, {"mug": 3}).answer == Rejected(reason="out_of_stock", short=("mug",))
        assert [m.delta_reserved for m in decided(OPEN, twice, {"mug": 4}).movements] == [4]

    def test_what_one_order_takes_the_next_one_cannot_have(self) -> None:
        shelf = Shelf({"mug": 3, "tea": 9})
        first = decide(OPEN, CREATED, shelf, now=NOW, rules=RULES)
        second = decide(Holding(order_id=UUID(int=2)), CREATED, shelf, now=NOW, rules=RULES)
        assert (first.answer, second.answer) == (Reserved(), Rejected(reason="out_of_stock", short=("mug",)))

    def test_what_one_order_gives_back_the_next_one_can_have(self) -> None:
        shelf = Shelf({"mug": 0, "tea": 0})
        decide(HELD, CANCELLED, shelf, now=NOW, rules=RULES)
        assert decide(Holding(order_id=UUID(int=2)), CREATED, shelf, now=NOW, rules=RULES).answer == Reserved()


class TestDecidedRaces:
    @pytest.mark.parametrize("events", list(permutations([CREATED, CANCELLED])))
    def test_creation_and_cancellation_in_any_order_leave_nothing_held(self, events: Sequence[Happening]) -> None:
        story = Story().tell(*events)
        assert (story.holding.status, story.reserved) == ("RELEASED", {})
        assert story.answers[-1] == "refunded cancelled"

    @pytest.mark.parametrize("events", list(permutations([FAILED, CANCELLED, EXPIRED])))
    def test_whichever_comes_first_gives_the_stock_back_and_the_others_do_not(
        self, events: Sequence[Happening]
    ) -> None:
        """Given HELD and past its expiry, when failure, cancellation and expiry come, then stock is back once."""
        story = Story(holding=HELD).tell(*events, now=LATER)
        assert story.reserved == {"mug": -2, "tea": -1}
        assert (story.holding.status, story.holding.cancelled) == ("RELEASED", True)

    def test_payment_ends_the_expiry(self) -> None:
        story = Story(holding=HELD).tell(TAKEN).tell(EXPIRED, now=LATER + TTL)
        assert (story.holding.status, story.holding.expires_at, story.answers) == ("HELD", None, [])
        assert story.holding.wake_at is None

    def test_what_is_paid_stays_held_though_a_failure_is_forged(self) -> None:
        story = Story(holding=HELD).tell(TAKEN, FAILED)
        assert (story.holding, story.answers, story.moved) == (PAID, [], {})

    def test_paid_after_expiry_is_held_again_without_expiry(self) -> None:
        story = Story(holding=HELD).tell(EXPIRED, TAKEN, now=LATER)
        assert story.answers == ["refunded expired", "reserved 2"]
        assert (story.holding.status, story.holding.expires_at) == ("HELD", None)

    def test_paid_after_expiry_when_the_stock_is_gone_is_rejected_for_the_expiry(self) -> None:
        story = Story(holding=in_status(HoldingStatus.EXPIRED), available={"mug": 1})
        story.tell(TAKEN)
        assert story.decisions[-1].answer == Rejected(reason="reservation_expired", short=("tea",))
        assert story.holding.status is HoldingStatus.REJECTED

    def test_an_expired_and_then_cancelled_order_is_not_held_again_by_a_late_payment(self) -> None:
        story = Story(holding=HELD).tell(EXPIRED, CANCELLED, TAKEN, now=LATER)
        assert story.answers == ["refunded expired", "refunded cancelled"]
        assert story.reserved == {"mug": -2, "tea": -1}

    def test_a_cancelled_order_that_never_held_anything_is_answered_all_the_same(self) -> None:
        """The order service settles by this answer."""
        decision = decided(OPEN, CANCELLED)
        assert (decision.answer, decision.movements) == (Refunded(reason="cancelled"), ())

    def test_a_reservation_does_not_expire_early(self) -> None:
        early = decided(HELD, EXPIRED, now=LATER - timedelta(microseconds=1))
        assert early == Decision(holding=HELD)
        assert decided(HELD, EXPIRED, now=LATER).holding.status is HoldingStatus.EXPIRED

    def test_a_second_order_created_with_other_lines_changes_nothing(self) -> None:
        other = replace(CREATED, lines=(Line(item="mug", quantity=50),))
        assert decided(HELD, other) == Decision(holding=HELD)


class TestSayingAReservationOnceMore:
    @pytest.mark.parametrize(
        ("ttl_s", "reminder_s"), [(60, 30), (599, 299.5), (600, 300), (1800, 300), (86_400, 300)], ids=str
    )
    def test_it_comes_at_half_of_its_life_but_long_before_its_order_gives_up(
        self, ttl_s: float, reminder_s: float
    ) -> None:
        rules = replace(RULES, reservation_ttl=timedelta(seconds=ttl_s))
        held = decide(OPEN, CREATED, Shelf(PLENTY), now=NOW, rules=rules).holding
        assert held.wake_at == NOW + timedelta(seconds=reminder_s)
        assert held.expires_at == NOW + timedelta(seconds=ttl_s)

    def test_once_and_then_only_its_expiry_is_waited_for(self) -> None:
        decision = decided(HELD, REMIND, now=REMINDER)
        assert (decision.answer, decision.movements) == (ReservedStill(), ())
        assert decision.holding == replace(HELD, wake_at=LATER)
        assert decided(decision.holding, REMIND, now=LATER) == Decision(holding=decision.holding)

    def test_not_before(self) -> None:
        assert decided(HELD, REMIND, now=REMINDER - timedelta(microseconds=1)) == Decision(holding=HELD)

    def test_not_when_it_is_paid(self) -> None:
        assert decided(PAID, REMIND, now=REMINDER) == Decision(holding=PAID)

    def test_not_when_it_was_held_again_for_a_late_payment(self) -> None:
        story = Story(holding=HELD).tell(EXPIRED, TAKEN, REMIND, now=LATER + TTL)
        assert story.answers == ["refunded expired", "reserved 2"]

    def test_it_expires_all_the_same(self) -> None:
        story = Story(holding=HELD).tell(REMIND, now=REMINDER).tell(EXPIRED, now=LATER)
        assert story.answers == ["reservedstill", "refunded expired"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 3), st.integers(-3, 3)), max_size=12))
def test_totals_add_up_and_leave_out_what_does_not_change(moves: list[tuple[str, int, int]]) -> None:
    movements = [
        Movement(item=item, kind=MovementKind.ADJUSTED, delta_on_hand=on_hand, delta_reserved=reserved)
        for item, on_hand, reserved in moves
    ]
    for item in "ab":
        sums = (sum(m[1] for m in moves if m[0] == item), sum(m[2] for m in moves if m[0] == item))
        assert totals(movements).get(item, (0, 0)) == sums
    assert (0, 0) not in totals(movements).values()
