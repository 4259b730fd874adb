"""Manual holds: made and ended by requests alone. No saga hears of them, and no saga moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory_story import (
    AWAITS_APPROVAL,
    COMMIT,
    EXPIRED,
    HELD,
    HOLD,
    LATER,
    LINES,
    MANUAL,
    NOW,
    OPEN,
    RELEASE,
    REMIND,
    REMINDER,
    REQUESTS,
    SAGA_EVENTS,
    Story,
    any_event,
    any_hours,
    any_manual_hold,
    any_shelf,
    decided,
    in_status,
    name_of,
)

from inventory_service import holds
from inventory_service.domain import Decision, items_moved_by
from inventory_service.happenings import Happening, Refusal, Rejected
from inventory_service.schemas import NewHold
from inventory_service.states import Holding, HoldingStatus, Line
from shared.errors import ReservationExists

NEW = replace(OPEN, manual=True)
NOT_OPEN = [status for status in HoldingStatus if status is not HoldingStatus.OPEN]
NOT_HELD = [status for status in NOT_OPEN if status is not HoldingStatus.HELD]


class TestHolding:
    def test_all_lines_until_the_ttl_that_orders_have(self) -> None:
        decision = decided(NEW, HOLD)
        assert decision.holding == MANUAL
        assert decision.answer is None
        assert [(m.item, m.kind, m.delta_on_hand, m.delta_reserved) for m in decision.movements] == [
            ("mug", "reserved", 0, 2),
            ("tea", "reserved", 0, 1),
        ]

    def test_or_until_the_ttl_that_is_asked_for(self) -> None:
        held = decided(NEW, replace(HOLD, ttl=timedelta(seconds=7))).holding
        assert held.expires_at == held.wake_at == NOW + timedelta(seconds=7)

    @pytest.mark.parametrize(
        ("available", "answer"),
        [
            ({"mug": 1, "tea": 9}, Rejected(reason="out_of_stock", short=("mug",))),
            ({"mug": 0, "tea": 0}, Rejected(reason="out_of_stock", short=("mug", "tea"))),
            ({"mug": 9}, Rejected(reason="unknown_item", short=("tea",))),
        ],
    )
    def test_all_or_none(self, available: dict[str, int], answer: Rejected) -> None:
        decision = decided(NEW, HOLD, available)
        assert (decision.answer, decision.movements) == (answer, ())
        assert decision.holding.status is HoldingStatus.REJECTED

    def test_the_last_unit_is_held_once(self) -> None:
        story = Story({"mug": 2, "tea": 1}, NEW).tell(HOLD)
        assert story.shelf.missing([Line(item="tea", quantity=1)]) is not None

    @pytest.mark.parametrize("status", NOT_OPEN)
    def test_an_id_is_held_once(self, status: HoldingStatus) -> None:
        hold = in_status(status, manual=True)
        assert decided(hold, HOLD) == Decision(holding=hold, refusal=Refusal.EXISTS)


class TestRefusal:
    def test_one_that_the_table_refuses_is_not_answered_as_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = Decision(holding=MANUAL, refusal=Refusal.EXISTS)
        monkeypatch.setattr(holds.queries, "insert_hold", lambda *_: True)
        monkeypatch.setattr(holds, "apply_request", lambda *_: refused)
        nothing: Any = None
        with pytest.raises(ReservationExists):
            holds.reserve(nothing, NewHold(lines=LINES, ttl=None, reference=None), None, None, nothing)


class TestEnding:
    def test_released_the_units_are_free_again(self) -> None:
        story = Story(holding=NEW).tell(HOLD, RELEASE)
        assert (story.holding.status, story.holding.expires_at, story.moved) == ("RELEASED", None, {})

    def test_committed_they_are_gone(self) -> None:
        story = Story(holding=NEW).tell(HOLD, COMMIT)
        assert story.holding.status is HoldingStatus.COMMITTED
        assert story.moved == {"mug": (-2, 0), "tea": (-1, 0)}

    def test_expired_they_are_free_again(self) -> None:
        story = Story(holding=NEW).tell(HOLD).tell(EXPIRED, now=LATER)
        assert (story.holding.status, story.moved) == ("EXPIRED", {})

    def test_not_before_the_ttl(self) -> None:
        early = LATER - timedelta(microseconds=1)
        assert decided(MANUAL, EXPIRED, now=early) == Decision(holding=MANUAL)

    def test_a_reminder_means_nothing(self) -> None:
        assert decided(MANUAL, REMIND, now=REMINDER) == Decision(holding=MANUAL)
        assert decided(MANUAL, REMIND, now=LATER) == Decision(holding=MANUAL)

    @pytest.mark.parametrize("request_", [RELEASE, COMMIT], ids=name_of)
    @pytest.mark.parametrize("status", NOT_HELD)
    def test_only_once(self, status: HoldingStatus, request_: Happening) -> None:
        hold = in_status(status, manual=True)
        assert decided(hold, request_) == Decision(holding=hold, refusal=Refusal.ENDED)

    @pytest.mark.parametrize("request_", [RELEASE, COMMIT], ids=name_of)
    def test_where_nothing_was_held_there_is_nothing_to_end(self, request_: Happening) -> None:
        """An order of which inventory has only heard from others is no reservation either."""
        assert decided(OPEN, request_) == Decision(holding=OPEN, refusal=Refusal.UNKNOWN)


class TestApartFromSagas:
    @pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
    @pytest.mark.parametrize("status", NOT_OPEN)
    def test_an_orders_holding_is_not_moved_by_requests(self, status: HoldingStatus, request_: Happening) -> None:
        holding = in_status(status)
        assert decided(holding, request_) == Decision(holding=holding, refusal=Refusal.FOREIGN)
        assert items_moved_by(holding, request_) == ()

    def test_not_even_a_paid_one(self) -> None:
        paid = replace(HELD, expires_at=None, wake_at=None)
        assert decided(paid, RELEASE) == Decision(holding=paid, refusal=Refusal.FOREIGN)

    def test_a_cancelled_orders_id_is_not_held_by_hand(self) -> None:
        buried = replace(OPEN, cancelled=True)
        assert decided(buried, HOLD) == Decision(holding=buried, refusal=Refusal.FOREIGN)

    @pytest.mark.parametrize("event", [*SAGA_EVENTS, AWAITS_APPROVAL], ids=name_of)
    @pytest.mark.parametrize("status", NOT_OPEN)
    def test_a_manual_hold_is_not_moved_by_sagas(self, status: HoldingStatus, event: Happening) -> None:
        hold = in_status(status, manual=True)
        assert decided(hold, event) == Decision(holding=hold)
        assert items_moved_by(hold, event) == ()

    @settings(deadline=None)
    @given(hold=any_manual_hold, events=st.lists(any_event, max_size=14), available=any_shelf, hours=any_hours)
    def test_no_saga_ever_hears_of_a_manual_hold(
        self, hold: Holding, events: Sequence[Happening], available: dict[str, int], hours: list[int]
    ) -> None:
        """But for why it cannot be held, which is told to whoever asked."""
        story = Story(available, hold)
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
        assert story.holding.manual
        assert all(
            decision.answer is None or (isinstance(decision.answer, Rejected) and event == HOLD)
            for event, decision in zip(events, story.decisions, strict=False)
        )

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=14), available=any_shelf, hours=any_hours)
    def test_reserved_units_are_those_of_a_hold_that_is_held(
        self, events: Sequence[Happening], available: dict[str, int], hours: list[int]
    ) -> None:
        story = Story(available, NEW)
        for event, hour in zip(events, hours, strict=False):
            story.tell(event, now=story.now + timedelta(hours=hour))
            is_held = story.holding.status is HoldingStatus.HELD
            is_gone = story.holding.status is HoldingStatus.COMMITTED
            assert story.reserved == ({line.item: line.quantity for line in LINES} if is_held else {})
            assert story.on_hand == ({line.item: -line.quantity for line in LINES} if is_gone else {})
