"""Payments: every event decided in every state, nothing charged twice, nothing kept that should not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations, product
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from payment_service.domain import (
    STRAY,
    TRANSITIONS,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    ConfirmRequested,
    Decision,
    Entry,
    Happening,
    OrderCancelled,
    OrderReturned,
    Payment,
    PaymentMode,
    PaymentStatus,
    RefundRefused,
    RefundRequested,
    RefundSucceeded,
    RefundUnanswered,
    Refusal,
    Rules,
    StockReserved,
    StockReturned,
    StrayCharge,
    UndoingUnanswered,
    WorkKind,
    decide,
    payment_id,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMIT, MARGIN = timedelta(seconds=30), timedelta(seconds=5)
RULES = Rules(psp_limit=LIMIT)
ID = UUID(int=1)
AMOUNT = Decimal("10.00")
PART = Decimal("4.00")
RESERVED = StockReserved(
    order_id=ID,
    amount=AMOUNT,
    currency="EUR",
    payment_mode=PaymentMode.AUTO,
    payment_method="tok_success",
    user_id="ann",
    expires_at=NOW + timedelta(minutes=30),
)
RESERVED_BY_HAND = replace(RESERVED, payment_mode=PaymentMode.MANUAL)
STOCK_BACK = StockReturned(order_id=ID, reason="expired")
CANCELLED = OrderCancelled(order_id=ID)
CONFIRM = ConfirmRequested(order_id=ID, token="tok_later")
SUCCEEDED = ChargeSucceeded(order_id=ID, psp_reference="psp_1")
DECLINED = ChargeDeclined(order_id=ID, reason="card_declined")
TIMED_OUT = ChargeTimedOut(order_id=ID)
VOIDED = ChargeVoided(order_id=ID)
STRAY_CHARGE = StrayCharge(order_id=ID)
REFUND_ID, RETURN_ID = UUID(int=7), UUID(int=8)
WANT_PART_BACK = RefundRequested(order_id=ID, refund_id=REFUND_ID, amount=PART, reason="goodwill")
WANT_REST_BACK = replace(WANT_PART_BACK, refund_id=UUID(int=9), amount=None)
WANT_TOO_MUCH_BACK = replace(WANT_PART_BACK, refund_id=UUID(int=10), amount=AMOUNT + 1)
GOODS_BACK = OrderReturned(order_id=ID, return_id=RETURN_ID, amount=PART, currency="EUR")
ALL_GOODS_BACK = replace(GOODS_BACK, return_id=UUID(int=11), amount=AMOUNT)
WORTHLESS_GOODS_BACK = replace(GOODS_BACK, return_id=UUID(int=12), amount=Decimal("0.00"))
REFUNDED = RefundSucceeded(order_id=ID, refund_id=REFUND_ID, amount=AMOUNT, reason="order_cancelled")
PARTLY_REFUNDED = replace(REFUNDED, amount=PART)
REFUND_REFUSED = RefundRefused(order_id=ID, refund_id=REFUND_ID, amount=AMOUNT, reason="nothing_to_refund")
PART_REFUSED = replace(REFUND_REFUSED, amount=PART)
REFUND_SILENT = RefundUnanswered(order_id=ID, refund_id=REFUND_ID)
VOID_SILENT = UndoingUnanswered(order_id=ID, attempt_id=REFUND_ID)
EVERY_EVENT: tuple[Happening, ...] = (
    RESERVED,
    RESERVED_BY_HAND,
    STOCK_BACK,
    CANCELLED,
    CONFIRM,
    SUCCEEDED,
    DECLINED,
    TIMED_OUT,
    VOIDED,
    STRAY_CHARGE,
    WANT_PART_BACK,
    WANT_REST_BACK,
    WANT_TOO_MUCH_BACK,
    GOODS_BACK,
    ALL_GOODS_BACK,
    WORTHLESS_GOODS_BACK,
    REFUNDED,
    PARTLY_REFUNDED,
    REFUND_REFUSED,
    PART_REFUSED,
    REFUND_SILENT,
    VOID_SILENT,
)
FROM_THE_BROKER = (RESERVED, RESERVED_BY_HAND, STOCK_BACK, CANCELLED, GOODS_BACK, ALL_GOODS_BACK, WORTHLESS_GOODS_BACK)
REQUESTS = (CONFIRM, WANT_PART_BACK, WANT_REST_BACK, WANT_TOO_MUCH_BACK)
OUTCOMES = (SUCCEEDED, DECLINED, TIMED_OUT, VOIDED, REFUNDED, PARTLY_REFUNDED, REFUND_REFUSED)
REFUND_OUTCOMES = (RefundSucceeded, RefundRefused)
NONE = Payment(order_id=ID)
FINAL = {PaymentStatus.FAILED, PaymentStatus.CANCELLED}
# (refunded, refunding) that a payment in this status may have; nothing where no money is here.
MONEY_BACK = {
    PaymentStatus.SUCCEEDED: [(Decimal(0), Decimal(0)), (Decimal(0), PART), (Decimal(0), AMOUNT)],
    PaymentStatus.PARTIALLY_REFUNDED: [(PART, Decimal(0)), (PART, PART), (PART, AMOUNT - PART)],
    PaymentStatus.REFUNDED: [(AMOUNT, Decimal(0))],
}


def decided(payment: Payment, event: Happening, now: datetime = NOW) -> Decision:
    return decide(payment, event, now=now, rules=RULES)


class Story:
    """Events one after the other; everything that followed from them."""

    def __init__(self, *events: Happening, payment: Payment = NONE) -> None:
        self.payment = payment
        self.said: list[str] = []
        self.work: list[WorkKind] = []
        self.amounts: list[Decimal] = []
        self.entries: list[Entry] = []
        self.refusals: list[Refusal] = []
        for event in events:
            self.tell(event)

    def tell(self, event: Happening) -> Story:
        decision = decided(self.payment, event)
        self.payment = decision.payment
        self.said += [decision.announcement.event_type] if decision.announcement else []
        self.work += [decision.work.kind] if decision.work else []
        self.amounts += [decision.work.amount] if decision.work else []
        self.entries += decision.entries
        self.refusals += [decision.refusal] if decision.refusal else []
        return self


CHARGING = Story(RESERVED).payment
WAITING = Story(RESERVED_BY_HAND).payment
CONFIRMED = Story(CONFIRM, payment=WAITING).payment
PAID = Story(RESERVED, SUCCEEDED).payment


def refund_of(amount: Decimal | None, number: int = 7) -> RefundRequested:
    return replace(WANT_PART_BACK, refund_id=UUID(int=number), amount=amount)


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    """Any payment that the rules can lead to, and some more."""
    status = draw(st.sampled_from([s for s in PaymentStatus if s is not PaymentStatus.NONE]))
    refunded, refunding = draw(st.sampled_from(MONEY_BACK.get(status, [(Decimal(0), Decimal(0))])))
    return replace(
        draw(st.sampled_from([CHARGING, CONFIRMED])),
        status=status,
        charging=draw(st.booleans()) and status in {PaymentStatus.PENDING, PaymentStatus.CANCELLED},
        cancelled=draw(st.booleans()),
        stock_gone=draw(st.booleans()),
        attempts=draw(st.integers(1, RULES.most_attempts)),
        refunded=refunded,
        refunding=refunding,
    )


any_payment = payments() | st.just(NONE) | st.just(WAITING)
any_event = st.sampled_from(EVERY_EVENT)
stories = st.lists(any_event, max_size=20)


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
    @given(payment=any_payment, event=st.sampled_from(REQUESTS))
    def test_a_request_twice_begins_once(self, payment: Payment, event: Happening) -> None:
        once = decided(payment, event)
        twice = decided(once.payment, event)
        assert (twice.payment, twice.work, twice.announcement, twice.entries) == (once.payment, None, None, ())

    @settings(deadline=None)
    @given(payment=any_payment, event=st.sampled_from(OUTCOMES))
    def test_an_answer_of_the_provider_twice_says_nothing_twice(self, payment: Payment, event: Happening) -> None:
        """At most another void follows, which undoes nothing that was not to be undone."""
        if isinstance(event, REFUND_OUTCOMES):
            assume(payment.refunding in {Decimal(0), event.amount})
        once = decided(payment, event)
        twice = decided(once.payment, event)
        assert twice.payment == once.payment
        assert (twice.announcement, twice.entries) == (None, ())
        assert twice.work is None or twice.work.kind is WorkKind.VOID

    @settings(deadline=None)
    @given(payment=any_payment, event=any_event)
    def test_the_ledger_balances(self, payment: Payment, event: Happening) -> None:
        entries = decided(payment, event).entries
        assert sum((entry.amount for entry in entries), Decimal(0)) == 0
        assert len(entries) in {0, 2}

    @settings(deadline=None)
    @given(payment=any_payment, event=any_event)
    def test_a_refusal_changes_nothing(self, payment: Payment, event: Happening) -> None:
        decision = decided(payment, event)
        if decision.refusal:
            assert event in REQUESTS
            assert decision == Decision(payment=payment, refusal=decision.refusal)

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
    @given(payment=any_payment)
    def test_a_stray_charge_is_undone_and_changes_nothing_else(self, payment: Payment) -> None:
        decision = decided(payment, STRAY_CHARGE)
        assert decision.work is not None
        assert (decision.work.kind, decision.work.purpose) == (WorkKind.VOID, STRAY)
        assert decision == Decision(payment=payment, work=decision.work)


class TestForEveryStory:
    @settings(deadline=None)
    @given(events=stories)
    def test_an_order_is_told_one_outcome(self, events: Sequence[Happening]) -> None:
        """Only a timeout is told in two words: it is given up, and, once that is certain, nothing was taken."""
        said = Story(*events).said
        outcomes = [word for word in said if word in {"PAYMENT_SUCCESS", "PAYMENT_FAILED", "PAYMENT_CANCELLED"}]
        in_two_words = TIMED_OUT in events and outcomes == ["PAYMENT_FAILED", "PAYMENT_CANCELLED"]
        assert len(outcomes) <= 1 or in_two_words

    @settings(deadline=None)
    @given(events=stories, reservation=st.sampled_from([RESERVED, RESERVED_BY_HAND]))
    def test_no_charge_begins_before_the_one_before_it_was_declined(
        self, events: Sequence[Happening], reservation: StockReserved
    ) -> None:
        story = Story(reservation)
        for event in events:
            before = story.payment
            begun = story.work.count(WorkKind.CHARGE)
            story.tell(event)
            if story.work.count(WorkKind.CHARGE) > begun:
                assert (before.status, before.charging, story.payment.charging) == ("PENDING", False, True)
        assert story.work.count(WorkKind.CHARGE) == story.payment.attempts
        assert story.payment.attempts <= (1 if reservation is RESERVED else RULES.most_attempts)

    @settings(deadline=None)
    @given(events=stories)
    def test_nothing_is_begun_for_a_cancelled_order_but_to_undo(self, events: Sequence[Happening]) -> None:
        story = Story(CANCELLED, *events)
        assert set(story.work) <= {WorkKind.VOID}
        assert [word for word in story.said if word != "PAYMENT_REFUND_FAILED"] == ["PAYMENT_CANCELLED"]

    @settings(deadline=None)
    @given(events=stories)
    def test_never_more_goes_back_than_was_taken(self, events: Sequence[Happening]) -> None:
        """However many refunds, returns and cancellations there are, and whatever becomes of them."""
        story = Story(payment=PAID)
        for event in events:
            story.tell(event)
            payment = story.payment
            assert payment.refunded >= 0
            assert payment.refunding >= 0
            assert payment.refunded + payment.refunding <= payment.amount
            assert (payment.status == "REFUNDED") == (payment.refunded == payment.amount)
            assert (payment.status == "PARTIALLY_REFUNDED") == (0 < payment.refunded < payment.amount)

    @settings(deadline=None)
    @given(events=stories)
    def test_the_ledger_says_what_the_payment_says(self, events: Sequence[Happening]) -> None:
        story = Story(RESERVED, *events)
        assert sum((entry.amount for entry in story.entries), Decimal(0)) == 0
        held = sum((entry.amount for entry in story.entries if entry.account == "psp_receivable"), Decimal(0))
        was_paid = "PAYMENT_SUCCESS" in story.said
        assert held == (story.payment.amount - story.payment.refunded if was_paid else 0)

    @settings(deadline=None)
    @given(events=stories)
    def test_a_cancelled_order_has_all_its_money_on_the_way_back(self, events: Sequence[Happening]) -> None:
        before = [event for event in events if not isinstance(event, OrderCancelled)]
        story = Story(*before, CANCELLED, payment=PAID)
        assert story.payment.refunded + story.payment.refunding == AMOUNT
        assert story.tell(CANCELLED).payment.refunding == AMOUNT - story.payment.refunded


class TestCharging:
    def test_a_reservation_is_charged_at_once(self) -> None:
        decision = decided(NONE, RESERVED)
        assert decision.work is not None
        assert (decision.work.kind, decision.work.amount, decision.announcement) == (WorkKind.CHARGE, AMOUNT, None)
        payment = decision.payment
        assert (payment.status, payment.charging, payment.attempts) == ("PENDING", True, 1)
        assert (payment.amount, payment.user_id, payment.expires_at) == (AMOUNT, "ann", RESERVED.expires_at)

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
            assert decision.payment.charging
        else:
            assert decision.work is None
            assert decision.announcement is not None
            assert decision.announcement.fields == {"reason": "reservation_expired"}
            assert decision.payment.status is PaymentStatus.FAILED

    def test_a_reservation_that_does_not_expire_can_be_charged(self) -> None:
        assert decided(NONE, replace(RESERVED, expires_at=None)).payment.charging

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
        assert story.entries == []
        assert story.said == ["PAYMENT_FAILED"]

    def test_an_order_has_one_payment_id_known_beforehand(self) -> None:
        assert payment_id(ID) == payment_id(UUID(int=1))
        assert payment_id(ID) != payment_id(UUID(int=2))


class TestPayingLater:
    def test_the_customers_token_is_charged(self) -> None:
        decision = decided(WAITING, CONFIRM)
        assert decision.work is not None
        assert (decision.work.kind, decision.payment.payment_method) == (WorkKind.CHARGE, "tok_later")
        assert (decision.payment.charging, decision.payment.attempts, decision.announcement) == (True, 1, None)

    def test_a_decline_is_not_the_end_until_the_third(self) -> None:
        story = Story(CONFIRM, DECLINED, CONFIRM, DECLINED, payment=WAITING)
        assert (story.said, story.payment.status, story.payment.charging) == ([], "PENDING", False)
        story.tell(CONFIRM).tell(replace(DECLINED, reason="limit_exceeded"))
        assert (story.said, story.payment.status, story.payment.attempts) == (["PAYMENT_FAILED"], "FAILED", 3)
        assert story.tell(CONFIRM).refusals == [Refusal.NOT_PAYABLE]

    def test_the_last_reason_is_told(self) -> None:
        payment = Story(CONFIRM, DECLINED, CONFIRM, DECLINED, CONFIRM, payment=WAITING).payment
        decision = decided(payment, replace(DECLINED, reason="limit_exceeded"))
        assert decision.announcement is not None
        assert decision.announcement.fields == {"reason": "limit_exceeded"}

    @pytest.mark.parametrize("failures", [0, 1, 2])
    def test_any_of_the_three_may_succeed(self, failures: int) -> None:
        story = Story(*[CONFIRM, DECLINED] * failures, CONFIRM, SUCCEEDED, payment=WAITING)
        assert (story.said, story.payment.status) == (["PAYMENT_SUCCESS"], "SUCCEEDED")
        assert story.work == [WorkKind.CHARGE] * (failures + 1)

    @pytest.mark.parametrize(
        ("payment", "refusal"),
        [
            (CONFIRMED, Refusal.IN_PROGRESS),
            (replace(CONFIRMED, attempts=3), Refusal.IN_PROGRESS),
            (replace(WAITING, attempts=3), Refusal.NOT_PAYABLE),
            (CHARGING, Refusal.NOT_PAYABLE),
            (replace(CHARGING, charging=False), Refusal.NOT_PAYABLE),
            (replace(WAITING, cancelled=True), Refusal.NOT_PAYABLE),
            (NONE, Refusal.NOT_PAYABLE),
            (PAID, Refusal.NOT_PAYABLE),
            (Story(CANCELLED, payment=WAITING).payment, Refusal.NOT_PAYABLE),
            (Story(STOCK_BACK, payment=WAITING).payment, Refusal.NOT_PAYABLE),
            (Story(RESERVED, DECLINED).payment, Refusal.NOT_PAYABLE),
        ],
    )
    def test_what_cannot_be_paid_is_refused(self, payment: Payment, refusal: Refusal) -> None:
        assert decided(payment, CONFIRM) == Decision(payment=payment, refusal=refusal)

    @pytest.mark.parametrize(
        ("left", "refusal"),
        [
            (LIMIT + MARGIN + timedelta(microseconds=1), None),
            (LIMIT + MARGIN, Refusal.EXPIRED),
            (-LIMIT, Refusal.EXPIRED),
        ],
    )
    def test_an_attempt_must_be_able_to_end_before_the_reservation_does(
        self, left: timedelta, refusal: Refusal | None
    ) -> None:
        assert RESERVED.expires_at is not None
        assert decided(WAITING, CONFIRM, now=RESERVED.expires_at - left).refusal is refusal

    @pytest.mark.parametrize("payment", [CHARGING, CONFIRMED])
    def test_a_timeout_ends_it_in_any_mode(self, payment: Payment) -> None:
        """Nobody knows yet whether that attempt took the money: another one might take it twice."""
        story = Story(TIMED_OUT, payment=payment)
        assert (story.said, story.work) == (["PAYMENT_FAILED"], [WorkKind.VOID])

    @pytest.mark.parametrize("payment", [CHARGING, CONFIRMED])
    def test_that_no_money_is_gone_is_said_once_the_void_is_confirmed(self, payment: Payment) -> None:
        """The order is undone at once, but settled only then."""
        story = Story(TIMED_OUT, CANCELLED, payment=payment)
        assert story.said == ["PAYMENT_FAILED"]
        assert story.tell(VOIDED).said == ["PAYMENT_FAILED", "PAYMENT_CANCELLED"]
        assert story.tell(VOIDED).said == ["PAYMENT_FAILED", "PAYMENT_CANCELLED"]

    def test_a_void_that_nobody_confirms_is_told(self) -> None:
        assert Story(TIMED_OUT, VOID_SILENT, payment=CHARGING).said == ["PAYMENT_FAILED", "PAYMENT_REFUND_FAILED"]
        assert Story(CANCELLED, TIMED_OUT, VOID_SILENT, payment=CHARGING).said == ["PAYMENT_REFUND_FAILED"]

    def test_a_decline_after_the_stock_is_gone_is_the_end(self) -> None:
        story = Story(STOCK_BACK, payment=CONFIRMED)
        assert (story.said, story.payment.status) == ([], "PENDING")
        assert story.tell(DECLINED).said == ["PAYMENT_FAILED"]

    def test_a_success_after_the_stock_is_gone_still_counts(self) -> None:
        """Inventory reserves anew, or rejects: then the order is cancelled and the money goes back."""
        assert Story(STOCK_BACK, SUCCEEDED, payment=CONFIRMED).said == ["PAYMENT_SUCCESS"]

    def test_a_success_of_no_open_attempt_is_undone(self) -> None:
        story = Story(CONFIRM, DECLINED, SUCCEEDED, payment=WAITING)
        assert (story.said, story.work[-1], story.payment.status) == ([], WorkKind.VOID, "PENDING")


class TestRefunds:
    def test_a_part_goes_back(self) -> None:
        story = Story(WANT_PART_BACK, payment=PAID)
        assert (story.payment.refunding, story.payment.refunded, story.amounts) == (PART, 0, [PART])
        story.tell(PARTLY_REFUNDED)
        assert (story.payment.refunding, story.payment.refunded, story.payment.status) == (
            0,
            PART,
            "PARTIALLY_REFUNDED",
        )

    def test_what_is_announced(self) -> None:
        decision = decided(Story(WANT_PART_BACK, payment=PAID).payment, replace(PARTLY_REFUNDED, reason="goodwill"))
        assert decision.announcement is not None
        assert decision.announcement.fields == {
            "refund_id": REFUND_ID,
            "amount": PART,
            "total_refunded": PART,
            "reason": "goodwill",
        }

    def test_without_an_amount_all_that_is_left_goes_back(self) -> None:
        story = Story(WANT_PART_BACK, WANT_REST_BACK, payment=PAID)
        assert story.amounts == [PART, AMOUNT - PART]
        assert story.payment.refundable == 0

    @pytest.mark.parametrize("amount", ["0.00", "-1.00", "6.01", "99999999.00"])
    def test_amounts_that_do_not_fit_are_refused(self, amount: str) -> None:
        payment = Story(WANT_PART_BACK, payment=PAID).payment
        decision = decided(payment, refund_of(Decimal(amount), 20))
        assert decision == Decision(payment=payment, refusal=Refusal.TOO_LARGE)

    def test_nothing_is_left_of_what_is_on_its_way_back(self) -> None:
        story = Story(refund_of(AMOUNT), refund_of(None, 20), payment=PAID)
        assert (story.refusals, story.amounts) == ([Refusal.TOO_LARGE], [AMOUNT])

    @pytest.mark.parametrize("status", [s for s in PaymentStatus if s not in {"SUCCEEDED", "PARTIALLY_REFUNDED"}])
    def test_where_no_money_is_none_goes_back(self, status: PaymentStatus) -> None:
        payment = replace(PAID, status=status, refunded=AMOUNT if status == "REFUNDED" else Decimal(0))
        assert decided(payment, WANT_PART_BACK) == Decision(payment=payment, refusal=Refusal.NOT_REFUNDABLE)

    def test_what_the_provider_refuses_may_be_asked_for_again(self) -> None:
        story = Story(WANT_PART_BACK, PART_REFUSED, refund_of(AMOUNT, 20), payment=PAID)
        assert (story.said, story.amounts) == (["PAYMENT_REFUND_FAILED"], [PART, AMOUNT])

    def test_silence_is_told_but_the_money_stays_under_way(self) -> None:
        """It may have been paid: nobody can refund it once more."""
        story = Story(WANT_PART_BACK, REFUND_SILENT, payment=PAID)
        assert (story.said, story.payment.refunding) == (["PAYMENT_REFUND_FAILED"], PART)
        assert story.tell(PARTLY_REFUNDED).said[-1] == "PAYMENT_REFUNDED"

    @pytest.mark.parametrize("order", list(permutations([WANT_PART_BACK, GOODS_BACK, CANCELLED])))
    def test_a_request_a_return_and_a_cancellation_at_once_give_back_all_and_no_more(
        self, order: Sequence[Happening]
    ) -> None:
        story = Story(*order, payment=PAID)
        assert sum(story.amounts) == AMOUNT
        assert story.payment.refundable == 0


class TestReturns:
    def test_the_price_of_what_came_back_goes_back_under_the_returns_id(self) -> None:
        decision = decided(PAID, GOODS_BACK)
        assert decision.work is not None
        assert (decision.work.kind, decision.work.amount) == (WorkKind.REFUND, PART)
        assert (decision.work.id, decision.work.purpose) == (RETURN_ID, "returned")

    def test_as_much_as_is_left(self) -> None:
        assert Story(WANT_PART_BACK, ALL_GOODS_BACK, payment=PAID).amounts == [PART, AMOUNT - PART]

    def test_a_return_of_no_worth_moves_no_money(self) -> None:
        assert decided(PAID, WORTHLESS_GOODS_BACK) == Decision(payment=PAID)

    @pytest.mark.parametrize(
        "payment",
        [
            NONE,
            WAITING,
            CHARGING,
            Story(RESERVED, DECLINED).payment,
            Story(CANCELLED).payment,
            Story(refund_of(None), REFUNDED, payment=PAID).payment,
            Story(refund_of(None), payment=PAID).payment,
        ],
    )
    def test_where_nothing_is_left_it_fails_once_and_is_kept(self, payment: Payment) -> None:
        story = Story(GOODS_BACK, GOODS_BACK, payment=payment)
        assert (story.said, story.work) == (["PAYMENT_REFUND_FAILED"], [])
        decision = decided(payment, GOODS_BACK)
        assert decision.announcement is not None
        assert decision.announcement.fields == {"refund_id": RETURN_ID, "reason": "nothing_left"}
        assert decision.refused_refund is not None
        assert (decision.refused_refund.id, decision.refused_refund.failure) == (RETURN_ID, "nothing_left")

    def test_money_of_another_currency_is_not_given_back(self) -> None:
        story = Story(replace(GOODS_BACK, currency="USD"), payment=PAID)
        assert (story.said, story.work, story.payment.refunding) == (["PAYMENT_REFUND_FAILED"], [], 0)

    def test_a_return_that_was_refunded_before_is_not_refunded_again(self) -> None:
        known = replace(PAID, known_refunds=frozenset({RETURN_ID}))
        assert decided(known, GOODS_BACK) == Decision(payment=known)


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
        decision = decided(payment, STOCK_BACK)
        assert decision == Decision(payment=replace(payment, stock_gone=payment.charging))

    def test_a_cancelled_order_that_was_never_to_be_paid_is_answered_all_the_same(self) -> None:
        assert Story(CANCELLED).said == ["PAYMENT_CANCELLED"]

    def test_a_failed_payment_has_had_its_last_word(self) -> None:
        assert Story(RESERVED, DECLINED, CANCELLED).said == ["PAYMENT_FAILED"]

    def test_cancelling_a_paid_order_refunds_all_of_it(self) -> None:
        story = Story(CANCELLED, REFUNDED, payment=PAID)
        assert (story.work, story.said) == ([WorkKind.REFUND], ["PAYMENT_REFUNDED"])
        assert (story.payment.status, story.payment.refunded) == ("REFUNDED", AMOUNT)

    def test_a_part_refunded_before_is_not_refunded_again(self) -> None:
        story = Story(WANT_PART_BACK, PARTLY_REFUNDED, CANCELLED, payment=PAID)
        assert story.amounts == [PART, AMOUNT - PART]
        story.tell(replace(REFUNDED, amount=AMOUNT - PART))
        assert (story.payment.status, story.payment.refunded) == ("REFUNDED", AMOUNT)

    def test_a_refund_under_way_is_left_to_itself_by_a_cancellation(self) -> None:
        story = Story(refund_of(None), CANCELLED, payment=PAID)
        assert (story.amounts, story.payment.cancelled) == ([AMOUNT], True)

    def test_a_refused_refund_asks_for_an_operator(self) -> None:
        story = Story(CANCELLED, REFUND_REFUSED, payment=PAID)
        assert (story.said, story.payment.status) == (["PAYMENT_REFUND_FAILED"], "SUCCEEDED")
        assert story.tell(CANCELLED).amounts == [AMOUNT]
        assert story.tell(refund_of(None, 20)).amounts == [AMOUNT, AMOUNT]

    @pytest.mark.parametrize("outcomes", [(DECLINED,), (SUCCEEDED, VOIDED), (TIMED_OUT, VOIDED)])
    def test_cancelled_while_the_customers_attempt_is_under_way(self, outcomes: Sequence[Happening]) -> None:
        story = Story(CANCELLED, CONFIRM, *outcomes, payment=CONFIRMED)
        assert (story.said, story.refusals) == (["PAYMENT_CANCELLED"], [Refusal.NOT_PAYABLE])
        assert (story.payment.status, story.payment.charging) == ("CANCELLED", False)
