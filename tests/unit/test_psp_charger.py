"""How the charger asks the provider, and what it makes of silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import eventlet
import pytest

from payment_service.charger import Charger
from payment_service.circuit import FAILURES_IN_A_ROW
from payment_service.domain import WorkKind
from payment_service.handlers import Result, Unanswered, Voided
from payment_service.provider import VOIDED, Approved, Charge, ChargeOutcome, Declined, Processing
from payment_service.queries import Attempt
from shared.envelope import StoredCause
from shared.errors import BrokenRule, ProviderUnavailable

ORDER, CHARGE_ID, ATTEMPT_ID = UUID(int=1), UUID(int=2), UUID(int=3)
APPROVED, DECLINED = Approved(reference="psp_1"), Declined(reason="card_declined")
PROCESSING = Processing(reference="psp_1")


def an_attempt(kind: WorkKind, tries: int = 0, *, card: str = "tok_success", number: int = 3) -> Attempt:
    return Attempt(
        id=UUID(int=number),
        order_id=ORDER,
        kind=kind,
        charge_id=None if kind is WorkKind.CHARGE else CHARGE_ID,
        amount=Decimal("10.00"),
        currency="EUR",
        token=card,
        tries=tries,
        started_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        cause=StoredCause(event_id=UUID(int=4), correlation_id="c"),
    )


class Provider:
    """Writes down what it is asked. ``troubles`` may do anything before a charge is answered, by its token."""

    def __init__(
        self, known: ChargeOutcome | None = None, troubles: dict[str | None, Callable[[], None]] | None = None
    ) -> None:
        self.known, self.troubles = known, troubles or {}
        self.asked: list[tuple[Any, ...]] = []

    def charge(self, charge: Charge) -> ChargeOutcome:
        self.asked.append(("charge", charge.key, charge.amount, charge.token))
        self.troubles.get(charge.token, lambda: None)()
        return APPROVED

    def lookup(self, key: str) -> ChargeOutcome | None:
        self.asked.append(("lookup", key))
        return self.known

    def void(self, key: str) -> None:
        self.asked.append(("void", key))

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        self.asked.append(("refund", charge_key, refund_key, amount))
        return APPROVED


def hang() -> None:
    eventlet.sleep(60)


def fail() -> None:
    raise ProviderUnavailable("503")


class TestAsking:
    def ask(self, attempt: Attempt, provider: Provider) -> Any:
        return Charger(provider, lambda _results: [])._answer_to(attempt)

    def test_the_first_try_charges_with_the_attempts_own_key(self) -> None:
        provider = Provider()
        assert self.ask(an_attempt(WorkKind.CHARGE), provider) == APPROVED
        assert provider.asked == [("charge", str(ATTEMPT_ID), Decimal("10.00"), "tok_success")]

    def test_a_later_try_asks_before_it_charges(self) -> None:
        provider = Provider(known=DECLINED)
        assert self.ask(an_attempt(WorkKind.CHARGE, tries=1), provider) == DECLINED
        assert provider.asked == [("lookup", str(ATTEMPT_ID))]

    def test_what_is_still_processed_is_told_as_such(self) -> None:
        provider = Provider(known=PROCESSING)
        assert self.ask(an_attempt(WorkKind.CHARGE, tries=1), provider) == PROCESSING
        assert provider.asked == [("lookup", str(ATTEMPT_ID))]

    def test_what_the_provider_never_saw_is_charged_with_the_same_key(self) -> None:
        provider = Provider()
        self.ask(an_attempt(WorkKind.CHARGE, tries=1), provider)
        assert [call[:2] for call in provider.asked] == [("lookup", str(ATTEMPT_ID)), ("charge", str(ATTEMPT_ID))]

    def test_a_charge_taken_over_too_late_is_blocked_instead(self) -> None:
        """Given a charge whose worker died, taken over past the limit, then its key is voided and never charged."""
        provider = Provider()
        too_late = replace(an_attempt(WorkKind.CHARGE, tries=1), may_charge=False)
        assert self.ask(too_late, provider) == Declined(reason="psp_timeout")
        assert [call[:2] for call in provider.asked] == [("lookup", str(ATTEMPT_ID)), ("void", str(ATTEMPT_ID))]

    def test_a_charge_that_was_voided_then_is_the_same_when_it_is_taken_over_again(self) -> None:
        """Given a worker that died between the void and saving it, then the next one says the same."""
        too_late = replace(an_attempt(WorkKind.CHARGE, tries=2), may_charge=False)
        assert self.ask(too_late, Provider(known=VOIDED)) == Declined(reason="psp_timeout")

    def test_a_process_that_was_frozen_with_a_charge_in_hand_does_not_begin_it(self) -> None:
        provider = Provider()
        frozen = replace(an_attempt(WorkKind.CHARGE), read_at_s=time.monotonic() - 31)
        with pytest.raises(ProviderUnavailable):
            self.ask(frozen, provider)
        assert provider.asked == []

    def test_what_is_known_counts_even_then(self) -> None:
        provider = Provider(known=APPROVED)
        too_late = replace(an_attempt(WorkKind.CHARGE, tries=1), may_charge=False)
        assert self.ask(too_late, provider) == APPROVED

    def test_undoing_names_the_charge(self) -> None:
        provider = Provider()
        assert self.ask(an_attempt(WorkKind.VOID), provider) == Voided()
        self.ask(an_attempt(WorkKind.REFUND), provider)
        assert provider.asked == [
            ("void", str(CHARGE_ID)),
            ("refund", str(CHARGE_ID), str(ATTEMPT_ID), Decimal("10.00")),
        ]


class Running:
    """A charger at work, with what it handed over."""

    def __init__(self, provider: Provider, call_timeout_s: float = 0.1) -> None:
        self.results: list[Result] = []
        self.charger = Charger(provider, self._save, call_timeout_s=call_timeout_s)
        eventlet.spawn_n(self.charger.run)

    def _save(self, results: Sequence[Result]) -> list[Attempt]:
        self.results.extend(results)
        return []

    def carry(self, *attempts: Attempt) -> dict[UUID, Any]:
        """Attempt → answer, once each has one."""
        wanted = len(self.results) + len(attempts)
        self.charger.submit(attempts)
        with eventlet.Timeout(5):
            while len(self.results) < wanted:
                eventlet.sleep(0.005)
        return {result.attempt.id: result.answer for result in self.results}


class TestSilence:
    def test_a_call_that_takes_too_long_is_unanswered(self) -> None:
        running = Running(Provider(troubles={"tok_timeout": hang}))
        answers = running.carry(an_attempt(WorkKind.CHARGE, card="tok_timeout"))
        assert answers == {ATTEMPT_ID: Unanswered()}

    def test_a_hanging_call_keeps_nobody_waiting(self) -> None:
        """Given calls that hang, then a later one is answered long before they are given up."""
        running = Running(Provider(troubles={"tok_timeout": hang}), call_timeout_s=30)
        hanging = [an_attempt(WorkKind.CHARGE, card="tok_timeout", number=n) for n in range(10, 14)]
        running.charger.submit(hanging)
        answers = running.carry(an_attempt(WorkKind.CHARGE))
        assert answers == {ATTEMPT_ID: APPROVED}
        assert running.charger.open_calls == len(hanging)

    def test_an_error_nobody_thought_of_is_unanswered_and_no_failure_of_the_provider(self) -> None:
        def surprise() -> None:
            raise KeyError("surprise")

        running = Running(Provider(troubles={"tok_x": surprise}))
        for number in range(10, 10 + 2 * FAILURES_IN_A_ROW):
            answers = running.carry(an_attempt(WorkKind.CHARGE, card="tok_x", number=number))
            assert answers[UUID(int=number)] == Unanswered()
        assert running.charger.circuit == "closed"

    def test_a_result_that_cannot_be_saved_harms_no_other(self) -> None:
        """Given one answer among many that breaks a rule of the database, then the others are saved without it."""
        bad, saved = UUID(int=15), set[UUID]()

        def save(results: Sequence[Result]) -> list[Attempt]:
            if any(result.attempt.id == bad for result in results):
                raise BrokenRule("no such text")
            saved.update(result.attempt.id for result in results)
            return []

        charger = Charger(Provider(), save)
        attempts = [an_attempt(WorkKind.CHARGE, number=number) for number in range(10, 20)]
        charger.submit(attempts)
        eventlet.spawn_n(charger.run)
        with eventlet.Timeout(5):
            while len(saved) < len(attempts) - 1:
                eventlet.sleep(0.005)
        assert saved == {attempt.id for attempt in attempts} - {bad}

    def test_the_open_circuit_calls_nobody(self) -> None:
        """Given a provider that fails again and again, then charges, voids and refunds are unanswered uncalled."""
        provider = Provider(troubles={"tok_x": fail})
        running = Running(provider)
        assert running.charger.circuit == "closed"
        for number in range(10, 10 + FAILURES_IN_A_ROW):
            running.carry(an_attempt(WorkKind.CHARGE, card="tok_x", number=number))
        assert running.charger.circuit == "open"

        provider.asked.clear()
        later = [an_attempt(kind, number=number) for number, kind in enumerate(WorkKind, 100)]
        answers = running.carry(*later)
        assert {answers[attempt.id] for attempt in later} == {Unanswered()}
        assert provider.asked == []
        assert running.charger.open_calls == 0

    def test_declines_are_good_answers(self) -> None:
        class Strict(Provider):
            def charge(self, charge: Charge) -> ChargeOutcome:
                return DECLINED

        running = Running(Strict())
        for number in range(10, 10 + 2 * FAILURES_IN_A_ROW):
            answers = running.carry(an_attempt(WorkKind.CHARGE, number=number))
            assert answers[UUID(int=number)] == DECLINED
        assert running.charger.circuit == "closed"
