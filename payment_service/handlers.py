"""The payment service at work: load, decide, save.

Owns: which rows a batch of events or of the provider's answers needs, and what an answer means. Never calls the
provider: it commits what is to be done, already leased, and hands that to the charger after the commit.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from payment_service import queries
from payment_service.changes import SERVICE, Changes, Origin, Row
from payment_service.domain import (
    PSP_TIMEOUT,
    STRAY,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    Happening,
    OrderCancelled,
    OrderReturned,
    Payment,
    RefundRefused,
    RefundSucceeded,
    RefundUnanswered,
    UndoingUnanswered,
    WorkKind,
    decide,
)
from payment_service.provider import Approved, Declined, Processing
from payment_service.queries import Attempt
from payment_service.settings import Settings
from shared.database import Transaction
from shared.envelope import Received

__all__ = [
    "SERVICE",
    "Answer",
    "Changes",
    "Result",
    "Unanswered",
    "Voided",
    "apply_events",
    "decide_outcome",
    "end_attempt",
    "record_results",
    "take_over",
]

TAKEN_OVER_AT_ONCE = 200
TRIES_BEFORE_TELLING = 20
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0
AWAITED_POLL_S = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """The provider did not answer: what it did is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    pass


Answer: TypeAlias = Approved | Declined | Processing | Voided | Unanswered


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What the provider answered to an attempt."""

    attempt: Attempt
    answer: Answer


def apply_events(
    tx: Transaction, events: Sequence[Received[Happening]], settings: Settings, worker_id: UUID
) -> list[Attempt]:
    """Decide each event on its order's payment; returns what is now to be done at the provider."""
    ids = [event.body.order_id for event in events]
    queries.ensure_payments(tx, ids)
    payments = _load(tx, [event.body for event in events])
    charges = _charges_to_refund(tx, [event.body for event in events])
    changes = Changes()
    for event in events:
        before = payments[event.body.order_id]
        decision = decide(before, event.body, now=tx.now, rules=settings.rules)
        payments[before.order_id] = decision.payment
        origin = Origin(
            cause=event.envelope,
            correlation_id=event.envelope.correlation_id,
            charge_id=charges.get(before.order_id),
        )
        changes.record(tx, before, decision, origin)
    return changes.save(tx, worker_id)


def _load(tx: Transaction, events: Sequence[Happening]) -> dict[UUID, Payment]:
    """The payments, locked; each knows those of its returns that were refunded, or refused, before."""
    payments = queries.payments_for_update(tx, [event.order_id for event in events])
    known = queries.known_refunds(tx, [event.return_id for event in events if isinstance(event, OrderReturned)])
    return {id_: replace(payment, known_refunds=known) for id_, payment in payments.items()} if known else payments


def _charges_to_refund(tx: Transaction, events: Sequence[Happening]) -> dict[UUID, UUID]:
    ids = [event.order_id for event in events if isinstance(event, OrderCancelled | OrderReturned)]
    return queries.succeeded_charges(tx, ids) if ids else {}


def record_results(tx: Transaction, results: Sequence[Result], settings: Settings, worker_id: UUID) -> list[Attempt]:
    """Save what the provider answered, each exactly once; returns what is now to be done (voids).

    Results of attempts that another worker has taken over are dropped: it asks the provider itself.
    """
    payments = queries.payments_for_update(tx, (r.attempt.order_id for r in results))
    leased = queries.calling_attempts_for_update(tx, (r.attempt.id for r in results))
    changes = Changes()
    for result in results:
        attempt = leased.get(result.attempt.id)
        # Taken over by somebody else, or by this process after it was frozen: only the latest call's answer counts.
        if attempt is None or (attempt.leased_by, attempt.tries) != (result.attempt.leased_by, result.attempt.tries):
            continue
        del leased[attempt.id]
        event = end_attempt(changes, attempt, result.answer, now=tx.now, settings=settings)
        if event is not None:
            payment = payments[attempt.order_id]
            payments[attempt.order_id] = decide_outcome(tx, changes, payment, attempt, event, settings)
    return changes.save(tx, worker_id)


def decide_outcome(
    tx: Transaction, changes: Changes, before: Payment, attempt: Attempt, event: Happening, settings: Settings
) -> Payment:
    """What the outcome of ``attempt`` makes of its payment, taken into ``changes``."""
    decision = decide(before, event, now=tx.now, rules=settings.rules)
    origin = Origin(
        cause=attempt.cause, correlation_id=attempt.correlation_id, charge_id=attempt.charge_id or attempt.id
    )
    changes.record(tx, before, decision, origin)
    return decision.payment


def end_attempt(
    changes: Changes, attempt: Attempt, answer: Answer, *, now: datetime, settings: Settings
) -> Happening | None:
    """The attempt's new state, and what its outcome means for the payment (None: nothing, or not known yet)."""
    match attempt.kind:
        case WorkKind.CHARGE:
            return _end_charge(changes, attempt, answer, now, attempt.started_at + settings.rules.psp_limit)
        case WorkKind.VOID:
            return _end_void(changes, attempt, answer, now)
        case WorkKind.REFUND:
            return _end_refund(changes, attempt, answer, now)


def _end_charge(changes: Changes, attempt: Attempt, answer: Answer, now: datetime, limit: datetime) -> Happening | None:
    """Silence and slowness end at the limit, and an attempt is looked at once more just then."""
    order_id = attempt.order_id
    match answer:
        case Declined(reason=reason) if reason == PSP_TIMEOUT:
            # Blocked by a void, because nobody wanted it any more: the same end as silence at the limit.
            limit = now
        case Approved(reference=reference):
            changes.attempts.append(_attempt_row(attempt, "SUCCEEDED"))
            return ChargeSucceeded(order_id=order_id, psp_reference=reference)
        case Declined(reason=reason):
            changes.attempts.append(_attempt_row(attempt, "FAILED", reason))
            return ChargeDeclined(order_id=order_id, reason=reason)
    if now >= limit:
        changes.attempts.append(_attempt_row(attempt, "TIMED_OUT", PSP_TIMEOUT))
        return ChargeTimedOut(order_id=order_id)
    if isinstance(answer, Processing):
        next_look = min(now + timedelta(seconds=AWAITED_POLL_S), limit)
        changes.attempts.append(_attempt_row(attempt, "AWAITING", next_try_at=next_look))
    else:
        changes.attempts.append(_unknown_row(attempt, min(_next_try(attempt, now), limit)))
    return None


def _end_void(changes: Changes, attempt: Attempt, answer: Answer, now: datetime) -> Happening | None:
    """Tried for ever; a stray charge that was undone is not the one the payment waits for."""
    if not isinstance(answer, Voided):
        changes.attempts.append(_unknown_row(attempt, _next_try(attempt, now)))
        return UndoingUnanswered(order_id=attempt.order_id, attempt_id=attempt.id) if _tried_long(attempt) else None
    changes.attempts.append(_attempt_row(attempt, "SUCCEEDED"))
    return None if attempt.purpose == STRAY else ChargeVoided(order_id=attempt.order_id)


def _end_refund(changes: Changes, attempt: Attempt, answer: Answer, now: datetime) -> Happening | None:
    order_id = attempt.order_id
    match answer:
        case Approved():
            changes.attempts.append(_attempt_row(attempt, "SUCCEEDED"))
            changes.ended_refunds.append({"id": attempt.id, "status": "SUCCEEDED", "failure": None})
            purpose = attempt.purpose or ""
            return RefundSucceeded(order_id=order_id, refund_id=attempt.id, amount=attempt.amount, reason=purpose)
        case Declined(reason=reason):
            changes.attempts.append(_attempt_row(attempt, "FAILED", reason))
            changes.ended_refunds.append({"id": attempt.id, "status": "FAILED", "failure": reason})
            return RefundRefused(order_id=order_id, refund_id=attempt.id, amount=attempt.amount, reason=reason)
    changes.attempts.append(_unknown_row(attempt, _next_try(attempt, now)))
    # It is tried on all the same, since nobody knows whether the provider paid.
    return RefundUnanswered(order_id=order_id, refund_id=attempt.id) if _tried_long(attempt) else None


def _tried_long(attempt: Attempt) -> bool:
    """Said every so many tries: one telling may be lost with the process that would have saved it."""
    return attempt.tries > 0 and attempt.tries % TRIES_BEFORE_TELLING == 0


def _next_try(attempt: Attempt, now: datetime) -> datetime:
    """Later each time, and each attempt somewhat differently.

    Those that went unanswered together must not all come back together: under load they would again go unanswered.
    """
    delay_s = min(FIRST_RETRY_S * 2.0 ** min(attempt.tries, 16), LONGEST_RETRY_S)
    return now + timedelta(seconds=delay_s * (0.5 + attempt.id.int % 1000 / 2000))


def _unknown_row(attempt: Attempt, next_try_at: datetime) -> Row:
    return _attempt_row(attempt, "UNKNOWN", "no answer", next_try_at)


def _attempt_row(attempt: Attempt, status: str, reason: str | None = None, next_try_at: datetime | None = None) -> Row:
    return {"id": attempt.id, "kind": attempt.kind, "status": status, "reason": reason, "next_try_at": next_try_at}


def take_over(tx: Transaction, worker_id: UUID, settings: Settings) -> list[Attempt]:
    """Attempts that are due again, or whose worker died; safe on every replica."""
    return queries.take_over_attempts(tx, worker_id, settings.rules.psp_limit, TAKEN_OVER_AT_ONCE)
