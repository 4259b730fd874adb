"""The order's transition table: every event decided in every state, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations, product
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_service.deadlines import Rules
from order_service.domain import TRANSITIONS, Decision, allowed_actions, decide, new_order
from order_service.happenings import (
    ApprovalDeclined,
    ApprovalGiven,
    Asked,
    CancelRequested,
    DeadlinePassed,
    FulfilmentRequested,
    HalfDeadlinePassed,
    Happening,
    MoneyReturned,
    MoneyReturnFailed,
    PaymentAwaited,
    PaymentCancelled,
    PaymentFailed,
    PaymentTaken,
    ReturnRequested,
    StockCommitted,
    StockRejected,
    StockReserved,
    StockReturned,
    Told,
)
from order_service.states import CancelReason, Flag, Money, Order, OrderStatus, Stock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPIRES = NOW + timedelta(minutes=30)
GRACE = timedelta(minutes=2)
PATIENCE = timedelta(minutes=15)
APPROVAL = timedelta(days=1)
FINISH = timedelta(minutes=5)
RULES = Rules(pending_deadline=PATIENCE, approval_deadline=APPROVAL, reserved_grace=GRACE, finish_deadline=FINISH)
FLAGGING = replace(RULES, flags_overdue=True)
LATER = NOW + timedelta(days=7)
"""After every deadline there can be."""
ID = UUID(int=1)
PRICE = Decimal("20.00")
PENDING = new_order(ID, PRICE, requires_approval=False, now=NOW, rules=RULES)
TO_APPROVE = new_order(ID, PRICE, requires_approval=True, now=NOW, rules=RULES)

RESERVED = StockReserved(order_id=ID, generation=1, expires_at=EXPIRES)
RESERVED_AGAIN = StockReserved(order_id=ID, generation=2, expires_at=None)
OUT_OF_STOCK = StockRejected(order_id=ID, reason="out_of_stock")
STOCK_GONE = StockRejected(order_id=ID, reason="reservation_expired")
EXPIRED = StockReturned(order_id=ID, generation=1, reason="expired")
RELEASED = StockReturned(order_id=ID, generation=1, reason="cancelled")
RELEASED_UNPAID = StockReturned(order_id=ID, generation=1, reason="payment_failed")
COMMITTED = StockCommitted(order_id=ID, generation=1)
AWAITED = PaymentAwaited(order_id=ID)
TAKEN = PaymentTaken(order_id=ID)
FAILED = PaymentFailed(order_id=ID, reason="card_declined")
NEVER_CHARGED = PaymentCancelled(order_id=ID)
PARTLY_BACK = MoneyReturned(order_id=ID, total_refunded=Decimal("5.00"))
ALL_BACK = MoneyReturned(order_id=ID, total_refunded=PRICE)
REFUND_FAILED = MoneyReturnFailed(order_id=ID, reason="refused")
HALF = HalfDeadlinePassed(order_id=ID)
OVERDUE = DeadlinePassed(order_id=ID)
CANCEL = CancelRequested(order_id=ID, by=CancelReason.CUSTOMER)
APPROVE = ApprovalGiven(order_id=ID)
DECLINE = ApprovalDeclined(order_id=ID, by=CancelReason.SELLER)
FULFIL = FulfilmentRequested(order_id=ID, tracking="T-1")
TAKE_BACK = ReturnRequested(order_id=ID)
EVERY_EVENT: tuple[Happening, ...] = (
    RESERVED,
    RESERVED_AGAIN,
    OUT_OF_STOCK,
    STOCK_GONE,
    EXPIRED,
    RELEASED,
    RELEASED_UNPAID,
    COMMITTED,
    AWAITED,
    TAKEN,
    FAILED,
    NEVER_CHARGED,
    PARTLY_BACK,
    ALL_BACK,
    REFUND_FAILED,
    HALF,
    OVERDUE,
    CANCEL,
    APPROVE,
    DECLINE,
    FULFIL,
    TAKE_BACK,
)


def decided(order: Order, event: Happening, now: datetime = NOW, rules: Rules = RULES) -> Decision:
    return decide(order, event, now=now, rules=rules)


def after(*events: Happening, order: Order = PENDING, now: datetime = NOW, rules: Rules = RULES) -> Order:
    """The order after ``events``, each at ``now``; deadlines pass when the order's own moment for it has come."""
    for event in events:
        moment = max(now, order.deadline_at or now) if event is OVERDUE else now
        order = decided(order, event, moment, rules).order
    return order


FULFILLED = after(RESERVED, TAKEN, FULFIL, COMMITTED)
any_event = st.sampled_from(EVERY_EVENT)
any_rules = st.sampled_from([RULES, FLAGGING])
any_moment = st.sampled_from([NOW, NOW + PATIENCE, LATER])
any_history = st.lists(st.tuples(any_event, any_moment), max_size=8)


@st.composite
def any_orders(draw: st.DrawFn) -> Order:
    """An order as some history of happenings has left it, whatever the clocks said in between."""
    order = draw(st.sampled_from([PENDING, TO_APPROVE, after(RESERVED), after(RESERVED, TAKEN), FULFILLED]))
    for event, moment in draw(any_history):
        order = decided(order, event, moment).order
    return order


any_order = any_orders()


class TestCancelOnRequest:
    @pytest.mark.parametrize("events", [(), (RESERVED,), (RESERVED, TAKEN), (TAKEN,), (RESERVED, AWAITED)])
    @pytest.mark.parametrize("by", [CancelReason.CUSTOMER, CancelReason.SELLER, CancelReason.OPERATOR])
    def test_before_fulfilment_it_cancels_for_whoever_asked(
        self, events: tuple[Happening, ...], by: CancelReason
    ) -> None:
        order = after(*events, CancelRequested(order_id=ID, by=by))
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, by)

    def test_asked_again_it_is_as_it_was(self) -> None:
        decision = decided(after(CANCEL), CANCEL)
        assert (decision.applied, decision.refused) == (False, False)

    @pytest.mark.parametrize("order", [after(RESERVED, TAKEN, FULFIL), FULFILLED], ids=["on its way", "fulfilled"])
    def test_once_it_is_being_fulfilled_it_is_refused(self, order: Order) -> None:
        decision = decided(order, CANCEL)
        assert (decision.refused, decision.order) == (True, order)

    def test_a_paid_order_is_settled_once_stock_and_money_are_back(self) -> None:
        assert after(RESERVED, TAKEN, CANCEL, RELEASED).settled_at is None
        assert after(RESERVED, TAKEN, CANCEL, RELEASED, ALL_BACK).settled_at == NOW

    def test_a_payment_that_comes_later_does_not_bring_it_back(self) -> None:
        assert after(RESERVED, CANCEL, TAKEN).status is OrderStatus.CANCELLED


class TestTable:
    def test_every_event_is_decided_in_every_state(self) -> None:
        assert set(TRANSITIONS) == set(product(OrderStatus, get_args(Happening)))

    def test_the_examples_here_cover_every_kind_of_event(self) -> None:
        assert {type(event) for event in EVERY_EVENT} == set(get_args(Happening))

    def test_happenings_are_told_or_asked_or_the_clocks(self) -> None:
        assert {*get_args(Told), *get_args(Asked), HalfDeadlinePassed, DeadlinePassed} == set(get_args(Happening))

    @pytest.mark.parametrize("status", [OrderStatus.FULFILLED, OrderStatus.CANCELLED])
    @pytest.mark.parametrize("event", EVERY_EVENT, ids=str)
    def test_a_final_status_stays(self, status: OrderStatus, event: Happening) -> None:
        order = after(OVERDUE) if status is OrderStatus.CANCELLED else FULFILLED
        assert order.status is status
        for now in (NOW, LATER):
            assert decided(order, event, now).order.status is status
            assert decided(order, event, now).steps == ()


class TestForEveryOrderAndEvent:
    @settings(deadline=None)
    @given(order=any_order, event=any_event, now=any_moment, rules=any_rules)
    def test_twice_is_the_same_as_once(self, order: Order, event: Happening, now: datetime, rules: Rules) -> None:
        once = decided(order, event, now, rules)
        twice = decided(once.order, event, now, rules)
        assert twice.order == once.order
        assert twice.steps == ()
        assert not twice.republish
        is_final = once.order.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED}
        assert not (twice.applied and is_final and event is not TAKE_BACK)

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_an_ignored_event_changes_nothing_and_says_why(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        if not decision.applied:
            assert decision.order == order
            assert decision.note
            assert not decision.republish
        if decision.order != order:
            assert decision.applied

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_steps_lead_from_the_old_status_to_the_new_one(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        assert (decision.steps[-1] if decision.steps else order.status) is decision.order.status
        assert order.status not in decision.steps

    @settings(deadline=None)
    @given(order=any_order, event=any_event, now=any_moment)
    def test_a_cancellation_has_a_reason_and_waits_to_be_settled(
        self, order: Order, event: Happening, now: datetime
    ) -> None:
        cancelled = decided(order, event, now)
        if OrderStatus.CANCELLED in cancelled.steps:
            assert cancelled.order.reason is not None
            assert cancelled.order.deadline_at == (None if cancelled.order.settled_at else now + FINISH)
            assert (cancelled.order.fulfil_requested_at, cancelled.order.tracking) == (None, None)

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_only_who_asks_is_refused_and_then_nothing_changes(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        if decision.refused:
            assert isinstance(event, get_args(Asked))
            assert (decision.applied, decision.order, decision.steps) == (False, order, ())

    @settings(deadline=None)
    @given(order=any_order, event=any_event, now=any_moment, rules=any_rules)
    def test_who_waits_is_woken_or_flagged_and_nobody_else_is(
        self, order: Order, event: Happening, now: datetime, rules: Rules
    ) -> None:
        moved = decided(order, event, now, rules).order
        is_overdue = moved.flag is not None and moved.wake_at is None
        if moved.deadline_at is None:
            assert moved.wake_at is None
        else:
            assert is_overdue or (moved.wake_at is not None and moved.wake_at <= moved.deadline_at)
        assert (moved.flag is None) == (moved.flagged_at is None)

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_only_a_pending_order_awaits_approval(self, order: Order, event: Happening) -> None:
        moved = decided(order, event).order
        assert not (moved.awaits_approval and moved.status is not OrderStatus.PENDING)
        assert not (moved.awaits_approval and moved.approved_at)

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_an_unapproved_order_goes_on_only_by_approval(self, order: Order, event: Happening) -> None:
        moved = decided(order, event).order
        if order.awaits_approval and not moved.awaits_approval:
            assert event is APPROVE or moved.status is OrderStatus.CANCELLED

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_final_knowledge_stays(self, order: Order, event: Happening) -> None:
        moved = decided(order, event).order
        if order.stock in {Stock.FREE, Stock.COMMITTED}:
            assert moved.stock is order.stock
        assert moved.refunded >= order.refunded
        if order.money is Money.RETURNED:
            assert moved.money is Money.RETURNED
        if order.money is Money.NOT_TAKEN and event is not ALL_BACK:
            assert moved.money is Money.NOT_TAKEN
        assert moved.stock_generation >= order.stock_generation

    @settings(deadline=None)
    @given(order=any_order, events=st.lists(any_event, max_size=12))
    def test_settled_means_cancelled_with_stock_and_money_known_to_be_back(
        self, order: Order, events: Sequence[Happening]
    ) -> None:
        for event in events:
            order = after(event, order=order)
            is_over = order.stock is Stock.FREE and order.money in {Money.NOT_TAKEN, Money.RETURNED}
            assert (order.settled_at is not None) == (order.status is OrderStatus.CANCELLED and is_over)

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=12))
    def test_an_order_goes_through_each_status_at_most_once(self, events: Sequence[Happening]) -> None:
        steps, order = [OrderStatus.PENDING], PENDING
        for event in events:
            decision = decided(order, event)
            steps += decision.steps
            order = decision.order
        assert len(steps) == len(set(steps))

    @settings(deadline=None)
    @given(events=st.lists(any_event, max_size=12))
    def test_settling_is_not_dated_again(self, events: Sequence[Happening]) -> None:
        settled = after(OVERDUE, RELEASED, NEVER_CHARGED)
        assert settled.settled_at == NOW
        settled_at = settled.settled_at
        for event in events:
            settled = after(event, order=settled, now=LATER)
        assert settled.settled_at == settled_at


class TestAllowedActions:
    @pytest.mark.parametrize(
        ("order", "actions"),
        [
            (PENDING, ("cancel",)),
            (TO_APPROVE, ("cancel", "approve", "decline")),
            (after(RESERVED), ("cancel",)),
            (after(RESERVED, TAKEN), ("cancel", "fulfil")),
            (after(TAKEN), ("cancel",)),
            (after(RESERVED, TAKEN, EXPIRED), ("cancel",)),
            (after(RESERVED, TAKEN, FULFIL), ()),
            (FULFILLED, ("return",)),
            (after(CANCEL), ()),
        ],
    )
    def test_of_each_state(self, order: Order, actions: tuple[str, ...]) -> None:
        assert allowed_actions(order) == actions

    @settings(deadline=None)
    @given(order=any_order)
    def test_they_are_what_the_table_grants(self, order: Order) -> None:
        asked = {"cancel": CANCEL, "approve": APPROVE, "decline": DECLINE, "fulfil": FULFIL, "return": TAKE_BACK}
        granted = tuple(action for action, request in asked.items() if decided(order, request).applied)
        assert allowed_actions(order) == granted


class TestApproval:
    def test_until_the_seller_decides_nothing_but_the_approval_deadline_runs(self) -> None:
        assert (TO_APPROVE.awaits_approval, TO_APPROVE.deadline_at) == (True, NOW + APPROVAL)
        assert TO_APPROVE.wake_at == TO_APPROVE.deadline_at

    def test_approved_it_waits_like_any_other_from_now_on(self) -> None:
        order = after(APPROVE, order=TO_APPROVE, now=NOW + timedelta(hours=3))
        assert (order.status, order.awaits_approval, order.approved_at) == (
            OrderStatus.PENDING,
            False,
            NOW + timedelta(hours=3),
        )
        assert order.deadline_at == NOW + timedelta(hours=3) + PATIENCE
        assert after(RESERVED, TAKEN, order=order).status is OrderStatus.CONFIRMED

    @pytest.mark.parametrize("events", [(), (RESERVED,), (RESERVED, TAKEN), (CANCEL,)])
    def test_approved_before_it_stays_as_it_is(self, events: tuple[Happening, ...]) -> None:
        order = after(APPROVE, *events, order=TO_APPROVE)
        decision = decided(order, APPROVE, LATER)
        assert (decision.applied, decision.refused, decision.order) == (False, False, order)

    @pytest.mark.parametrize("order", [PENDING, after(RESERVED), after(RESERVED, TAKEN), FULFILLED, after(CANCEL)])
    @pytest.mark.parametrize("request_", [APPROVE, DECLINE], ids=["approve", "decline"])
    def test_an_order_that_needs_none_refuses_both(self, order: Order, request_: Happening) -> None:
        assert decided(order, request_).refused

    def test_a_declined_order_is_cancelled_by_its_seller(self) -> None:
        order = after(DECLINE, order=TO_APPROVE)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.SELLER)
        assert not decided(order, DECLINE).refused
        assert decided(order, APPROVE).refused

    def test_an_approved_order_cannot_be_declined(self) -> None:
        assert decided(after(APPROVE, order=TO_APPROVE), DECLINE).refused
        cancelled_later = after(APPROVE, CancelRequested(order_id=ID, by=CancelReason.SELLER), order=TO_APPROVE)
        assert decided(cancelled_later, DECLINE).refused

    def test_what_nobody_approved_does_not_go_on_whatever_others_say(self) -> None:
        order = after(RESERVED, AWAITED, TAKEN, order=TO_APPROVE)
        assert (order.status, order.awaits_approval) == (OrderStatus.PENDING, True)
        assert (order.stock, order.money) == (Stock.HELD, Money.TAKEN)

    def test_without_a_decision_it_is_cancelled_whatever_the_setting(self) -> None:
        for rules in (RULES, FLAGGING):
            order = after(OVERDUE, order=TO_APPROVE, rules=rules)
            assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.TIMEOUT)


class TestFulfilment:
    def test_asked_for_it_waits_for_the_stock_to_be_committed(self) -> None:
        order = after(RESERVED, TAKEN, FULFIL)
        assert (order.status, order.fulfil_requested_at, order.tracking) == (OrderStatus.CONFIRMED, NOW, "T-1")
        assert (order.deadline_at, order.wake_at) == (NOW + FINISH, NOW + FINISH / 2)

    def test_committed_it_is_fulfilled_for_good(self) -> None:
        assert (FULFILLED.status, FULFILLED.stock, FULFILLED.deadline_at) == (
            OrderStatus.FULFILLED,
            Stock.COMMITTED,
            None,
        )
        assert (FULFILLED.fulfil_requested_at, FULFILLED.tracking) == (NOW, "T-1")

    @pytest.mark.parametrize("order", [after(RESERVED, TAKEN, FULFIL), FULFILLED], ids=["requested", "fulfilled"])
    def test_asked_again_it_is_as_it_was(self, order: Order) -> None:
        decision = decided(order, FulfilmentRequested(order_id=ID, tracking="T-2"), LATER)
        assert (decision.applied, decision.refused, decision.order) == (False, False, order)

    @pytest.mark.parametrize(
        "events",
        [
            (),
            (RESERVED,),
            (TAKEN,),
            (RESERVED, TAKEN, EXPIRED),
            (RESERVED, TAKEN, RELEASED),
            (CANCEL,),
            (RESERVED, TAKEN, FULFIL, STOCK_GONE),
        ],
    )
    def test_only_what_is_paid_and_held_can_be_shipped(self, events: tuple[Happening, ...]) -> None:
        order = after(*events)
        decision = decided(order, FULFIL)
        assert (decision.refused, decision.order) == (True, order)

    def test_held_again_it_can_be_shipped(self) -> None:
        assert after(RESERVED, TAKEN, EXPIRED, RESERVED_AGAIN, FULFIL).fulfil_requested_at == NOW

    @pytest.mark.parametrize("events", [(), (RESERVED,), (RESERVED, TAKEN), (CANCEL,)])
    def test_a_commitment_that_nobody_asked_for_is_only_recorded(self, events: tuple[Happening, ...]) -> None:
        order = after(*events)
        decision = decided(order, COMMITTED)
        assert (decision.applied, decision.order) == (False, order)

    def test_stock_that_is_gone_after_all_cancels(self) -> None:
        order = after(RESERVED, TAKEN, FULFIL, EXPIRED, STOCK_GONE)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.RESERVATION_EXPIRED)
        assert (order.fulfil_requested_at, order.deadline_at) == (None, NOW + FINISH)
        assert after(ALL_BACK, order=order).settled_at == NOW

    def test_a_full_refund_does_not_call_back_what_is_on_its_way(self) -> None:
        order = after(RESERVED, TAKEN, FULFIL, ALL_BACK)
        assert (order.status, order.money, order.refunded) == (OrderStatus.CONFIRMED, Money.RETURNED, PRICE)
        assert after(COMMITTED, order=order).status is OrderStatus.FULFILLED
        assert after(STOCK_GONE, order=order).settled_at == NOW


class TestFlags:
    def test_a_refund_that_failed_is_flagged_in_every_status(self) -> None:
        for order in (PENDING, after(RESERVED), after(RESERVED, TAKEN), FULFILLED, after(RESERVED, TAKEN, CANCEL)):
            flagged = after(REFUND_FAILED, order=order, now=LATER)
            assert (flagged.flag, flagged.flagged_at) == (Flag.REFUND_FAILED, LATER)
            assert flagged.status is order.status

    def test_all_the_money_back_clears_it_in_either_order(self) -> None:
        for events in permutations([REFUND_FAILED, ALL_BACK]):
            assert after(*events, order=FULFILLED).flag is None
        assert after(REFUND_FAILED, PARTLY_BACK, order=FULFILLED).flag is Flag.REFUND_FAILED

    def test_settling_clears_it(self) -> None:
        order = after(RESERVED, CANCEL, REFUND_FAILED)
        assert order.flag is Flag.REFUND_FAILED
        assert after(NEVER_CHARGED, RELEASED, order=order).flag is None

    def test_nothing_is_flagged_of_what_is_settled(self) -> None:
        settled = after(OUT_OF_STOCK, NEVER_CHARGED)
        assert (decided(settled, REFUND_FAILED).applied, after(REFUND_FAILED, order=settled)) == (False, settled)

    def test_progress_does_not_clear_a_refund_that_failed(self) -> None:
        order = after(RESERVED, TAKEN, REFUND_FAILED, FULFIL, COMMITTED)
        assert (order.status, order.flag) == (OrderStatus.FULFILLED, Flag.REFUND_FAILED)

    def test_the_greatest_refund_heard_of_stays(self) -> None:
        for events in permutations([PARTLY_BACK, ALL_BACK]):
            assert after(*events, order=FULFILLED).refunded == PRICE

    def test_fulfilment_that_takes_too_long_is_flagged_until_it_ends(self) -> None:
        order = after(RESERVED, TAKEN, FULFIL, OVERDUE)
        assert (order.status, order.flag) == (OrderStatus.CONFIRMED, Flag.FULFILMENT_UNFINISHED)
        assert (order.deadline_at, order.wake_at) == (NOW + FINISH, None)
        assert after(COMMITTED, order=order).flag is None
        assert after(STOCK_GONE, order=order).flag is None

    def test_compensation_that_takes_too_long_is_flagged_until_it_is_settled(self) -> None:
        order = after(RESERVED, TAKEN, CANCEL, OVERDUE)
        assert (order.flag, order.wake_at) == (Flag.COMPENSATION_UNFINISHED, None)
        assert after(RELEASED, order=order).flag is Flag.COMPENSATION_UNFINISHED
        settled = after(RELEASED, ALL_BACK, order=order)
        assert (settled.flag, settled.flagged_at, settled.deadline_at) == (None, None, None)

    def test_a_failed_refund_says_more_than_being_late(self) -> None:
        order = after(RESERVED, TAKEN, CANCEL, REFUND_FAILED, OVERDUE)
        assert (order.flag, order.wake_at) == (Flag.REFUND_FAILED, None)
        assert after(RESERVED, TAKEN, CANCEL, OVERDUE, REFUND_FAILED).flag is Flag.REFUND_FAILED

    def test_what_still_waits_when_the_refund_came_after_all_is_flagged_anew(self) -> None:
        order = after(RESERVED, TAKEN, CANCEL, REFUND_FAILED, OVERDUE, ALL_BACK)
        assert (order.flag, order.wake_at) == (None, order.deadline_at)
        assert after(OVERDUE, order=order).flag is Flag.COMPENSATION_UNFINISHED

    @pytest.mark.parametrize(
        "events",
        [(TAKEN,), (RESERVED, TAKEN, EXPIRED), (RESERVED, TAKEN, RELEASED)],
        ids=["unheard of", "lapsed", "free"],
    )
    @pytest.mark.parametrize("rules", [RULES, FLAGGING], ids=["cancelling", "flagging"])
    def test_a_paid_order_that_stays_without_stock_is_flagged_and_never_cancelled(
        self, events: tuple[Happening, ...], rules: Rules
    ) -> None:
        waiting = after(*events, rules=rules)
        assert (waiting.deadline_at, waiting.wake_at, waiting.flag) == (NOW + FINISH, NOW + FINISH, None)
        order = after(OVERDUE, order=waiting, rules=rules)
        assert (order.status, order.flag, order.wake_at) == (OrderStatus.CONFIRMED, Flag.STOCK_MISSING, None)
        assert not decided(order, OVERDUE, LATER, rules).applied

    @pytest.mark.parametrize("late", [False, True], ids=["in time", "flagged"])
    @pytest.mark.parametrize(
        ("events", "mending"),
        [((TAKEN,), RESERVED), ((RESERVED, TAKEN, EXPIRED), RESERVED_AGAIN)],
        ids=["unheard of", "lapsed"],
    )
    def test_stock_that_is_held_after_all_ends_the_wait_and_the_flag(
        self, events: tuple[Happening, ...], mending: Happening, late: bool
    ) -> None:
        order = after(*events, *([OVERDUE] if late else []), mending)
        assert (order.status, order.stock) == (OrderStatus.CONFIRMED, Stock.HELD)
        assert (order.flag, order.flagged_at, order.deadline_at, order.wake_at) == (None, None, None, None)

    def test_stock_that_is_gone_ends_the_flag_too(self) -> None:
        order = after(TAKEN, OVERDUE, STOCK_GONE)
        assert (order.status, order.flag, order.deadline_at) == (OrderStatus.CANCELLED, None, NOW + FINISH)

    def test_paid_after_it_was_reserved_nothing_is_waited_for(self) -> None:
        order = after(RESERVED, TAKEN)
        assert (order.deadline_at, order.wake_at) == (None, None)

    @pytest.mark.parametrize(
        ("events", "flag"), [((), Flag.PENDING_OVERDUE), ((RESERVED,), Flag.RESERVED_OVERDUE)], ids=str
    )
    def test_by_setting_an_overdue_order_is_flagged_and_may_go_on(
        self, events: tuple[Happening, ...], flag: Flag
    ) -> None:
        order = after(*events, OVERDUE, rules=FLAGGING)
        assert (order.status, order.flag) == (after(*events).status, flag)
        assert order.wake_at is None
        assert decided(order, OVERDUE, LATER, FLAGGING).order == order
        confirmed = after(RESERVED, TAKEN, order=order, rules=FLAGGING)
        assert (confirmed.status, confirmed.flag) == (OrderStatus.CONFIRMED, None)
        assert after(CANCEL, order=order, rules=FLAGGING).flag is None

    def test_progress_gives_a_flagged_order_a_new_deadline(self) -> None:
        order = after(OVERDUE, RESERVED, rules=FLAGGING)
        assert (order.flag, order.deadline_at, order.wake_at) == (None, EXPIRES + GRACE, EXPIRES + GRACE)


class TestNudges:
    """At half of a deadline that waits for another service the order's last event is published once more."""

    @pytest.mark.parametrize(
        ("order", "patience"),
        [
            (PENDING, PATIENCE),
            (after(APPROVE, order=TO_APPROVE), PATIENCE),
            (after(RESERVED, TAKEN, FULFIL), FINISH),
            (after(CANCEL), FINISH),
        ],
        ids=["placed", "approved", "fulfilment", "compensation"],
    )
    def test_who_waits_for_another_service_is_nudged_once(self, order: Order, patience: timedelta) -> None:
        assert order.wake_at == NOW + patience / 2
        decision = decided(order, HALF, NOW + patience / 2)
        assert (decision.republish, decision.applied, decision.steps) == (True, True, ())
        assert decision.order == replace(order, wake_at=order.deadline_at)
        assert not decided(decision.order, HALF, NOW + patience / 2).republish

    @pytest.mark.parametrize(
        "order", [TO_APPROVE, after(RESERVED), after(TAKEN)], ids=["seller", "inventory's own business", "lost word"]
    )
    def test_who_waits_for_somebody_else_is_woken_at_the_end_only(self, order: Order) -> None:
        assert order.wake_at == order.deadline_at
        assert not decided(order, HALF).applied

    @pytest.mark.parametrize("order", [after(RESERVED, TAKEN), FULFILLED, after(OUT_OF_STOCK, NEVER_CHARGED)])
    def test_who_waits_for_nothing_is_never_woken(self, order: Order) -> None:
        assert (order.deadline_at, order.wake_at) == (None, None)
        assert not decided(order, HALF).applied

    @pytest.mark.parametrize(
        "order", [after(RESERVED, TAKEN), FULFILLED, after(OUT_OF_STOCK, NEVER_CHARGED)], ids=lambda o: o.status
    )
    @pytest.mark.parametrize("event", [HALF, OVERDUE], ids=["half", "overdue"])
    def test_a_deadline_left_where_nothing_is_waited_for_is_taken_away(self, order: Order, event: Happening) -> None:
        """Other code left it: it must neither flag the order nor wake the timer for ever."""
        decision = decided(replace(order, deadline_at=NOW, wake_at=NOW), event, LATER)
        assert (decision.order, decision.steps, decision.republish) == (order, (), False)
        assert (decision.applied, decision.note) == (True, "waits for nothing any more")

    @pytest.mark.parametrize(
        ("order", "deadline_at", "wake_at"),
        [
            (after(RESERVED), EXPIRES + GRACE, EXPIRES + GRACE),
            (after(RESERVED, TAKEN), None, None),
            (replace(after(TAKEN), deadline_at=None), NOW + FINISH, NOW + FINISH),
            (replace(after(CANCEL), deadline_at=None), NOW + FINISH, NOW + FINISH / 2),
            (FULFILLED, None, None),
        ],
        ids=["reserved", "confirmed", "without stock", "cancelled", "fulfilled"],
    )
    def test_a_row_that_an_older_version_wrote_is_scheduled_as_it_should_be(
        self, order: Order, deadline_at: datetime | None, wake_at: datetime | None
    ) -> None:
        """It knows of no ``wake_at``: that is still the one of an earlier status, or the default of the column."""
        decision = decided(replace(order, wake_at=NOW), HALF)
        assert not decision.republish
        assert (decision.order.deadline_at, decision.order.wake_at) == (deadline_at, wake_at)


def knowledge(order: Order) -> tuple[Any, ...]:
    return order.status, order.stock, order.money, order.settled_at is not None


class TestTheSameEndInEveryOrder:
    """Every permutation of what the other services say of one order, each event once or twice."""

    @pytest.mark.parametrize(
        ("events", "end"),
        [
            pytest.param([COMMITTED, PARTLY_BACK, RESERVED_AGAIN], ("FULFILLED", "COMMITTED", "TAKEN"), id="shipped"),
            pytest.param([COMMITTED, ALL_BACK, REFUND_FAILED], ("FULFILLED", "COMMITTED", "RETURNED"), id="paid back"),
            pytest.param([STOCK_GONE, ALL_BACK, RELEASED], ("CANCELLED", "FREE", "RETURNED"), id="gone after all"),
        ],
    )
    def test_permutations_after_fulfilment_was_asked_for(self, events: list[Happening], end: tuple[Any, ...]) -> None:
        requested = after(RESERVED, TAKEN, FULFIL)
        ends = set()
        for order_of_events in permutations(events):
            ended = after(*order_of_events, *order_of_events, order=requested)
            assert knowledge(ended)[:3] == end, order_of_events
            ends.add((ended.flag, ended.refunded, ended.deadline_at))
        assert len(ends) == 1

    @pytest.mark.parametrize(
        ("events", "end"),
        [
            pytest.param([RESERVED, TAKEN], ("CONFIRMED", "HELD", "TAKEN", False), id="happy"),
            pytest.param([RESERVED, AWAITED, TAKEN], ("CONFIRMED", "HELD", "TAKEN", False), id="happy, by hand"),
            pytest.param([RESERVED, FAILED, RELEASED_UNPAID], ("CANCELLED", "FREE", "NOT_TAKEN", True), id="declined"),
            pytest.param([OUT_OF_STOCK, NEVER_CHARGED], ("CANCELLED", "FREE", "NOT_TAKEN", True), id="out of stock"),
            pytest.param(
                [RESERVED, AWAITED, EXPIRED, NEVER_CHARGED, RELEASED],
                ("CANCELLED", "FREE", "NOT_TAKEN", True),
                id="abandoned",
            ),
            pytest.param(
                [RESERVED, EXPIRED, TAKEN, STOCK_GONE, ALL_BACK],
                ("CANCELLED", "FREE", "RETURNED", True),
                id="paid after expiry, stock gone, refunded",
            ),
            pytest.param(
                [RESERVED, TAKEN, PARTLY_BACK, ALL_BACK, RELEASED],
                ("CANCELLED", "FREE", "RETURNED", True),
                id="refunded in two parts",
            ),
            pytest.param(
                [OVERDUE, RESERVED, TAKEN, ALL_BACK, RELEASED],
                ("CANCELLED", "FREE", "RETURNED", True),
                id="paid and refunded around a cancellation",
            ),
            pytest.param(
                [RESERVED, TAKEN, OUT_OF_STOCK, ALL_BACK],
                ("CANCELLED", "FREE", "RETURNED", True),
                id="paid, but inventory says no",
            ),
        ],
    )
    def test_permutations(self, events: list[Happening], end: tuple[Any, ...]) -> None:
        for order_of_events in permutations(events):
            assert knowledge(after(*order_of_events)) == end, order_of_events
            assert knowledge(after(*order_of_events, *order_of_events)) == end, order_of_events

    @pytest.mark.parametrize("events", list(permutations([RESERVED, EXPIRED, TAKEN, RESERVED_AGAIN])))
    def test_paid_late_and_held_again_ends_confirmed_or_cancelled_by_the_expiry(
        self, events: Sequence[Happening]
    ) -> None:
        """Whether the expiry or the payment is heard first decides; the second generation outdates the expiry."""
        order = after(*events)
        comes_first = events.index(EXPIRED) < min(events.index(TAKEN), events.index(RESERVED_AGAIN))
        assert order.status == ("CANCELLED" if comes_first else "CONFIRMED")
        assert (order.stock, order.stock_generation, order.money) == ("HELD", 2, "TAKEN")


class TestDecidedRaces:
    def test_payment_overtakes_the_reservation(self) -> None:
        """Given PENDING, when PAYMENT_SUCCESS comes first, then both steps are taken at once."""
        paid = decided(PENDING, TAKEN)
        assert paid.steps == (OrderStatus.RESERVED, OrderStatus.CONFIRMED)
        assert paid.order.deadline_at == NOW + FINISH

        late = decided(paid.order, RESERVED)
        assert late.steps == ()
        assert (late.order.stock, late.order.deadline_at) == (Stock.HELD, None)

    def test_expiry_cancels_a_pending_order_too(self) -> None:
        """Given the reservation was never heard of, when its expiry comes, then the order is cancelled by it."""
        order = after(EXPIRED)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.RESERVATION_EXPIRED)
        assert after(EXPIRED, RESERVED).stock is Stock.LAPSED

    def test_a_reservation_that_is_known_to_be_over_reserves_nothing(self) -> None:
        """Given its release overtook it, when INVENTORY_RESERVED comes, then the order stays as it is."""
        waiting = after(RELEASED_UNPAID)
        decision = decided(waiting, RESERVED)
        assert (decision.applied, decision.order) == (False, waiting)
        assert after(FAILED, order=decision.order).settled_at == NOW

    def test_expiry_of_a_paid_order_waits_for_word_of_its_stock(self) -> None:
        """Given CONFIRMED, when the reservation expired, then it is recorded; a new generation mends it."""
        waiting = after(RESERVED, TAKEN, EXPIRED)
        assert (waiting.status, waiting.stock) == (OrderStatus.CONFIRMED, Stock.LAPSED)
        mended = after(RESERVED_AGAIN, order=waiting)
        assert (mended.status, mended.stock, mended.stock_generation) == (OrderStatus.CONFIRMED, Stock.HELD, 2)

    @pytest.mark.parametrize(
        ("event", "note"),
        [
            (EXPIRED, "paid: waits for a new reservation or a rejection"),
            (RELEASED, "paid, but its stock was given back for good"),
            (RELEASED_UNPAID, "paid, but its stock was given back for good"),
            (replace(EXPIRED, generation=0), "an older reservation expired"),
        ],
        ids=["expired", "cancelled", "payment failed", "older"],
    )
    def test_what_a_paid_order_waits_for_when_its_stock_is_back_is_said(self, event: Happening, note: str) -> None:
        decision = decided(after(RESERVED, TAKEN), event)
        assert (decision.steps, decision.note) == ((), note)

    def test_expiry_of_an_older_generation_is_ignored(self) -> None:
        held_again = after(RESERVED_AGAIN)
        decision = decided(held_again, EXPIRED)
        assert (decision.applied, decision.order) == (False, held_again)

    def test_a_paid_order_whose_stock_is_gone_is_cancelled(self) -> None:
        order = after(RESERVED, TAKEN, EXPIRED, STOCK_GONE)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.RESERVATION_EXPIRED)
        assert order.settled_at is None  # the money is still to come back

    def test_money_for_a_cancelled_order_is_recorded_and_awaited_back(self) -> None:
        """Given CANCELLED, when PAYMENT_SUCCESS comes, then it stays so and is settled only by the refund."""
        order = after(RESERVED, OVERDUE, TAKEN, RELEASED)
        assert (order.status, order.money, order.settled_at) == (OrderStatus.CANCELLED, Money.TAKEN, None)
        assert after(ALL_BACK, order=order).settled_at == NOW

    def test_a_partial_refund_does_not_settle_a_cancelled_order(self) -> None:
        order = after(RESERVED, TAKEN, OUT_OF_STOCK, PARTLY_BACK)
        assert (order.money, order.settled_at) == (Money.TAKEN, None)

    def test_a_full_refund_of_a_confirmed_order_cancels_it(self) -> None:
        order = after(RESERVED, TAKEN, ALL_BACK)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.REFUNDED)

    def test_a_partial_refund_of_a_confirmed_order_does_not(self) -> None:
        assert after(RESERVED, TAKEN, PARTLY_BACK).status is OrderStatus.CONFIRMED

    def test_a_full_refund_that_overtakes_its_payment_never_confirms_the_order(self) -> None:
        assert after(RESERVED, ALL_BACK, TAKEN).status is OrderStatus.CANCELLED

    def test_a_refused_refund_leaves_the_order_unsettled(self) -> None:
        order = after(RESERVED, TAKEN, OUT_OF_STOCK, REFUND_FAILED)
        assert (order.status, order.settled_at) == (OrderStatus.CANCELLED, None)

    def test_a_timeout_of_the_provider_undoes_the_order_and_settles_it_only_with_the_void(self) -> None:
        """The provider may have taken the money all the same."""
        timed_out = PaymentFailed(order_id=ID, reason="psp_timeout")
        order = after(RESERVED, timed_out, RELEASED_UNPAID)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.PAYMENT_FAILED)
        assert (order.stock, order.settled_at) == (Stock.FREE, None)
        assert after(NEVER_CHARGED, order=order).settled_at == NOW
        assert after(RESERVED, NEVER_CHARGED, timed_out, RELEASED_UNPAID).settled_at == NOW

    def test_an_expired_card_is_not_an_expired_reservation(self) -> None:
        order = after(RESERVED, PaymentFailed(order_id=ID, reason="reservation_expired"))
        assert order.reason is CancelReason.PAYMENT_FAILED

    def test_a_cancelled_intent_leaves_the_decision_to_the_expiry(self) -> None:
        order = after(RESERVED, AWAITED, NEVER_CHARGED)
        assert (order.status, order.money) == (OrderStatus.RESERVED, Money.NOT_TAKEN)


class TestDeadlines:
    @settings(deadline=None)
    @given(order=any_order, now=any_moment, rules=any_rules)
    def test_a_deadline_that_has_not_passed_is_not_answered(self, order: Order, now: datetime, rules: Rules) -> None:
        decision = decided(order, OVERDUE, now, rules)
        if order.deadline_at is None or now < order.deadline_at:
            assert (decision.applied, decision.order) == (False, order)

    def test_a_reservation_without_expiry_never_leaves_too_little_time(self) -> None:
        late = NOW + PATIENCE
        assert after(RESERVED_AGAIN, now=late).deadline_at == late + GRACE

    def test_a_reserved_order_waits_until_its_reservation_expired_and_a_little_longer(self) -> None:
        assert after(RESERVED).deadline_at == EXPIRES + GRACE

    def test_a_repeated_reservation_does_not_prolong_it(self) -> None:
        later = StockReserved(order_id=ID, generation=1, expires_at=EXPIRES + timedelta(days=1))
        assert after(RESERVED, later).deadline_at == EXPIRES + GRACE

    def test_a_reservation_without_expiry_leaves_the_deadline_there_was(self) -> None:
        """It is paid for, but this order has not heard so yet: without any deadline a lost word would hang it."""
        order = after(RESERVED_AGAIN)
        assert (order.status, order.deadline_at) == (OrderStatus.RESERVED, PENDING.deadline_at)

    @pytest.mark.parametrize("events", [(), (RESERVED,)])
    def test_past_it_the_order_is_cancelled(self, events: tuple[Happening, ...]) -> None:
        order = after(*events, OVERDUE)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, CancelReason.TIMEOUT)

    def test_a_confirmed_order_with_its_stock_has_none(self) -> None:
        confirmed = after(RESERVED, TAKEN)
        assert confirmed.deadline_at is None
        assert after(OVERDUE, order=confirmed) == confirmed
