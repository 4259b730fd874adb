"""The order's transition table: every event decided in every state, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations, product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_service.domain import (
    TRANSITIONS,
    CancelReason,
    CancelRequested,
    DeadlinePassed,
    Decision,
    Happening,
    Money,
    MoneyReturned,
    MoneyReturnFailed,
    Order,
    OrderStatus,
    PaymentAwaited,
    PaymentCancelled,
    PaymentFailed,
    PaymentTaken,
    Rules,
    Stock,
    StockRejected,
    StockReserved,
    StockReturned,
    decide,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPIRES = NOW + timedelta(minutes=30)
GRACE = timedelta(minutes=2)
RULES = Rules(reserved_grace=GRACE)
ID = UUID(int=1)
PRICE = Decimal("20.00")
PENDING = Order(id=ID, status=OrderStatus.PENDING, price=PRICE, deadline_at=NOW + timedelta(minutes=15))

RESERVED = StockReserved(order_id=ID, generation=1, expires_at=EXPIRES)
RESERVED_AGAIN = StockReserved(order_id=ID, generation=2, expires_at=None)
OUT_OF_STOCK = StockRejected(order_id=ID, reason="out_of_stock")
STOCK_GONE = StockRejected(order_id=ID, reason="reservation_expired")
EXPIRED = StockReturned(order_id=ID, generation=1, reason="expired")
RELEASED = StockReturned(order_id=ID, generation=1, reason="cancelled")
RELEASED_UNPAID = StockReturned(order_id=ID, generation=1, reason="payment_failed")
AWAITED = PaymentAwaited(order_id=ID)
TAKEN = PaymentTaken(order_id=ID)
FAILED = PaymentFailed(order_id=ID, reason="card_declined")
NEVER_CHARGED = PaymentCancelled(order_id=ID)
PARTLY_BACK = MoneyReturned(order_id=ID, total_refunded=Decimal("5.00"))
ALL_BACK = MoneyReturned(order_id=ID, total_refunded=PRICE)
REFUND_FAILED = MoneyReturnFailed(order_id=ID, reason="refused")
OVERDUE = DeadlinePassed(order_id=ID)
CANCEL = CancelRequested(order_id=ID, by=CancelReason.CUSTOMER)
EVERY_EVENT: tuple[Happening, ...] = (
    RESERVED,
    RESERVED_AGAIN,
    OUT_OF_STOCK,
    STOCK_GONE,
    EXPIRED,
    RELEASED,
    RELEASED_UNPAID,
    AWAITED,
    TAKEN,
    FAILED,
    NEVER_CHARGED,
    PARTLY_BACK,
    ALL_BACK,
    REFUND_FAILED,
    OVERDUE,
    CANCEL,
)


def after(*events: Happening, order: Order = PENDING) -> Order:
    for event in events:
        order = decide(order, event, now=NOW, rules=RULES).order
    return order


def decided(order: Order, event: Happening) -> Decision:
    return decide(order, event, now=NOW, rules=RULES)


any_order = st.builds(
    Order,
    id=st.just(ID),
    status=st.sampled_from(OrderStatus),
    price=st.just(PRICE),
    stock=st.sampled_from(Stock),
    stock_generation=st.integers(0, 3),
    money=st.sampled_from(Money),
    deadline_at=st.sampled_from([None, NOW, EXPIRES]),
)
any_event = st.sampled_from(EVERY_EVENT)


class TestCancelOnRequest:
    @pytest.mark.parametrize("events", [(), (RESERVED,), (RESERVED, TAKEN), (TAKEN,), (RESERVED, AWAITED)])
    @pytest.mark.parametrize("by", [CancelReason.CUSTOMER, CancelReason.SELLER, CancelReason.OPERATOR])
    def test_before_fulfilment_it_cancels_for_whoever_asked(
        self, events: tuple[Happening, ...], by: CancelReason
    ) -> None:
        order = after(*events, CancelRequested(order_id=ID, by=by))
        assert (order.status, order.reason, order.deadline_at) == (OrderStatus.CANCELLED, by, None)

    def test_a_paid_order_is_settled_once_stock_and_money_are_back(self) -> None:
        assert after(RESERVED, TAKEN, CANCEL, RELEASED).settled_at is None
        assert after(RESERVED, TAKEN, CANCEL, RELEASED, ALL_BACK).settled_at == NOW

    def test_a_payment_that_comes_later_does_not_bring_it_back(self) -> None:
        assert after(RESERVED, CANCEL, TAKEN).status is OrderStatus.CANCELLED


class TestTable:
    def test_every_event_is_decided_in_every_state(self) -> None:
        assert set(TRANSITIONS) == set(product(OrderStatus, Happening.__args__))

    def test_the_examples_here_cover_every_kind_of_event(self) -> None:
        assert {type(event) for event in EVERY_EVENT} == set(Happening.__args__)

    @pytest.mark.parametrize("status", [OrderStatus.FULFILLED, OrderStatus.CANCELLED])
    @pytest.mark.parametrize("event", EVERY_EVENT, ids=str)
    def test_a_final_status_stays(self, status: OrderStatus, event: Happening) -> None:
        order = replace(PENDING, status=status, reason=CancelReason.TIMEOUT, deadline_at=None)
        assert decided(order, event).order.status is status
        assert decided(order, event).steps == ()


class TestForEveryOrderAndEvent:
    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_twice_is_the_same_as_once(self, order: Order, event: Happening) -> None:
        once = decided(order, event)
        twice = decided(once.order, event)
        assert twice.order == once.order
        assert twice.steps == ()
        assert not (twice.applied and once.order.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED})

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_an_ignored_event_changes_nothing_and_says_why(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        if not decision.applied:
            assert decision.order == order
            assert decision.note
        if decision.order != order:
            assert decision.applied

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_steps_lead_from_the_old_status_to_the_new_one(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        assert (decision.steps[-1] if decision.steps else order.status) is decision.order.status
        assert order.status not in decision.steps

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_a_cancellation_has_a_reason_and_leaves_no_deadline(self, order: Order, event: Happening) -> None:
        decision = decided(order, event)
        if OrderStatus.CANCELLED in decision.steps:
            assert decision.order.reason is not None
            assert decision.order.deadline_at is None

    @settings(deadline=None)
    @given(order=any_order, event=any_event)
    def test_final_knowledge_stays(self, order: Order, event: Happening) -> None:
        moved = decided(order, event).order
        if order.stock is Stock.FREE:
            assert moved.stock is Stock.FREE
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
            order = decided(order, event).order
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
        for event in events:
            settled = decide(settled, event, now=NOW + timedelta(days=1), rules=RULES).order
        assert settled.settled_at == NOW


def knowledge(order: Order) -> tuple[Any, ...]:
    return order.status, order.stock, order.money, order.settled_at is not None


class TestTheSameEndInEveryOrder:
    """Every permutation of what the other services say of one order, each event once or twice."""

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
        assert paid.order.deadline_at is None

        late = decided(paid.order, RESERVED)
        assert late.steps == ()
        assert late.order.stock is Stock.HELD

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

    def test_an_expired_card_is_not_an_expired_reservation(self) -> None:
        order = after(RESERVED, PaymentFailed(order_id=ID, reason="reservation_expired"))
        assert order.reason is CancelReason.PAYMENT_FAILED

    def test_a_cancelled_intent_leaves_the_decision_to_the_expiry(self) -> None:
        order = after(RESERVED, AWAITED, NEVER_CHARGED)
        assert (order.status, order.money) == (OrderStatus.RESERVED, Money.NOT_TAKEN)


class TestDeadlines:
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

    def test_a_confirmed_order_has_none(self) -> None:
        confirmed = after(RESERVED, TAKEN)
        assert confirmed.deadline_at is None
        assert after(OVERDUE, order=confirmed) == confirmed
