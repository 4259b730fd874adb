"""The payment service at work: load, decide, save.

Owns: which rows a batch of events or of the provider's answers needs, and what is recorded of it. Never calls the
provider: it commits what is to be done, already leased, and hands that to the charger after the commit.
Must not know: queues, retries, acknowledgements; what is decided stands in domain.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from payment_service import queries
from payment_service.domain import (
    Announcement,
    ChargeDeclined,
    ChargeSucceeded,
    ChargeTimedOut,
    ChargeVoided,
    Decision,
    Happening,
    Payment,
    RefundRefused,
    RefundSucceeded,
    WorkKind,
    decide,
    payment_id,
)
from payment_service.provider import Approved, Declined, Processing
from payment_service.queries import Attempt
from payment_service.schemas import PUBLISHED
from payment_service.settings import Settings
from shared import outbox
from shared.database import Transaction
from shared.envelope import Cause, Outgoing, Received, new_id
from shared.publications import Publications

SERVICE = "payment_service"
TAKEN_OVER_AT_ONCE = 200
REFUND_TRIES = 20
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """The provider did not answer: what it did is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What the provider answered to an attempt."""

    attempt: Attempt
    answer: Approved | Declined | Processing | Voided | Unanswered


AttemptRow: TypeAlias = dict[str, Any]


@dataclass(kw_only=True)
class Changes:
    """What a batch changes, gathered while deciding and saved at the end in one statement per table."""

    payments: dict[UUID, Payment] = field(default_factory=dict)
    work: list[AttemptRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)
    ended_refunds: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)

    def save(self, tx: Transaction, worker_id: UUID) -> list[Attempt]:
        """Returns the new attempts, leased by ``worker_id``: to be called once this transaction has committed."""
        queries.update_payments(tx, self.payments.values())
        queries.update_attempts(tx, self.attempts)
        queries.insert_attempts(tx, self.work, worker_id)
        queries.insert_refunds(tx, self.refunds)
        queries.end_refunds(tx, self.ended_refunds)
        queries.insert_entries(tx, self.entries)
        outbox.record(tx, self.outgoing)
        ids = [row["id"] for row in self.work]
        return list(queries.leased_attempts_for_update(tx, ids, worker_id).values()) if ids else []


def apply_events(
    tx: Transaction, events: Sequence[Received[Happening]], settings: Settings, worker_id: UUID
) -> list[Attempt]:
    """Decide each event on its order's payment; returns what is now to be done at the provider."""
    ids = [event.body.order_id for event in events]
    queries.ensure_payments(tx, ids)
    payments = queries.payments_for_update(tx, ids)
    charges = queries.charge_ids(tx, ids)
    changes = Changes()
    for event in events:
        before = payments[event.body.order_id]
        decision = decide(before, event.body, now=tx.now, rules=settings.rules)
        payments[before.order_id] = decision.payment
        _record(tx, changes, before, decision, event.envelope, charges.get(before.order_id))
    return changes.save(tx, worker_id)


def record_results(tx: Transaction, results: Sequence[Result], settings: Settings, worker_id: UUID) -> list[Attempt]:
    """Save what the provider answered, each exactly once; returns what is now to be done (voids).

    Results of attempts that another worker has taken over are dropped: it asks the provider itself.
    """
    payments = queries.payments_for_update(tx, (r.attempt.order_id for r in results))
    leased = queries.leased_attempts_for_update(tx, (r.attempt.id for r in results), worker_id)
    changes = Changes()
    for result in results:
        attempt = leased.pop(result.attempt.id, None)
        # A process that was frozen may have taken over its own attempt: only the latest call's answer counts.
        if attempt is None or attempt.tries != result.attempt.tries:
            continue
        event = _end_attempt(tx, changes, attempt, result.answer, settings)
        if event is None:
            continue
        before = payments[attempt.order_id]
        decision = decide(before, event, now=tx.now, rules=settings.rules)
        payments[before.order_id] = decision.payment
        _record(tx, changes, before, decision, attempt.cause, attempt.charge_id or attempt.id, attempt.id)
    return changes.save(tx, worker_id)


def _end_attempt(
    tx: Transaction,
    changes: Changes,
    attempt: Attempt,
    answer: Approved | Declined | Processing | Voided | Unanswered,
    settings: Settings,
) -> Happening | None:
    """The attempt's new state, and what its outcome means for the payment (None: not known yet)."""
    order_id = attempt.order_id
    match attempt.kind, answer:
        case WorkKind.CHARGE, Approved(reference=reference):
            return _end(changes, attempt, "SUCCEEDED", ChargeSucceeded(order_id=order_id, psp_reference=reference))
        case WorkKind.CHARGE, Declined(reason=reason):
            return _end(changes, attempt, "FAILED", ChargeDeclined(order_id=order_id, reason=reason), reason)
        case WorkKind.CHARGE, Unanswered() if tx.now - attempt.started_at >= settings.rules.psp_limit:
            return _end(changes, attempt, "TIMED_OUT", ChargeTimedOut(order_id=order_id), "psp_timeout")
        case WorkKind.VOID, Voided():
            return _end(changes, attempt, "SUCCEEDED", ChargeVoided(order_id=order_id))
        case WorkKind.REFUND, Approved():
            changes.ended_refunds.append({"id": attempt.id, "status": "SUCCEEDED"})
            return _end(changes, attempt, "SUCCEEDED", RefundSucceeded(order_id=order_id, amount=attempt.amount))
        case WorkKind.REFUND, Declined(reason=reason):
            return _refuse_refund(changes, attempt, reason)
    delay_s = min(FIRST_RETRY_S * 2.0 ** min(attempt.tries, 16), LONGEST_RETRY_S)
    changes.attempts.append(
        _attempt_end(attempt, "UNKNOWN", "no answer", next_try_at=tx.now + timedelta(seconds=delay_s))
    )
    if attempt.kind is WorkKind.REFUND and attempt.tries == REFUND_TRIES:
        # Told once; it is tried on all the same, since nobody knows whether the provider paid.
        return RefundRefused(order_id=order_id, reason="psp_unavailable")
    return None


def _refuse_refund(changes: Changes, attempt: Attempt, reason: str) -> Happening:
    changes.ended_refunds.append({"id": attempt.id, "status": "FAILED"})
    return _end(changes, attempt, "FAILED", RefundRefused(order_id=attempt.order_id, reason=reason), reason)


def _end(changes: Changes, attempt: Attempt, status: str, event: Happening, reason: str | None = None) -> Happening:
    changes.attempts.append(_attempt_end(attempt, status, reason))
    return event


def _attempt_end(attempt: Attempt, status: str, reason: str | None, next_try_at: Any = None) -> AttemptRow:
    return {"id": attempt.id, "status": status, "reason": reason, "next_try_at": next_try_at}


def _record(
    tx: Transaction,
    changes: Changes,
    before: Payment,
    decision: Decision,
    cause: Cause,
    charge_id: UUID | None,
    attempt_id: UUID | None = None,
) -> None:
    after = decision.payment
    if after != before:
        changes.payments[after.order_id] = after
    if decision.work is not None:
        _add_work(changes, after, decision.work, cause, charge_id)
    if decision.entries:
        transaction_id = new_id()
        changes.entries += [
            {
                "transaction_id": transaction_id,
                "order_id": after.order_id,
                "account": entry.account,
                "amount": entry.amount,
                "currency": after.currency,
            }
            for entry in decision.entries
        ]
    if decision.announcement is not None:
        _announce(tx, changes, after, decision.announcement, cause, attempt_id)


def _add_work(changes: Changes, payment: Payment, kind: WorkKind, cause: Cause, charge_id: UUID | None) -> None:
    work_id = new_id()
    amount = payment.amount - payment.refunded
    changes.work.append(
        {
            "id": work_id,
            "order_id": payment.order_id,
            "kind": kind,
            "charge_id": charge_id,
            "amount": amount,
            "currency": payment.currency,
            "token": payment.payment_method if kind is WorkKind.CHARGE else None,
            "cause_event_id": cause.event_id,
            "correlation_id": cause.correlation_id,
        }
    )
    if kind is WorkKind.REFUND:
        changes.refunds.append(
            {
                "id": work_id,
                "order_id": payment.order_id,
                "amount": amount,
                "currency": payment.currency,
                "reason": "order_cancelled",
            }
        )


def _announce(
    tx: Transaction,
    changes: Changes,
    payment: Payment,
    announcement: Announcement,
    cause: Cause,
    attempt_id: UUID | None,
) -> None:
    fields = {
        "order_id": payment.order_id,
        "payment_id": payment_id(payment.order_id),
        "price": payment.amount,
        "currency": payment.currency,
        **announcement.fields,
    }
    if announcement.event_type.startswith("PAYMENT_REFUND"):
        fields = {"reason": "order_cancelled", **fields, "refund_id": attempt_id}
    changes.outgoing.append(
        _PUBLICATIONS.make(announcement.event_type, payment.order_id, fields, now=tx.now, cause=cause)
    )


def take_over(tx: Transaction, worker_id: UUID, settings: Settings) -> list[Attempt]:
    """Attempts that are due again, or whose worker died; safe on every replica."""
    return queries.take_over_attempts(tx, worker_id, settings.rules.psp_limit, TAKEN_OVER_AT_ONCE)
