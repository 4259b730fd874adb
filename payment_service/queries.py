"""Every statement of the payment service: set-based, one per table and batch, each text constant.

Owns: SQL and how rows become values. Functions that lock end in _for_update. Locks are always taken in this order:
payments sorted by order, then attempts.
Must not know: why something is saved.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, text

from payment_service.domain import Payment, PaymentMode, PaymentStatus, WorkKind, payment_id
from shared.database import Transaction
from shared.envelope import StoredCause

LEASE_S = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One operation at the provider. ``tries`` counts earlier calls: after the first the provider is asked first.

    ``may_charge`` is False for a charge taken over too late, or for a payment that nobody wants any more.
    ``cause`` is None for what a request asked for; ``purpose`` is what a refund or a void is for. ``read_at_s`` is the
    monotonic moment when it was read: a process that froze with it in hand must notice.
    """

    id: UUID
    order_id: UUID
    kind: WorkKind
    charge_id: UUID | None
    amount: Decimal
    currency: str
    token: str | None
    tries: int
    started_at: datetime
    cause: StoredCause | None
    leased_by: UUID | None = None
    correlation_id: str | None = None
    purpose: str | None = None
    may_charge: bool = True
    read_at_s: float = field(default_factory=time.monotonic, compare=False)


# Payments

_COLUMNS = """order_id, status, mode, amount, currency, payment_method, user_id, seller_id, expires_at, attempts,
              charging, stock_gone, cancelled, psp_reference, refunded, refunding"""
# Insert first, then lock: without a row to lock, ORDER_CANCELLED and INVENTORY_RESERVED on two connections would
# both see nothing, and a cancelled order would be charged.
_ENSURE = text("""
insert into payments (order_id, id, status, amount, currency, charging, cancelled, refunded, created_at, updated_at)
select order_id, id, 'NONE', 0, '', false, false, 0, :now, :now
from json_to_recordset(cast(:rows as json)) as r(order_id uuid, id uuid)
order by order_id on conflict do nothing
""")
_PAYMENTS_FOR_UPDATE = text(f"""
select {_COLUMNS} from payments where order_id = any(cast(:ids as uuid[])) order by order_id for update
""")  # noqa: S608
_UPDATE_PAYMENTS = text("""
update payments p
set status = r.status, mode = r.mode, amount = r.amount, currency = r.currency, payment_method = r.payment_method,
    user_id = r.user_id, seller_id = r.seller_id, expires_at = r.expires_at, attempts = r.attempts,
    charging = r.charging, stock_gone = r.stock_gone, cancelled = r.cancelled, psp_reference = r.psp_reference,
    refunded = r.refunded, refunding = r.refunding, updated_at = :now
from json_to_recordset(cast(:rows as json)) as r(
    order_id uuid, status text, mode text, amount numeric, currency text, payment_method text, user_id text,
    seller_id text, expires_at timestamptz, attempts integer, charging boolean, stock_gone boolean, cancelled boolean,
    psp_reference text, refunded numeric, refunding numeric)
where p.order_id = r.order_id
""")
_OWNERSHIP = "select order_id, user_id, seller_id from payments"
_OWNERSHIP_OF_PAYMENT = text(f"{_OWNERSHIP} where id = :payment_id and status <> 'NONE'")
_OWNERSHIP_OF_ORDER = text(f"{_OWNERSHIP} where order_id = :order_id and status <> 'NONE'")


def ensure_payments(tx: Transaction, ids: Iterable[UUID]) -> None:
    rows = [{"order_id": id_, "id": payment_id(id_)} for id_ in sorted(set(ids))]
    tx.save(_ENSURE, rows, now=tx.now)


def payments_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Payment]:
    rows = tx.fetch(_PAYMENTS_FOR_UPDATE, ids=_texts(ids))
    return {row.order_id: _payment(row) for row in rows}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ownership:
    """The order of a payment, who pays and who sold. Never changes once it is known, so nothing is locked."""

    order_id: UUID
    user_id: str | None
    seller_id: str | None


def ownership_of_payment(tx: Transaction, payment_id: UUID) -> Ownership | None:
    return _ownership(tx.fetch(_OWNERSHIP_OF_PAYMENT, payment_id=payment_id))


def ownership_of_order(tx: Transaction, order_id: UUID) -> Ownership | None:
    """Of the one payment that the order has, if it has one."""
    return _ownership(tx.fetch(_OWNERSHIP_OF_ORDER, order_id=order_id))


def _ownership(rows: Sequence[Row[Any]]) -> Ownership | None:
    return Ownership(**rows[0]._mapping) if rows else None


def _payment(row: Row[Any]) -> Payment:
    values = dict(row._mapping)
    return Payment(**values | {"status": PaymentStatus(row.status), "mode": PaymentMode(row.mode)})


def update_payments(tx: Transaction, payments: Iterable[Payment]) -> None:
    tx.save(_UPDATE_PAYMENTS, [_payment_row(payment) for payment in payments], now=tx.now)


def _payment_row(payment: Payment) -> dict[str, Any]:
    return {
        "order_id": payment.order_id,
        "status": payment.status,
        "mode": payment.mode,
        "amount": payment.amount,
        "currency": payment.currency,
        "payment_method": payment.payment_method,
        "user_id": payment.user_id,
        "seller_id": payment.seller_id,
        "expires_at": payment.expires_at,
        "attempts": payment.attempts,
        "charging": payment.charging,
        "stock_gone": payment.stock_gone,
        "cancelled": payment.cancelled,
        "psp_reference": payment.psp_reference,
        "refunded": payment.refunded,
        "refunding": payment.refunding,
    }


# Attempts

_ATTEMPT = """a.id, a.order_id, a.kind, a.charge_id, a.amount, a.currency, a.token, a.tries, a.started_at,
              a.leased_by, a.cause_event_id, a.correlation_id, a.purpose"""
_INSERT_ATTEMPTS = text("""
insert into payment_attempts (id, order_id, kind, charge_id, amount, currency, token, purpose, status, leased_by, tries,
                              cause_event_id, correlation_id, started_at)
select id, order_id, kind, charge_id, amount, currency, token, purpose, 'CALLING', :worker_id, 0,
       cause_event_id, correlation_id, :now
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, order_id uuid, kind text, charge_id uuid, amount numeric, currency text, token text, purpose text,
    cause_event_id uuid, correlation_id text)
""")
_CALLING_FOR_UPDATE = text(f"""
select {_ATTEMPT} from payment_attempts a
where a.id = any(cast(:ids as uuid[])) and a.status = 'CALLING' order by a.id for update
""")  # noqa: S608
_CHARGE_ORDER = text("select order_id from payment_attempts where id = :id and kind = 'CHARGE'")
_CHARGE_FOR_UPDATE = text(f"""
select {_ATTEMPT}, a.status from payment_attempts a where a.id = :id and a.kind = 'CHARGE' for update
""")  # noqa: S608
_TAKE_OVER = text(f"""
with due as (
    select a.id from payment_attempts a left join charger_leases l on l.worker_id = a.leased_by
    where a.ended_at is null
      and ((a.status in ('UNKNOWN', 'AWAITING') and a.next_try_at <= :now)
           or (a.status = 'CALLING' and (l.expires_at is null or l.expires_at < :now)))
    order by a.started_at limit :limit for update of a skip locked
)
update payment_attempts a
set status = 'CALLING', leased_by = :worker_id, tries = a.tries + 1, next_try_at = null
from due, payments p
where a.id = due.id and p.order_id = a.order_id
returning {_ATTEMPT}, p.status = 'PENDING' and a.started_at + cast(:psp_limit as interval) > :now as may_charge
""")  # noqa: S608
_UPDATE_ATTEMPTS = text("""
update payment_attempts a
set status = r.status, reason = r.reason, next_try_at = r.next_try_at,
    ended_at = case when r.status in ('UNKNOWN', 'AWAITING') then null else cast(:now as timestamptz) end
from json_to_recordset(cast(:rows as json)) as r(id uuid, status text, reason text, next_try_at timestamptz)
where a.id = r.id
""")
_SUCCEEDED_CHARGES = text("""
select order_id, id from payment_attempts
where kind = 'CHARGE' and status = 'SUCCEEDED' and order_id = any(cast(:ids as uuid[]))
""")
_IS_VOIDED = text("""
select 1 from payment_attempts where order_id = :order_id and kind = 'VOID' and charge_id = :charge_id
""")
_RENEW_LEASE = text(f"""
insert into charger_leases (worker_id, expires_at)
values (:worker_id, cast(:now as timestamptz) + interval '{LEASE_S} seconds')
on conflict (worker_id) do update set expires_at = excluded.expires_at
""")  # noqa: S608
_END_LEASE = text("""
delete from charger_leases
where worker_id = :worker_id or expires_at < cast(:now as timestamptz) - interval '1 hour'
""")


def insert_attempts(tx: Transaction, rows: Sequence[dict[str, Any]], worker_id: UUID) -> None:
    """New attempts, already leased by the worker that will call."""
    tx.save(_INSERT_ATTEMPTS, rows, worker_id=worker_id, now=tx.now)


def calling_attempts_for_update(tx: Transaction, ids: Iterable[UUID]) -> dict[UUID, Attempt]:
    """Those that are leased, each by whom it says: a worker that was overtaken has nothing to say any more."""
    rows = tx.fetch(_CALLING_FOR_UPDATE, ids=_texts(ids))
    return {row.id: _attempt(row) for row in rows}


def charge_order(tx: Transaction, charge_id: UUID) -> UUID | None:
    """The order that this attempt was to be paid for; not locked."""
    rows = tx.fetch(_CHARGE_ORDER, id=charge_id)
    return rows[0].order_id if rows else None


def charge_for_update(tx: Transaction, charge_id: UUID) -> tuple[Attempt, str]:
    """A charge and its status, whoever leases it."""
    (row,) = tx.fetch(_CHARGE_FOR_UPDATE, id=charge_id)
    return _attempt(row), row.status


def take_over_attempts(tx: Transaction, worker_id: UUID, psp_limit: timedelta, limit: int) -> list[Attempt]:
    """Attempts that are due again or whose worker is gone, now leased by this one."""
    rows = tx.fetch(_TAKE_OVER, worker_id=worker_id, psp_limit=psp_limit, now=tx.now, limit=limit)
    return [replace(_attempt(row), may_charge=row.may_charge) for row in rows]


def update_attempts(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_UPDATE_ATTEMPTS, rows, now=tx.now)


def succeeded_charges(tx: Transaction, order_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Order → the charge that its money came with, for those that were paid."""
    return {row.order_id: row.id for row in tx.fetch(_SUCCEEDED_CHARGES, ids=_texts(order_ids))}


def is_voided(tx: Transaction, charge: Attempt) -> bool:
    """Whether its undoing was at least begun; what is begun is tried until it is done."""
    return bool(tx.fetch(_IS_VOIDED, order_id=charge.order_id, charge_id=charge.id))


def renew_lease(tx: Transaction, worker_id: UUID) -> None:
    tx.execute(_RENEW_LEASE, worker_id=worker_id, now=tx.now)


def end_lease(tx: Transaction, worker_id: UUID) -> None:
    tx.execute(_END_LEASE, worker_id=worker_id, now=tx.now)


def _attempt(row: Row[Any]) -> Attempt:
    has_cause = row.cause_event_id is not None
    return Attempt(
        id=row.id,
        order_id=row.order_id,
        kind=WorkKind(row.kind),
        charge_id=row.charge_id,
        amount=row.amount,
        currency=row.currency,
        token=row.token,
        tries=row.tries,
        leased_by=row.leased_by,
        started_at=row.started_at,
        cause=StoredCause(event_id=row.cause_event_id, correlation_id=row.correlation_id) if has_cause else None,
        correlation_id=row.correlation_id,
        purpose=row.purpose,
    )


# Refunds and the ledger

# By id alone, whatever the order: the id of a return comes from outside, and an attempt has the id of its refund.
_KNOWN_REFUNDS = text("""
select id from refunds where id = any(cast(:ids as uuid[]))
union select id from payment_attempts where id = any(cast(:ids as uuid[]))
""")
_INSERT_REFUNDS = text("""
insert into refunds (id, order_id, amount, currency, reason, status, failure, created_at, ended_at)
select id, order_id, amount, currency, reason, status, failure, :now,
       case when status = 'PENDING' then null else cast(:now as timestamptz) end
from json_to_recordset(cast(:rows as json)) as r(
    id uuid, order_id uuid, amount numeric, currency text, reason text, status text, failure text)
""")
_END_REFUNDS = text("""
update refunds f set status = r.status, failure = r.failure, ended_at = :now
from json_to_recordset(cast(:rows as json)) as r(id uuid, status text, failure text)
where f.id = r.id
""")
_INSERT_ENTRIES = text("""
insert into ledger_entries (transaction_id, order_id, account, amount, currency, at)
select transaction_id, order_id, account, amount, currency, :now
from json_to_recordset(cast(:rows as json)) as r(
    transaction_id uuid, order_id uuid, account text, amount numeric, currency text)
""")


def known_refunds(tx: Transaction, ids: Iterable[UUID]) -> frozenset[UUID]:
    """Those of ``ids`` that are taken. Ask while the payments are locked."""
    wanted = _texts(ids)
    return frozenset(row.id for row in tx.fetch(_KNOWN_REFUNDS, ids=wanted)) if wanted else frozenset()


def insert_refunds(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_REFUNDS, rows, now=tx.now)


def end_refunds(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_END_REFUNDS, rows, now=tx.now)


def insert_entries(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.save(_INSERT_ENTRIES, rows, now=tx.now)


# Webhooks

# In the inbox, beside the events: its purge keeps them far longer than a signature is good for.
_CLAIM_WEBHOOK = text("""
insert into inbox (event_id, event_type, received_at) values (:id, 'PSP_WEBHOOK', :now)
on conflict do nothing returning event_id
""")
_WEBHOOK_IDS = UUID("7c0f8a52-3b0e-5a53-9f0c-6b1a1d3c6f2e")


def claim_webhook(tx: Transaction, webhook_id: str) -> bool:
    """Whether this is the first time. Waits for another transaction that claims the same one to end."""
    return bool(tx.fetch(_CLAIM_WEBHOOK, id=uuid5(_WEBHOOK_IDS, webhook_id), now=tx.now))


# Reading

_PAYMENT = text("""
select id, order_id, user_id, status, mode, amount, currency, expires_at, attempts as charges, charging, psp_reference,
       refunded, refunding, created_at, updated_at
from payments where order_id = :order_id and status <> 'NONE'
""")
_ATTEMPTS = text("""
select id, kind, status, reason, amount, tries, started_at, ended_at from payment_attempts
where order_id = :order_id order by started_at, id
""")
_REFUND = "select id, order_id, amount, currency, reason, status, failure, created_at, ended_at from refunds"
_REFUNDS = text(f"{_REFUND} where order_id = :order_id order by created_at, id")
_REFUND_BY_ID = text(f"{_REFUND} where id = :id")


def payment_row(tx: Transaction, order_id: UUID) -> Mapping[str, Any] | None:
    rows = tx.fetch(_PAYMENT, order_id=order_id)
    return dict(rows[0]._mapping) if rows else None


def attempt_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_ATTEMPTS, order_id=order_id)]


def refund_rows(tx: Transaction, order_id: UUID) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in tx.fetch(_REFUNDS, order_id=order_id)]


def refund_row(tx: Transaction, refund_id: UUID) -> Mapping[str, Any]:
    (row,) = tx.fetch(_REFUND_BY_ID, id=refund_id)
    return dict(row._mapping)


def _texts(ids: Iterable[UUID]) -> list[str]:
    return sorted({str(id_) for id_ in ids})
