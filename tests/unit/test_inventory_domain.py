"""Holdings of stock: every event decided in every state, units counted right, races ending the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations, product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_service.domain import (
    TRANSITIONS,
    Decision,
    Happening,
    Holding,
    HoldingStatus,
    Line,
    Movement,
    MovementKind,
    OrderCancelled,
    OrderCreated,
    PaymentFailed,
    PaymentTaken,
    Refunded,
    Rejected,
    ReservationExpired,
    Reserved,
    Rules,
    Shelf,
    Terms,
    decide,
    totals,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL, MANUAL_TTL = timedelta(minutes=30), timedelta(minutes=2)
LATER = NOW + TTL
RULES = Rules(reservation_ttl=TTL, manual_payment_ttl=MANUAL_TTL)
ID = UUID(int=1)
TERMS = Terms(user_id="u1", price=Decimal(10), currency="EUR", payment_mode="auto", payment_method=None)
LINES = (Line(item="mug", quantity=2), Line(item="tea", quantity=1))
CREATED = OrderCreated(order_id=ID, lines=LINES, terms=TERMS)
CANCELLED = OrderCancelled(order_id=ID)
TAKEN = PaymentTaken(order_id=ID)
FAILED = PaymentFailed(order_id=ID)
EXPIRED = ReservationExpired(order_id=ID)
EVERY_EVENT: tuple[Happening, ...] = (CREATED, CANCELLED, TAKEN, FAILED, EXPIRED)
PLENTY = {"mug": 100, "tea": 100}
OPEN = Holding(order_id=ID)
HELD = Holding(order_id=ID, status=HoldingStatus.HELD, generation=1, expires_at=LATER, lines=LINES, terms=TERMS)


def decided(holding: Holding, event: Happening, available: Mapping[str, int] = PLENTY, now: datetime = NOW) -> Decision:
    return decide(holding, event, Shelf(available), now=now, rules=RULES)


class Story:
    """Events one after the other on one shelf; everything that followed from them."""

    def __init__(self, available: Mapping[str, int] = PLENTY, holding: Holding = OPEN) -> None:
        self.shelf, self.holding, self.now = Shelf(available), holding, NOW
        self.decisions: list[Decision] = []

    def tell(self, *events: Happening, now: datetime | None = None) -> Story:
        self.now = now or self.now
        for event in events:
            decision = decide(self.holding, event, self.shelf, now=self.now, rules=RULES)
            self.decisions.append(decision)
            self.holding = decision.holding
        return self

    @property
    def answers(self) -> list[str]:
        return [_word(decision) for decision in self.decisions if decision.answer is not None]

    @property
    def reserved(self) -> dict[str, int]:
        moved = totals([m for decision in self.decisions for m in decision.movements])
        return {item: reserved for item, (_, reserved) in moved.items()}


def _word(decision: Decision) -> str:
    match decision.answer:
        case Reserved():
            return f"reserved {decision.holding.generation}"
        case Rejected(reason=reason) | Refunded(reason=reason):
            return f"{type(decision.answer).__name__.lower()} {reason}"
    raise AssertionError


any_holding = st.one_of(
    st.just(OPEN),
    st.just(replace(HELD, expires_at=None)),
    st.builds(
        replace,
        st.just(HELD),
        status=st.sampled_from([s for s in HoldingStatus if s not in {HoldingStatus.OPEN, HoldingStatus.HELD}]),
        cancelled=st.booleans(),
        expires_at=st.none(),
        generation=st.integers(0, 3),
    ),
    st.builds(replace, st.just(HELD), expires_at=st.sampled_from([NOW, LATER, NOW - TTL])),
)
any_event = st.sampled_from(EVERY_EVENT)
any_shelf = st.fixed_dictionaries({"mug": st.integers(0, 5), "tea": st.integers(0, 3)})


class TestTable:
    def test_every_event_is_decided_in_every_state(self) -> None:
        assert set(TRANSITIONS) == set(product(HoldingStatus, Happening.__args__))

    def test_the_examples_here_cover_every_kind_of_event(self) -> None:
        assert {type(event) for event in EVERY_EVENT} == set(Happening.__args__)

    @pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize("status", HoldingStatus)
    def test_stock_moves_only_where_its_rows_were_locked(self, status: HoldingStatus, event: Happening) -> None:
        """And is locked only where it may move."""
        holding = replace(HELD, status=status, expires_at=NOW if status is HoldingStatus.HELD else None)
        assert bool(decided(holding, event).movements) == holding.can_move_stock(event)

    def test_a_paid_reservation_locks_no_stock(self) -> None:
        assert not HELD.can_move_stock(TAKEN)


class TestForEveryHoldingAndEvent:
    @settings(deadline=None)
    @given(holding=any_holding, event=any_event, available=any_shelf)
    def test_twice_is_the_same_as_once(self, holding: Holding, event: Happening, available: dict[str, int]) -> None:
        shelf = Shelf(available)
        once = decide(holding, event, shelf, now=NOW, rules=RULES)
        assert decide(once.holding, event, shelf, now=NOW, rules=RULES) == Decision(holding=once.holding)

    @settings(deadline=None)
    @given(holding=any_holding, events=st.lists(any_event, max_size=10))
    def test_a_cancelled_order_is_never_held_again(self, holding: Holding, events: Sequence[Happening]) -> None:
        story = Story(holding=holding).tell(CANCELLED)
        assert story.holding.cancelled
        for event in events:
            story.tell(event, now=story.now + TTL)
            assert story.holding.status is not HoldingStatus.HELD
            assert story.holding.cancelled

    @pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize("status", [s for s in HoldingStatus if s is not HoldingStatus.HELD])
    def test_the_tombstone_alone_keeps_an_order_from_being_held(self, status: HoldingStatus, event: Happening) -> None:
        buried = replace(HELD, status=status, cancelled=True, expires_at=None)
        assert decided(buried, event).holding.status is not HoldingStatus.HELD

    @settings(deadline=None)
    @given(holding=any_holding, events=st.lists(any_event, max_size=10))
    @pytest.mark.parametrize("status", [HoldingStatus.RELEASED, HoldingStatus.REJECTED, HoldingStatus.COMMITTED])
    def test_what_is_final_stays(self, status: HoldingStatus, holding: Holding, events: Sequence[Happening]) -> None:
        story = Story(holding=replace(holding, status=status, expires_at=None)).tell(*events)
        assert story.holding.status is status
        assert story.answers == []
        assert story.reserved == {}

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=14), available=any_shelf, hours=st.lists(st.integers(0, 1), min_size=14))
    def test_reserved_units_are_those_of_a_holding_that_is_held(
        self, events: list[Happening], available: dict[str, int], hours: list[int]
    ) -> None:
        story = Story(available)
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
            is_held = story.holding.status is HoldingStatus.HELD
            assert story.reserved == ({"mug": 2, "tea": 1} if is_held else {})
            assert is_held or story.holding.expires_at is None

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=14), hours=st.lists(st.integers(0, 1), min_size=14))
    def test_stock_is_taken_once_and_given_back_at_most_once_per_generation(
        self, events: list[Happening], hours: list[int]
    ) -> None:
        story = Story()
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
        moves = [
            (decision.holding.generation, decision.movements[0].delta_reserved > 0)
            for decision in story.decisions
            if decision.movements
        ]
        assert moves == [(1 + n // 2, n % 2 == 0) for n in range(len(moves))]

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
        assert decided(OPEN, by_hand).holding.expires_at == NOW + MANUAL_TTL

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

    def test_paid_after_expiry_is_held_again_without_expiry(self) -> None:
        story = Story(holding=HELD).tell(EXPIRED, TAKEN, now=LATER)
        assert story.answers == ["refunded expired", "reserved 2"]
        assert (story.holding.status, story.holding.expires_at) == ("HELD", None)

    def test_paid_after_expiry_when_the_stock_is_gone_is_rejected_for_the_expiry(self) -> None:
        story = Story(holding=replace(HELD, status=HoldingStatus.EXPIRED, expires_at=None), available={"mug": 1})
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
