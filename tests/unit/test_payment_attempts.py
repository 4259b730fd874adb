"""What the provider's answers mean for an attempt, and who may act on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from payment_service.domain import (
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    Decision,
    Payment,
    RefundRefused,
    RefundSucceeded,
    Rules,
    WorkKind,
)
from payment_service.handlers import LONGEST_RETRY_S, REFUND_TRIES, Changes, Unanswered, Voided, _end_attempt, _record
from payment_service.provider import Approved, Declined
from payment_service.queries import Attempt
from payment_service.service import Charging
from payment_service.settings import Settings
from shared.envelope import StoredCause
from shared.errors import DatabaseUnavailable, TransientError

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=30)
SETTINGS = Settings(rules=Rules(psp_limit=LIMIT), psp_database_url="")
ORDER, CHARGE_ID, ATTEMPT_ID = UUID(int=1), UUID(int=2), UUID(int=3)
SILENCE, APPROVED, DECLINED = Unanswered(), Approved(reference="psp_1"), Declined(reason="card_declined")


def an_attempt(kind: WorkKind, tries: int = 0) -> Attempt:
    return Attempt(
        id=ATTEMPT_ID,
        order_id=ORDER,
        kind=kind,
        charge_id=None if kind is WorkKind.CHARGE else CHARGE_ID,
        amount=Decimal("10.00"),
        currency="EUR",
        token="tok_success",
        tries=tries,
        started_at=START,
        cause=StoredCause(event_id=UUID(int=4), correlation_id="c"),
    )


def ended(attempt: Attempt, answer: Any, after: timedelta = timedelta(0)) -> tuple[Any, Changes]:
    changes = Changes()
    at: Any = SimpleNamespace(now=START + after)
    return _end_attempt(at, changes, attempt, answer, SETTINGS), changes


class TestEndOfAnAttempt:
    @pytest.mark.parametrize(
        ("kind", "answer", "status", "meaning"),
        [
            (WorkKind.CHARGE, APPROVED, "SUCCEEDED", ChargeSucceeded(order_id=ORDER, psp_reference="psp_1")),
            (WorkKind.CHARGE, DECLINED, "FAILED", ChargeDeclined(order_id=ORDER, reason="card_declined")),
            (WorkKind.VOID, Voided(), "SUCCEEDED", ChargeVoided(order_id=ORDER)),
            (WorkKind.REFUND, APPROVED, "SUCCEEDED", RefundSucceeded(order_id=ORDER, amount=Decimal("10.00"))),
            (WorkKind.REFUND, DECLINED, "FAILED", RefundRefused(order_id=ORDER, reason="card_declined")),
        ],
    )
    def test_an_answer_ends_it(self, kind: WorkKind, answer: Any, status: str, meaning: Any) -> None:
        event, changes = ended(an_attempt(kind), answer)
        assert event == meaning
        assert [(row["id"], row["status"]) for row in changes.attempts] == [(ATTEMPT_ID, status)]
        assert [row["status"] for row in changes.ended_refunds] == ([status] if kind is WorkKind.REFUND else [])

    @pytest.mark.parametrize("kind", WorkKind)
    def test_silence_means_unknown_and_asking_again(self, kind: WorkKind) -> None:
        event, changes = ended(an_attempt(kind), SILENCE)
        assert event is None
        (row,) = changes.attempts
        assert row["status"] == "UNKNOWN"
        assert row["next_try_at"] > START

    def test_silence_past_the_limit_is_a_timeout(self) -> None:
        assert ended(an_attempt(WorkKind.CHARGE), SILENCE, LIMIT - timedelta(microseconds=1))[0] is None
        event, changes = ended(an_attempt(WorkKind.CHARGE), SILENCE, LIMIT)
        assert event == ChargeTimedOut(order_id=ORDER)
        assert [(row["status"], row["reason"]) for row in changes.attempts] == [("TIMED_OUT", "psp_timeout")]

    def test_an_answer_past_the_limit_still_counts(self) -> None:
        event, _ = ended(an_attempt(WorkKind.CHARGE), APPROVED, 10 * LIMIT)
        assert isinstance(event, ChargeSucceeded)

    def test_a_void_is_tried_for_ever(self) -> None:
        event, changes = ended(an_attempt(WorkKind.VOID, tries=10_000), SILENCE, timedelta(days=9))
        assert (event, changes.attempts[0]["status"]) == (None, "UNKNOWN")

    def test_a_refund_is_flagged_when_its_tries_are_used_up(self) -> None:
        assert ended(an_attempt(WorkKind.REFUND, tries=REFUND_TRIES - 1), SILENCE)[0] is None
        event, _ = ended(an_attempt(WorkKind.REFUND, tries=REFUND_TRIES), SILENCE)
        assert event == RefundRefused(order_id=ORDER, reason="psp_unavailable")

    def test_delays_grow_up_to_a_limit(self) -> None:
        delays = []
        for tries in range(30):
            _, changes = ended(an_attempt(WorkKind.VOID, tries=tries), SILENCE)
            delays.append((changes.attempts[0]["next_try_at"] - START).total_seconds())
        assert delays == sorted(delays)
        assert delays[0] < 1
        assert delays[-1] == LONGEST_RETRY_S


class TestNewWork:
    CAUSE = StoredCause(event_id=UUID(int=4), correlation_id="c")

    def work_on(self, payment: Payment, kind: WorkKind) -> Changes:
        changes, at = Changes(), SimpleNamespace(now=START)
        decision = Decision(payment=payment, work=kind)
        _record(at, changes, payment, decision, self.CAUSE, CHARGE_ID)  # type: ignore[arg-type]
        return changes

    def test_what_is_left_is_refunded(self) -> None:
        changes = self.work_on(
            Payment(order_id=ORDER, amount=Decimal("10.00"), refunded=Decimal("4.00"), currency="EUR"), WorkKind.REFUND
        )
        (work,), (refund,) = changes.work, changes.refunds
        assert (work["amount"], work["charge_id"], work["token"]) == (Decimal("6.00"), CHARGE_ID, None)
        assert (refund["id"], refund["amount"]) == (work["id"], Decimal("6.00"))
        assert (work["cause_event_id"], work["correlation_id"]) == (UUID(int=4), "c")

    def test_the_whole_amount_is_charged_to_the_card_that_was_named(self) -> None:
        payment = Payment(order_id=ORDER, amount=Decimal("10.00"), currency="EUR", payment_method="tok_x")
        changes = self.work_on(payment, WorkKind.CHARGE)
        assert [(w["kind"], w["amount"], w["token"]) for w in changes.work] == [("CHARGE", Decimal("10.00"), "tok_x")]
        assert changes.refunds == []


class TestLease:
    def test_it_is_given_up_when_the_answer_to_a_commit_is_lost(self) -> None:
        """Given attempts that may be leased without this process knowing of them, then their lease lapses."""
        charging = Charging()
        charging.worker_id = before = UUID(int=9)
        with pytest.raises(DatabaseUnavailable), charging.lease_given_up_when_unsure():
            raise DatabaseUnavailable("server closed the connection")
        assert charging.worker_id != before

    def test_it_is_kept_otherwise(self) -> None:
        charging = Charging()
        charging.worker_id = before = UUID(int=9)
        with pytest.raises(TransientError), charging.lease_given_up_when_unsure():
            raise TransientError("deadlock")
        assert charging.worker_id == before
