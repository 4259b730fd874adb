"""Payments: every event decided in every state, nothing charged twice, nothing kept that should not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations, product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payment_service.domain import (
    TRANSITIONS,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    Decision,
    Entry,
    Happening,
    OrderCancelled,
    Payment,
    PaymentStatus,
    RefundRefused,
    RefundSucceeded,
    Rules,
    StockReserved,
    StockReturned,
    WorkKind,
    decide,
    payment_id,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMIT, MARGIN = timedelta(seconds=30), timedelta(seconds=5)
RULES = Rules(psp_limit=LIMIT)
ID = UUID(int=1)
AMOUNT = Decimal("10.00")
RESERVED = StockReserved(
    order_id=ID,
    amount=AMOUNT,
    currency="EUR",
    payment_mode="auto",
    payment_method="tok_success",
    expires_at=NOW + timedelta(minutes=30),
)
RESERVED_BY_HAND = replace(RESERVED, payment_mode="manual")
STOCK_BACK = StockReturned(order_id=ID, reason="expired")
CANCELLED = OrderCancelled(order_id=ID)
SUCCEEDED = ChargeSucceeded(order_id=ID, psp_reference="psp_1")
DECLINED = ChargeDeclined(order_id=ID, reason="card_declined")
TIMED_OUT = ChargeTimedOut(order_id=ID)
VOIDED = ChargeVoided(order_id=ID)
REFUNDED = RefundSucceeded(order_id=ID, amount=AMOUNT)
PARTLY_REFUNDED = RefundSucceeded(order_id=ID, amount=Decimal("4.00"))
REFUND_REFUSED = RefundRefused(order_id=ID, reason="nothing_to_refund")
EVERY_EVENT: tuple[Happening, ...] = (
    RESERVED,
    RESERVED_BY_HAND,
    STOCK_BACK,
    CANCELLED,
    SUCCEEDED,
    DECLINED,
    TIMED_OUT,
    VOIDED,
    REFUNDED,
    PARTLY_REFUNDED,
    REFUND_REFUSED,
)
FROM_THE_BROKER = (RESERVED, RESERVED_BY_HAND, STOCK_BACK, CANCELLED)
NONE = Payment(order_id=ID)
FINAL = {PaymentStatus.FAILED, PaymentStatus.CANCELLED}


def decided(payment: Payment, event: Happening, now: datetime = NOW) -> Decision:
    return decide(payment, event, now=now, rules=RULES)


class Story:
    """Events one after the other; everything that followed from them."""

    def __init__(self, *events: Happening, payment: Payment = NONE) -> None:
        self.payment = payment
        self.said: list[str] = []
        self.work: list[WorkKind] = []
        for event in events:
            self.tell(event)

    def tell(self, event: Happening) -> Story:
        decision = decided(self.payment, event)
        self.payment = decision.payment
        self.said += [decision.announcement.event_type] if decision.announcement else []
        self.work += [decision.work] if decision.work else []
        return self


CHARGING = Story(RESERVED).payment
WAITING = Story(RESERVED_BY_HAND).payment
PAID = Story(RESERVED, SUCCEEDED).payment

any_payment = st.builds(
    replace,
    st.just(CHARGING),
    status=st.sampled_from([s for s in PaymentStatus if s is not PaymentStatus.NONE]),
    charging=st.booleans(),
    cancelled=st.booleans(),
    refunded=st.sampled_from([Decimal(0), Decimal("4.00"), AMOUNT]),
) | st.just(NONE)
any_event = st.sampled_from(EVERY_EVENT)
stories = st.lists(any_event, max_size=14)


class TestTable:
    def test_every_event_is_decided_in_every_state(self) -> None:
        assert set(TRANSITIONS) == set(product(PaymentStatus, Happening.__args__))

    def test_the_examples_here_cover_every_kind_of_event(self) -> None:
        assert {type(event) for event in EVERY_EVENT} == set(Happening.__args__)


class TestForEveryPaymentAndEvent:
    @settings(deadline=None)
    @given(payment=any_payment, event=st.sampled_from(FROM_THE_BROKER))
    def test_an_event_twice_is_the_same_as_once(self, payment: Payment, event: Happening) -> None:
        once = decided(payment, event)
        assert decided(once.payment, event) == Decision(payment=once.payment)

    @settings(deadline=None)
    @given(payment=any_payment, event=st.sampled_from([SUCCEEDED, DECLINED, TIMED_OUT, VOIDED, REFUNDED]))
    def test_an_answer_of_the_provider_twice_says_nothing_twice(self, payment: Payment, event: Happening) -> None:
        """At most another void follows, which undoes nothing that was not to be undone."""
        once = decided(payment, event)
        twice = decided(once.payment, event)
        assert twice.payment == once.payment
        assert (twice.announcement, twice.entries) == (None, ())
        assert twice.work in {None, WorkKind.VOID}

    @settings(deadline=None)
    @given(payment=any_payment, event=any_event)
    def test_the_ledger_balances(self, payment: Payment, event: Happening) -> None:
        entries = decided(payment, event).entries
        assert sum((entry.amount for entry in entries), Decimal(0)) == 0
        assert len(entries) in {0, 2}

    @settings(deadline=None)
    @given(payment=any_payment, event=any_event)
    def test_no_success_is_said_of_a_payment_that_failed_or_was_cancelled(
        self, payment: Payment, event: Happening
    ) -> None:
        if payment.status in FINAL:
            decision = decided(payment, event)
            assert decision.announcement is None or decision.announcement.event_type != "PAYMENT_SUCCESS"
            assert decision.payment.status is payment.status
            assert decision.entries == ()

    @settings(deadline=None)
    @given(events=stories)
    def test_an_order_is_charged_once_and_told_one_outcome(self, events: Sequence[Happening]) -> None:
        story = Story(*events)
        assert story.work.count(WorkKind.CHARGE) <= 1
        outcomes = [word for word in story.said if word in {"PAYMENT_SUCCESS", "PAYMENT_FAILED", "PAYMENT_CANCELLED"}]
        assert len(outcomes) <= 1

    @settings(deadline=None)
    @given(events=stories)
    def test_nothing_is_begun_for_a_cancelled_order_but_to_undo(self, events: Sequence[Happening]) -> None:
        story = Story(CANCELLED, *events)
        assert WorkKind.CHARGE not in story.work
        assert story.said == ["PAYMENT_CANCELLED"]

    @settings(deadline=None)
    @given(events=stories)
    def test_a_paid_order_that_is_cancelled_is_refunded_once(self, events: Sequence[Happening]) -> None:
        before = [event for event in events if not isinstance(event, RefundSucceeded)]
        assert Story(*before, CANCELLED, CANCELLED, payment=PAID).work.count(WorkKind.REFUND) == 1

    @settings(deadline=None)
    @given(events=stories)
    def test_no_more_is_refunded_than_was_paid(self, events: Sequence[Happening]) -> None:
        story = Story(*events, payment=PAID)
        assert 0 <= story.payment.refunded <= AMOUNT
        assert (story.payment.status == "REFUNDED") == (story.payment.refunded == AMOUNT)


class TestCharging:
    def test_a_reservation_is_charged_at_once(self) -> None:
        decision = decided(NONE, RESERVED)
        assert (decision.work, decision.announcement) == (WorkKind.CHARGE, None)
        assert (decision.payment.status, decision.payment.charging, decision.payment.amount) == (
            "PENDING",
            True,
            AMOUNT,
        )

    def test_by_hand_it_waits_for_the_customer(self) -> None:
        decision = decided(NONE, RESERVED_BY_HAND)
        assert decision.work is None
        assert decision.announcement is not None
        assert decision.announcement.event_type == "PAYMENT_PENDING"
        assert decision.announcement.fields == {"expires_at": RESERVED.expires_at}

    @pytest.mark.parametrize(
        ("left", "may"),
        [
            (LIMIT + MARGIN + timedelta(microseconds=1), True),
            (LIMIT + MARGIN, False),
            (timedelta(0), False),
            (-LIMIT, False),
        ],
    )
    def test_a_charge_starts_only_if_it_can_end_in_time(self, left: timedelta, may: bool) -> None:
        decision = decided(NONE, replace(RESERVED, expires_at=NOW + left))
        if may:
            assert decision.work is WorkKind.CHARGE
        else:
            assert decision.work is None
            assert decision.announcement is not None
            assert decision.announcement.fields == {"reason": "reservation_expired"}
            assert decision.payment.status is PaymentStatus.FAILED

    def test_a_reservation_that_does_not_expire_can_be_charged(self) -> None:
        assert decided(NONE, replace(RESERVED, expires_at=None)).work is WorkKind.CHARGE

    def test_success_is_booked_and_told(self) -> None:
        decision = decided(CHARGING, SUCCEEDED)
        assert decision.announcement is not None
        assert decision.announcement.event_type == "PAYMENT_SUCCESS"
        assert decision.announcement.fields == {"psp_reference": "psp_1"}
        assert decision.entries == (
            Entry(account="psp_receivable", amount=AMOUNT),
            Entry(account="customer_payments", amount=-AMOUNT),
        )

    def test_a_decline_is_told_with_its_reason(self) -> None:
        decision = decided(CHARGING, DECLINED)
        assert decision.announcement is not None
        assert decision.announcement.fields == {"reason": "card_declined"}
        assert (decision.payment.status, decision.payment.charging, decision.entries) == ("FAILED", False, ())

    def test_a_timeout_fails_and_voids_whatever_the_provider_did(self) -> None:
        story = Story(RESERVED, TIMED_OUT)
        assert (story.said, story.work) == (["PAYMENT_FAILED"], [WorkKind.CHARGE, WorkKind.VOID])
        assert story.tell(SUCCEEDED).work == [WorkKind.CHARGE, WorkKind.VOID, WorkKind.VOID]
        assert story.said == ["PAYMENT_FAILED"]

    def test_an_order_has_one_payment_id_known_beforehand(self) -> None:
        assert payment_id(ID) == payment_id(UUID(int=1))
        assert payment_id(ID) != payment_id(UUID(int=2))


class TestDecidedRaces:
    @pytest.mark.parametrize("events", list(permutations([RESERVED_BY_HAND, CANCELLED])))
    def test_reservation_and_cancellation_in_any_order_end_cancelled(self, events: Sequence[Happening]) -> None:
        story = Story(*events)
        assert story.payment.status is PaymentStatus.CANCELLED
        assert story.said[-1] == "PAYMENT_CANCELLED"

    def test_cancelled_while_charging_promises_nothing_until_the_outcome_is_known(self) -> None:
        story = Story(RESERVED, CANCELLED)
        assert (story.said, story.payment.charging) == ([], True)

    @pytest.mark.parametrize(
        "outcomes",
        [(DECLINED,), (SUCCEEDED, VOIDED), (TIMED_OUT, VOIDED), (TIMED_OUT, SUCCEEDED, VOIDED, VOIDED)],
    )
    def test_cancelled_while_charging_ends_uncharged_and_says_so_once(self, outcomes: Sequence[Happening]) -> None:
        story = Story(RESERVED, CANCELLED, *outcomes)
        assert story.said == ["PAYMENT_CANCELLED"]
        assert (story.payment.status, story.payment.charging) == ("CANCELLED", False)
        assert WorkKind.REFUND not in story.work

    def test_an_unwanted_success_is_voided_before_anything_is_said(self) -> None:
        story = Story(RESERVED, CANCELLED, SUCCEEDED)
        assert (story.work, story.said) == ([WorkKind.CHARGE, WorkKind.VOID], [])

    @pytest.mark.parametrize("reservation", [RESERVED, RESERVED_BY_HAND])
    def test_the_tombstone_alone_keeps_an_order_from_being_charged(self, reservation: StockReserved) -> None:
        buried = replace(NONE, cancelled=True)
        assert decided(buried, reservation) == Decision(payment=buried)

    def test_stock_given_back_cancels_an_intent_that_was_not_charged(self) -> None:
        story = Story(RESERVED_BY_HAND, STOCK_BACK, CANCELLED)
        assert story.said == ["PAYMENT_PENDING", "PAYMENT_CANCELLED"]
        assert story.payment.cancelled

    @pytest.mark.parametrize("payment", [CHARGING, PAID])
    def test_stock_given_back_never_undoes_a_charge(self, payment: Payment) -> None:
        assert decided(payment, STOCK_BACK) == Decision(payment=payment)

    def test_a_cancelled_order_that_was_never_to_be_paid_is_answered_all_the_same(self) -> None:
        assert Story(CANCELLED).said == ["PAYMENT_CANCELLED"]

    def test_a_failed_payment_has_had_its_last_word(self) -> None:
        assert Story(RESERVED, DECLINED, CANCELLED).said == ["PAYMENT_FAILED"]

    def test_cancelling_a_paid_order_refunds_all_of_it(self) -> None:
        story = Story(CANCELLED, REFUNDED, payment=PAID)
        assert (story.work, story.said) == ([WorkKind.REFUND], ["PAYMENT_REFUNDED"])
        assert (story.payment.status, story.payment.refunded) == ("REFUNDED", AMOUNT)

    def test_a_part_refunded_before_is_not_refunded_again(self) -> None:
        story = Story(PARTLY_REFUNDED, CANCELLED, RefundSucceeded(order_id=ID, amount=Decimal("6.00")), payment=PAID)
        assert (story.payment.status, story.payment.refunded) == ("REFUNDED", AMOUNT)

    def test_a_refused_refund_asks_for_an_operator(self) -> None:
        story = Story(CANCELLED, REFUND_REFUSED, payment=PAID)
        assert (story.said, story.payment.status) == (["PAYMENT_REFUND_FAILED"], "SUCCEEDED")
