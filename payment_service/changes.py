"""What decisions change, gathered while a batch is decided and saved at the end in one statement per table.

Owns: from a decision to rows and events. Must not know: what is decided, nor why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from payment_service import figures, queries
from payment_service.domain import Announcement, Decision, Entry, Payment, RefusedRefund, Work, WorkKind, payment_id
from payment_service.queries import Attempt
from payment_service.schemas import PUBLISHED
from shared import outbox
from shared.database import Transaction
from shared.envelope import Cause, Outgoing, new_id
from shared.publications import Publications

SERVICE = "payment_service"
_PUBLICATIONS = Publications(SERVICE, PUBLISHED)

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a decision goes back to. ``cause`` is None for a request; ``charge_id`` is the charge that is undone."""

    cause: Cause | None
    correlation_id: str | None
    charge_id: UUID | None = None


@dataclass(kw_only=True)
class Changes:
    """Rows to write, by table, and events to publish."""

    payments: dict[UUID, Payment] = field(default_factory=dict)
    work: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    refunds: list[Row] = field(default_factory=list)
    ended_refunds: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)

    def record(self, tx: Transaction, before: Payment, decision: Decision, origin: Origin) -> None:
        """Take in all that ``decision`` made of ``before``."""
        after = decision.payment
        if after != before:
            self.payments[after.order_id] = after
        if decision.work is not None:
            self._add_work(after, decision.work, origin)
        if decision.refused_refund is not None:
            self.refunds.append(_refused_row(after, decision.refused_refund))
        if decision.entries:
            transaction_id = new_id()
            self.entries += [_entry_row(after, entry, transaction_id) for entry in decision.entries]
        if decision.announcement is not None:
            self.announce(tx, after, decision.announcement, origin)

    def _add_work(self, payment: Payment, work: Work, origin: Origin) -> None:
        work_id = work.id or new_id()
        self.work.append(
            {
                "id": work_id,
                "order_id": payment.order_id,
                "kind": work.kind,
                "charge_id": None if work.kind is WorkKind.CHARGE else origin.charge_id,
                "amount": work.amount,
                "currency": payment.currency,
                "token": payment.payment_method if work.kind is WorkKind.CHARGE else None,
                "purpose": work.purpose,
                "cause_event_id": origin.cause.event_id if origin.cause else None,
                "correlation_id": origin.correlation_id,
            }
        )
        if work.kind is WorkKind.REFUND:
            self.refunds.append(_refund_row(payment, work, work_id))

    def announce(self, tx: Transaction, payment: Payment, announcement: Announcement, origin: Origin) -> None:
        fields = {
            "order_id": payment.order_id,
            "payment_id": payment_id(payment.order_id),
            "price": payment.amount,
            "currency": payment.currency,
            **announcement.fields,
        }
        self.outgoing.append(
            _PUBLICATIONS.make(
                announcement.event_type,
                payment.order_id,
                fields,
                now=tx.now,
                cause=origin.cause,
                correlation_id=origin.correlation_id,
            )
        )

    def save(self, tx: Transaction, worker_id: UUID) -> list[Attempt]:
        """Returns the new attempts, leased by ``worker_id``: to be called once this transaction has committed."""
        queries.update_payments(tx, self.payments.values())
        # What ended first, then what begins: one charge of a payment may be open at a time.
        queries.update_attempts(tx, self.attempts)
        queries.insert_attempts(tx, self.work, worker_id)
        queries.insert_refunds(tx, self.refunds)
        queries.end_refunds(tx, self.ended_refunds)
        queries.insert_entries(tx, self.entries)
        outbox.record(tx, self.outgoing)
        tx.after_commit(partial(figures.count_ended, [(row["kind"], row["status"]) for row in self.attempts]))
        ids = [row["id"] for row in self.work]
        return list(queries.calling_attempts_for_update(tx, ids).values()) if ids else []


def _refund_row(payment: Payment, work: Work, work_id: UUID) -> Row:
    return {
        "id": work_id,
        "order_id": payment.order_id,
        "amount": work.amount,
        "currency": payment.currency,
        "reason": work.purpose,
        "status": "PENDING",
        "failure": None,
    }


def _refused_row(payment: Payment, refund: RefusedRefund) -> Row:
    return {
        "id": refund.id,
        "order_id": payment.order_id,
        "amount": refund.amount,
        "currency": refund.currency,
        "reason": refund.reason,
        "status": "FAILED",
        "failure": refund.failure,
    }


def _entry_row(payment: Payment, entry: Entry, transaction_id: UUID) -> Row:
    return {
        "transaction_id": transaction_id,
        "order_id": payment.order_id,
        "account": entry.account,
        "amount": entry.amount,
        "currency": payment.currency,
    }
