"""What the provider's answers mean for an attempt, and what rows come of a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from payment_service.changes import Changes, Origin
from payment_service.domain import (
    STRAY,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    Decision,
    Entry,
    Happening,
    Payment,
    PaymentStatus,
    RefundRefused,
    RefundSucceeded,
    RefundUnanswered,
    RefusedRefund,
    Rules,
    UndoingUnanswered,
    Work,
    WorkKind,
)
from payment_service.handlers import (
    AWAITED_POLL_S,
    LONGEST_RETRY_S,
    TRIES_BEFORE_TELLING,
    Unanswered,
    Voided,
    end_attempt,
)
from payment_service.provider import Approved, Declined, Processing
from payment_service.queries import Attempt
from payment_service.settings import Settings
from shared.envelope import StoredCause

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=30)
INSTANT = timedelta(microseconds=1)
SETTINGS = Settings(rules=Rules(psp_limit=LIMIT), psp_database_url="")
ORDER, CHARGE_ID, ATTEMPT_ID = UUID(int=1), UUID(int=2), UUID(int=3)
TEN = Decimal("10.00")
SILENCE, SLOW = Unanswered(), Processing(reference="psp_1")
APPROVED, DECLINED = Approved(reference="psp_1"), Declined(reason="card_declined")
CAUSE = StoredCause(event_id=UUID(int=4), correlation_id="c")


def an_attempt(kind: WorkKind, tries: int = 0, purpose: str | None = None) -> Attempt:
    return Attempt(
        id=ATTEMPT_ID,
        order_id=ORDER,
        kind=kind,
        charge_id=None if kind is WorkKind.CHARGE else CHARGE_ID,
        amount=TEN,
        currency="EUR",
        token="tok_success",
        tries=tries,
        started_at=START,
        cause=CAUSE,
        correlation_id="c",
        purpose=purpose,
    )


def ended(attempt: Attempt, answer: Any, after: timedelta = timedelta(0)) -> tuple[Happening | None, Changes]:
    changes = Changes()
    return end_attempt(changes, attempt, answer, now=START + after, settings=SETTINGS), changes


class TestEndOfAnAttempt:
    @pytest.mark.parametrize(
        ("kind", "answer", "status", "meaning"),
        [
            (WorkKind.CHARGE, APPROVED, "SUCCEEDED", ChargeSucceeded(order_id=ORDER, psp_reference="psp_1")),
            (WorkKind.CHARGE, DECLINED, "FAILED", ChargeDeclined(order_id=ORDER, reason="card_declined")),
            (WorkKind.VOID, Voided(), "SUCCEEDED", ChargeVoided(order_id=ORDER)),
            (
                WorkKind.REFUND,
                APPROVED,
                "SUCCEEDED",
                RefundSucceeded(order_id=ORDER, refund_id=ATTEMPT_ID, amount=TEN, reason="goodwill"),
            ),
            (
                WorkKind.REFUND,
                DECLINED,
                "FAILED",
                RefundRefused(order_id=ORDER, refund_id=ATTEMPT_ID, amount=TEN, reason="card_declined"),
            ),
        ],
    )
    def test_an_answer_ends_it(self, kind: WorkKind, answer: Any, status: str, meaning: Happening) -> None:
        event, changes = ended(an_attempt(kind, purpose="goodwill"), answer)
        assert event == meaning
        assert [(row["id"], row["status"], row["next_try_at"]) for row in changes.attempts] == [
            (ATTEMPT_ID, status, None)
        ]
        assert [row["status"] for row in changes.ended_refunds] == ([status] if kind is WorkKind.REFUND else [])

    def test_a_stray_charge_that_was_undone_is_not_what_the_payment_waits_for(self) -> None:
        event, changes = ended(an_attempt(WorkKind.VOID, purpose=STRAY), Voided())
        assert (event, changes.attempts[0]["status"]) == (None, "SUCCEEDED")

    @pytest.mark.parametrize("kind", WorkKind)
    def test_silence_means_unknown_and_asking_again(self, kind: WorkKind) -> None:
        event, changes = ended(an_attempt(kind), SILENCE)
        assert event is None
        (row,) = changes.attempts
        assert row["status"] == "UNKNOWN"
        assert row["next_try_at"] > START

    @pytest.mark.parametrize("kind", [WorkKind.VOID, WorkKind.REFUND])
    def test_what_is_not_a_charge_is_asked_again_while_it_is_processed(self, kind: WorkKind) -> None:
        event, changes = ended(an_attempt(kind), SLOW)
        assert (event, changes.attempts[0]["status"], changes.ended_refunds) == (None, "UNKNOWN", [])

    def test_a_charge_that_is_processed_is_awaited(self) -> None:
        event, changes = ended(an_attempt(WorkKind.CHARGE, tries=16), SLOW)
        (row,) = changes.attempts
        assert (event, row["status"]) == (None, "AWAITING")
        assert row["next_try_at"] == START + timedelta(seconds=AWAITED_POLL_S)

    @pytest.mark.parametrize("answer", [SILENCE, SLOW])
    def test_a_charge_is_looked_at_once_more_at_the_limit(self, answer: Any) -> None:
        _, changes = ended(an_attempt(WorkKind.CHARGE, tries=9), answer, LIMIT - INSTANT)
        assert changes.attempts[0]["next_try_at"] == START + LIMIT

    @pytest.mark.parametrize("answer", [SILENCE, SLOW])
    def test_no_outcome_past_the_limit_is_a_timeout(self, answer: Any) -> None:
        assert ended(an_attempt(WorkKind.CHARGE), answer, LIMIT - INSTANT)[0] is None
        event, changes = ended(an_attempt(WorkKind.CHARGE), answer, LIMIT)
        assert event == ChargeTimedOut(order_id=ORDER)
        assert [(row["status"], row["reason"]) for row in changes.attempts] == [("TIMED_OUT", "psp_timeout")]

    def test_an_answer_past_the_limit_still_counts(self) -> None:
        event, _ = ended(an_attempt(WorkKind.CHARGE), APPROVED, 10 * LIMIT)
        assert isinstance(event, ChargeSucceeded)

    def test_what_was_blocked_by_a_void_ends_as_silence_does(self) -> None:
        """Also before the limit: nobody wanted it any more. Its void is confirmed like any other."""
        event, changes = ended(an_attempt(WorkKind.CHARGE), Declined(reason="psp_timeout"))
        assert event == ChargeTimedOut(order_id=ORDER)
        assert [(row["status"], row["reason"]) for row in changes.attempts] == [("TIMED_OUT", "psp_timeout")]

    def test_a_void_is_tried_for_ever_and_told_every_so_often(self) -> None:
        event, changes = ended(an_attempt(WorkKind.VOID, tries=9_999), SILENCE, timedelta(days=9))
        assert (event, changes.attempts[0]["status"]) == (None, "UNKNOWN")
        event, changes = ended(an_attempt(WorkKind.VOID, tries=10_000), SILENCE, timedelta(days=9))
        assert event == UndoingUnanswered(order_id=ORDER, attempt_id=ATTEMPT_ID)
        assert changes.attempts[0]["status"] == "UNKNOWN"

    def test_a_refund_is_told_when_it_was_tried_long_and_tried_on(self) -> None:
        assert ended(an_attempt(WorkKind.REFUND, tries=TRIES_BEFORE_TELLING - 1), SILENCE)[0] is None
        event, changes = ended(an_attempt(WorkKind.REFUND, tries=TRIES_BEFORE_TELLING), SILENCE)
        assert event == RefundUnanswered(order_id=ORDER, refund_id=ATTEMPT_ID)
        assert (changes.attempts[0]["status"], changes.ended_refunds) == ("UNKNOWN", [])
        assert ended(an_attempt(WorkKind.REFUND, tries=TRIES_BEFORE_TELLING + 1), SILENCE)[0] is None
        # Whoever should have told it then may have died: it is told again.
        assert ended(an_attempt(WorkKind.REFUND, tries=2 * TRIES_BEFORE_TELLING), SILENCE)[0] == event

    def test_delays_grow_up_to_a_limit(self) -> None:
        delays = []
        for tries in range(30):
            _, changes = ended(an_attempt(WorkKind.VOID, tries=tries), SILENCE)
            delays.append((changes.attempts[0]["next_try_at"] - START).total_seconds())
        assert delays == sorted(delays)
        assert delays[0] < 1
        assert LONGEST_RETRY_S / 2 <= delays[-1] <= LONGEST_RETRY_S

    def test_attempts_that_went_unanswered_together_do_not_come_back_together(self) -> None:
        tries = [ended(replace(an_attempt(WorkKind.VOID, tries=5), id=uuid4()), SILENCE)[1] for _ in range(20)]
        assert len({changes.attempts[0]["next_try_at"] for changes in tries}) > 10


PAYMENT = Payment(
    order_id=ORDER, status=PaymentStatus.SUCCEEDED, amount=TEN, currency="EUR", payment_method="tok_x", attempts=1
)


def recorded(decision: Decision, origin: Origin) -> Changes:
    changes, at = Changes(), SimpleNamespace(now=START)
    changes.record(at, PAYMENT, decision, origin)  # type: ignore[arg-type]
    return changes


class TestRows:
    BY_EVENT = Origin(cause=CAUSE, correlation_id="c", charge_id=CHARGE_ID)
    BY_REQUEST = Origin(cause=None, correlation_id="mine", charge_id=CHARGE_ID)

    def test_a_refund_names_its_charge_and_its_reason(self) -> None:
        work = Work(kind=WorkKind.REFUND, amount=Decimal("6.00"), id=UUID(int=9), purpose="returned")
        changes = recorded(Decision(payment=PAYMENT, work=work), self.BY_EVENT)
        (attempt,), (refund,) = changes.work, changes.refunds
        assert (attempt["amount"], attempt["charge_id"], attempt["token"]) == (Decimal("6.00"), CHARGE_ID, None)
        assert (attempt["cause_event_id"], attempt["correlation_id"]) == (UUID(int=4), "c")
        assert attempt["id"] == refund["id"] == UUID(int=9)
        assert (refund["amount"], refund["reason"], refund["status"]) == (Decimal("6.00"), "returned", "PENDING")

    def test_a_charge_goes_to_the_card_that_was_named(self) -> None:
        work = Work(kind=WorkKind.CHARGE, amount=TEN)
        changes = recorded(Decision(payment=PAYMENT, work=work), self.BY_REQUEST)
        (attempt,) = changes.work
        assert (attempt["kind"], attempt["amount"], attempt["token"]) == ("CHARGE", TEN, "tok_x")
        assert (attempt["charge_id"], attempt["cause_event_id"], attempt["correlation_id"]) == (None, None, "mine")
        assert changes.refunds == []

    def test_each_charge_has_a_key_of_its_own(self) -> None:
        work = Work(kind=WorkKind.CHARGE, amount=TEN)
        keys = {recorded(Decision(payment=PAYMENT, work=work), self.BY_EVENT).work[0]["id"] for _ in range(3)}
        assert len(keys) == 3

    def test_a_refund_that_is_refused_at_once_is_kept_and_not_carried_out(self) -> None:
        refused = RefusedRefund(id=UUID(int=9), amount=TEN, currency="EUR", reason="returned", failure="nothing_left")
        changes = recorded(Decision(payment=PAYMENT, refused_refund=refused), self.BY_EVENT)
        assert changes.work == []
        assert [(row["id"], row["status"], row["failure"]) for row in changes.refunds] == [
            (UUID(int=9), "FAILED", "nothing_left")
        ]

    def test_entries_of_one_decision_are_one_transaction(self) -> None:
        entries = (Entry(account="a", amount=TEN), Entry(account="b", amount=-TEN))
        changes = recorded(Decision(payment=PAYMENT, entries=entries), self.BY_EVENT)
        assert len({row["transaction_id"] for row in changes.entries}) == 1
        assert {row["currency"] for row in changes.entries} == {"EUR"}

    def test_what_did_not_change_is_not_written(self) -> None:
        assert recorded(Decision(payment=PAYMENT), self.BY_EVENT) == Changes()
