"""A payment provider that behaves like one: durable, idempotent by key, as slow and unreliable as it is told to be.

Owns: what happens to each call. Must not know: orders, payments, our ledger, SQL (its book does that).

A library instead of a server: a charge costs a commit in its own database, not an HTTP hop. Calls made at the same
time share one commit (group commit), as they would in a real provider's database.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import eventlet
from eventlet.event import Event
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from payment_service import psp_book as book
from payment_service.provider import Approved, Booked, Charge, ChargeOutcome, Declined, Processing
from payment_service.psp_behaviour import Behaviour, behaviour_of
from payment_service.psp_cards import SCRIPTS, TOKENS, UNKNOWN, Script
from payment_service.psp_webhooks import schedule, webhook_rows
from shared.database import ENGINE_OPTIONS
from shared.envelope import new_id
from shared.errors import IdempotencyKeyReused, ProviderUnavailable

HANGS_FOR_S = 600.0
"""A caller that has no timeout of its own gets an end all the same."""
BEHAVIOUR_READ_AGAIN_S = 1.0
_TOKENS_REMEMBERED = 1000

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class _Call:
    """A charge on its way into the book: its row as it would be, and its webhooks' rows."""

    charge: Charge
    row: book.Row
    webhooks: Sequence[book.Row]
    done: Event


@dataclass(frozen=True, kw_only=True)
class _Booked:
    outcome: ChargeOutcome
    is_new: bool


class PspSimulator:
    """A PaymentProvider (see the protocol for the promises). ``chance`` gives numbers from 0 to below 1.

    ``disturbance``: settings of its behaviour that hold at this moment in place of those in its book; asked for with
    each call. What is set there comes to an end without anybody having to reach the book.
    """

    def __init__(
        self,
        database_url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        disturbance: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._engine: Engine = create_engine(database_url, **ENGINE_OPTIONS)
        self._clock, self._chance, self._disturbance = clock, chance, disturbance
        self._waiting: list[_Call] = []
        self._behaviour: Behaviour | None = None
        self._behaviour_read_at = 0.0
        self._scripts: dict[str, Script] = {}

    def close(self) -> None:
        self._engine.dispose()

    # The provider's operations

    def charge(self, charge: Charge) -> ChargeOutcome:
        behaviour = self._arrive()
        script = TOKENS.get(charge.token) or self._script_of_card(charge.token)
        if script.hangs:
            eventlet.sleep(HANGS_FOR_S)
            raise ProviderUnavailable("no answer")
        booked = self._book_with_others(charge, script, behaviour)
        if script.is_slow:
            eventlet.sleep(behaviour.slow_ms / 1000)
        if script.loses_answer and booked.is_new:
            raise ProviderUnavailable("the connection broke before the answer came")
        self._leave(behaviour)
        return booked.outcome

    def lookup(self, key: str) -> ChargeOutcome | None:
        behaviour = self._arrive()
        found = self._execute(lambda connection: book.find_charges(connection, [key], self._clock()))
        self._leave(behaviour)
        return found[key].outcome if key in found else None

    def void(self, key: str) -> None:
        behaviour = self._arrive()
        self._execute(lambda connection: book.void(connection, key, _reference(), self._clock()))
        self._leave(behaviour)

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        behaviour = self._arrive()
        now = self._clock()
        outcome = self._execute(lambda connection: _refund(connection, charge_key, refund_key, amount, now))
        self._leave(behaviour)
        return outcome

    # Its book, for whoever compares their own with it

    def booked(self, keys: Sequence[str]) -> dict[str, Booked]:
        behaviour = self._arrive()
        found = self._execute(lambda connection: book.booked(connection, keys)) if keys else {}
        self._leave(behaviour)
        return found

    def booked_after(self, after: str, until: str | None, limit: int) -> list[Booked]:
        behaviour = self._arrive()
        found = self._execute(lambda connection: book.booked_after(connection, after, until, limit))
        self._leave(behaviour)
        return found

    # How it behaves, for whoever operates it

    def behaviour(self) -> Behaviour:
        """As its book has it, which is how it behaves unless it is disturbed."""
        return behaviour_of(self._execute(book.stored_behaviour))

    def change_behaviour(self, changes: Mapping[str, float]) -> None:
        """``changes`` without :func:`faults`. Other processes hear of it within BEHAVIOUR_READ_AGAIN_S."""
        self._execute(lambda connection: book.set_behaviour(connection, changes))
        self._behaviour = None

    def reset_behaviour(self) -> None:
        self._execute(book.reset_behaviour)
        self._behaviour = None

    # How every call begins and ends

    def _arrive(self) -> Behaviour:
        behaviour = self._current_behaviour()
        if disturbed := self._disturbance():
            behaviour = replace(behaviour, **disturbed)
        if behaviour.latency_ms:
            eventlet.sleep(behaviour.latency_ms / 1000)
        if self._happens(behaviour.failure_rate):
            raise ProviderUnavailable("503 (failure_rate)")
        if self._happens(behaviour.hang_rate):
            eventlet.sleep(HANGS_FOR_S)
            raise ProviderUnavailable("no answer (hang_rate)")
        return behaviour

    def _leave(self, behaviour: Behaviour) -> None:
        if self._happens(behaviour.lost_answer_rate):
            raise ProviderUnavailable("the answer was lost (lost_answer_rate)")

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._chance() < rate

    def _current_behaviour(self) -> Behaviour:
        """As it was at most BEHAVIOUR_READ_AGAIN_S ago: a charge costs no query for it."""
        now = time.monotonic()
        if self._behaviour is None or now - self._behaviour_read_at >= BEHAVIOUR_READ_AGAIN_S:
            # Before the query: while one call reads, the others go on with what is known.
            self._behaviour_read_at = now
            self._behaviour = behaviour_of(self._execute(book.stored_behaviour))
        return self._behaviour

    def _script_of_card(self, token: str) -> Script:
        """What a token does that was issued for a card; tokens never change, so each is asked for once."""
        if token not in self._scripts:
            behaviour = self._execute(lambda connection: book.token_behaviour(connection, token))
            if behaviour is None:
                return UNKNOWN
            if len(self._scripts) >= _TOKENS_REMEMBERED:
                self._scripts.clear()
            self._scripts[token] = SCRIPTS.get(behaviour, UNKNOWN)
        return self._scripts[token]

    # The group commit

    def _book_with_others(self, charge: Charge, script: Script, behaviour: Behaviour) -> _Booked:
        call = self._planned(charge, script, behaviour)
        self._waiting.append(call)
        if len(self._waiting) == 1:
            eventlet.spawn_n(self._commit_together)
        booked: _Booked = call.done.wait()
        return booked

    def _planned(self, charge: Charge, script: Script, behaviour: Behaviour) -> _Call:
        now = self._clock()
        reason = script.reason or ("card_declined" if self._happens(behaviour.decline_rate) else None)
        if not script.is_async:
            row = charge_row(charge, "DECLINED" if reason else "APPROVED", reason)
            return _Call(charge=charge, row=row, webhooks=(), done=Event())
        times = schedule(behaviour, is_late=script.is_late, now=now)
        row = charge_row(charge, "PROCESSING", reason, times.settles_at)
        return _Call(charge=charge, row=row, webhooks=webhook_rows(row, times.told_at, behaviour, now), done=Event())

    def _commit_together(self) -> None:
        calls, self._waiting = self._waiting, []
        try:
            booked = self._execute(lambda connection: _book_all(connection, calls, self._clock()))
        except Exception as error:  # whatever it is, nobody may be left waiting
            for call in calls:
                call.done.send_exception(error)
            return
        for call, result in zip(calls, booked, strict=True):
            if isinstance(result, _Booked):
                call.done.send(result)
            else:
                call.done.send_exception(result)

    def _execute(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise ProviderUnavailable(f"{type(error).__name__}: {error}"[:300]) from error


def charge_row(charge: Charge, status: str, reason: str | None, settles_at: datetime | None = None) -> book.Row:
    """The charge as it goes into the book; neither token nor card go with it."""
    return {
        "key": charge.key,
        "reference": _reference(),
        "amount": charge.amount,
        "currency": charge.currency,
        "status": status,
        "reason": reason,
        "settles_at": settles_at,
    }


def _reference() -> str:
    return f"psp_{new_id()}"


def _book_all(connection: Connection, calls: list[_Call], now: datetime) -> list[_Booked | IdempotencyKeyReused]:
    """One result per call. The webhooks of what is new are recorded with it, or not at all."""
    firsts: dict[str, _Call] = {}
    for call in calls:
        firsts.setdefault(call.charge.key, call)
    new_keys = book.insert_charges(connection, [call.row for call in firsts.values()], now)
    new = {key: firsts[key] for key in new_keys}
    webhooks = [row for call in new.values() for row in call.webhooks]
    if webhooks:
        book.insert_webhooks(connection, webhooks, now)
    repeated = [call.charge.key for call in calls if new.get(call.charge.key) is not call]
    known = book.find_charges(connection, repeated, now) if repeated else {}
    return [
        _first(call) if new.get(call.charge.key) is call else _again(call.charge, known[call.charge.key])
        for call in calls
    ]


def _first(call: _Call) -> _Booked:
    reference, reason = call.row["reference"], call.row["reason"]
    if call.row["status"] == "PROCESSING":
        return _Booked(outcome=Processing(reference=reference), is_new=True)
    outcome = Declined(reason=reason) if reason else Approved(reference=reference)
    return _Booked(outcome=outcome, is_new=True)


def _again(charge: Charge, known: book.StoredCharge) -> _Booked | IdempotencyKeyReused:
    """What stands in the book, not what would be decided now. One that was voided before it came has no amount."""
    if known.currency and (known.amount, known.currency) != (charge.amount, charge.currency):
        return IdempotencyKeyReused("this key was used for another charge")
    return _Booked(outcome=known.outcome, is_new=False)


def _refund(connection: Connection, charge_key: str, refund_key: str, amount: Decimal, now: datetime) -> ChargeOutcome:
    """A refusal is written down too: the same key gets the same answer, whatever has happened to the charge since."""
    known = book.known_refund_for_update(connection, refund_key)
    if known is not None:
        return _refunded_before(known, charge_key, amount)
    left = book.refundable_for_update(connection, charge_key, now)
    reason = "nothing_to_refund" if left is None else "exceeds_charge" if amount > left else None
    if reason is None and amount <= 0:
        reason = "invalid_amount"
    if reason is not None:
        book.insert_refusal(connection, key=refund_key, charge_key=charge_key, amount=amount, reason=reason, now=now)
        return Declined(reason=reason)
    reference = _reference()
    book.insert_refund(connection, key=refund_key, charge_key=charge_key, amount=amount, reference=reference, now=now)
    return Approved(reference=reference)


def _refunded_before(known: book.KnownRefund, charge_key: str, amount: Decimal) -> ChargeOutcome:
    if (known.charge_key, known.amount) != (charge_key, amount):
        raise IdempotencyKeyReused("this key was used for another refund")
    if known.reference is None:
        return Declined(reason=known.reason or "refused")
    return Approved(reference=known.reference)
