"""The payment service's side of orders, and what the provider's book says of them, for comparing with the others'.

Owns: what is told of a payment, saying its state once more, undoing a charge that nobody wants, giving back what is
kept for nothing. The provider's book is another company's: no transaction of ours is open while it is asked.
Must not know: Nameko, HTTP, what the other sides know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from payment_service import commands, queries
from payment_service.changes import Changes, Origin
from payment_service.circuit import within
from payment_service.domain import PSP_TIMEOUT, Announcement, Payment, PaymentMode, PaymentStatus, StrayCharge, decide
from payment_service.provider import Booked, ProviderBook
from payment_service.queries import Attempt
from payment_service.settings import Settings
from shared import audit, reconciliation
from shared.database import Sessions, Transaction, transaction
from shared.errors import Conflict, PaymentNotFound
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity
from shared.reconciliation import Feed, as_uuid, quiet_for, read_id, read_ids, read_limit, read_seconds

PATIENCE_S = 10.0
REASON = "reconciled"
Begun = tuple[dict[str, Any], list[Attempt]]

FEED = Feed(
    changed=text("select id as position, order_id, at from ledger_entries where id > :after order by id limit :limit"),
    head=text("select id as position from ledger_entries where at < :before order by id desc limit 1"),
    every=text("""
select order_id from payments
where cast(:after as uuid) is null or order_id > cast(:after as uuid) order by order_id limit :limit
"""),
)
_PAYMENTS = text("""
select order_id, status, amount, currency, refunded, refunding, cancelled, charging, updated_at
from payments where order_id = any(cast(:ids as uuid[]))
""")
_ATTEMPTS = text("""
select id, order_id, kind, status, amount, started_at, ended_at from payment_attempts
where order_id = any(cast(:ids as uuid[])) order by id
""")
_REFUNDS = text("""
select id, order_id, amount, status from refunds where order_id = any(cast(:ids as uuid[])) order by id
""")
_LEDGER = text("""
select order_id, sum(receivable) as receivable, bool_and(total = 0) as is_balanced from (
    select order_id, sum(amount) as total, coalesce(sum(amount) filter (where account = 'psp_receivable'), 0)
        as receivable
    from ledger_entries where order_id = any(cast(:ids as uuid[])) group by order_id, transaction_id, currency) t
group by order_id
""")
_CHARGES = text("""
select id, order_id, status, amount from payment_attempts where kind = 'CHARGE' and id = any(cast(:ids as uuid[]))
""")


def walk(tx: Transaction, caller: Identity, **wanted: Any) -> dict[str, Any]:
    """As :func:`shared.reconciliation.walk`."""
    return reconciliation.walk(tx, FEED, caller, **wanted)


# What is known


def sides(sessions: Sessions, caller: Identity, book: ProviderBook, order_ids: Any) -> list[dict[str, Any]]:
    """What is known of each of these orders' money here and at the provider; of an unknown one nothing.

    Raises Forbidden, InvalidRequest, ProviderUnavailable.
    """
    reconciliation.refuse_all_but_operators(caller)
    ids = read_ids("orderIds", order_ids)
    with transaction(sessions) as tx:
        ours = list(_our_sides(tx, ids))
    keys = [charge["key"] for side in ours for charge in side["charges"]]
    booked = within(PATIENCE_S, lambda: book.booked(keys))
    for side in ours:
        for charge in side["charges"]:
            charge["booked"] = _booked(booked.get(charge["key"]))
    return ours


def _our_sides(tx: Transaction, ids: list[str]) -> Iterator[dict[str, Any]]:
    attempts, refunds, ledger = (_by_order(tx.fetch(s, ids=ids)) for s in (_ATTEMPTS, _REFUNDS, _LEDGER))
    for row in tx.fetch(_PAYMENTS, ids=ids):
        yield _side(tx, row, attempts[row.order_id], refunds[row.order_id], ledger[row.order_id])


def _by_order(rows: Sequence[Any]) -> dict[UUID, list[Mapping[str, Any]]]:
    found: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row._mapping)
    return found


def _side(
    tx: Transaction,
    row: Any,
    attempts: Sequence[Mapping[str, Any]],
    refunds: Sequence[Mapping[str, Any]],
    ledger: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    unended = [attempt["started_at"] for attempt in attempts if attempt["ended_at"] is None]
    moments = [moment for a in attempts for moment in (a["started_at"], a["ended_at"])]
    return {
        "orderId": str(row.order_id),
        "status": row.status,
        "amount": str(row.amount),
        "currency": row.currency,
        "refunded": str(row.refunded),
        "refunding": str(row.refunding),
        "isCancelled": row.cancelled,
        "isCharging": row.charging,
        "openAttempts": len(unended),
        "openForS": max((quiet_for(tx, moment) for moment in unended), default=0.0),
        "receivable": str(ledger[0]["receivable"] if ledger else Decimal("0.00")),
        "isBalanced": bool(ledger[0]["is_balanced"]) if ledger else True,
        "refunds": [{"id": str(r["id"]), "amount": str(r["amount"]), "status": r["status"]} for r in refunds],
        "charges": [
            {"key": str(a["id"]), "status": a["status"], "amount": str(a["amount"]), "booked": None}
            for a in attempts
            if a["kind"] == "CHARGE"
        ],
        "quietForS": quiet_for(tx, row.updated_at, *moments),
    }


def _booked(charge: Booked | None) -> dict[str, Any] | None:
    if charge is None:
        return None
    return {
        "status": charge.status,
        "amount": str(charge.amount),
        "currency": charge.currency,
        "refunded": str(charge.refunded),
    }


def walk_book(
    sessions: Sessions,
    caller: Identity,
    book: ProviderBook,
    *,
    after: Any,
    limit: Any,
    full: Any,
    quiet_s: Any,
    ago_s: Any,
) -> dict[str, Any]:
    """{"orderIds", "seen", "unknown", "next", "isEnd"}: charges in the provider's book, in the order of their keys.

    ``orderIds``: of a ``full`` walk those of all ``seen``, else only those whose charge is not what the attempt says.
    ``unknown`` are charges that stand and that no attempt of ours explains. Our keys are in the order of time: what is
    new has keys of that time. Foreign keys of any form are met by a ``full`` walk. Raises Forbidden, InvalidRequest,
    ProviderUnavailable.
    """
    reconciliation.refuse_all_but_operators(caller)
    most, quiet = read_limit(limit), read_seconds("quietS", quiet_s)
    ago = max(quiet, read_seconds("agoS", quiet_s if ago_s is None else ago_s))
    with transaction(sessions) as tx:
        now = tx.now
    beginning = "" if full else key_of(now - ago)
    after_key = after if isinstance(after, str) and after else beginning
    until = None if full else key_of(now - quiet)
    charges = within(PATIENCE_S, lambda: book.booked_after(after_key, until, most))
    with transaction(sessions) as tx:
        ours = _attempts_of(tx, [charge.key for charge in charges])
    is_end = len(charges) < most
    known = [(charge, ours[charge.key]) for charge in charges if charge.key in ours]
    return {
        "orderIds": sorted({str(attempt.order_id) for c, attempt in known if full or not _agree(c, attempt)}),
        "seen": len(charges),
        "unknown": [
            {"key": charge.key, **(_booked(charge) or {})}
            for charge in charges
            if charge.key not in ours and charge.status == "APPROVED" and charge.amount > charge.refunded
        ],
        "next": max(until, after_key) if until and is_end else charges[-1].key if charges else after_key,
        "isEnd": is_end,
    }


def key_of(moment: datetime) -> str:
    """Where the keys of attempts begin that were made at ``moment`` or later (UUIDv7)."""
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _attempts_of(tx: Transaction, keys: Sequence[str]) -> dict[str, Any]:
    """Key → its attempt, for the charges that one of ours explains."""
    ids = [key for key in keys if as_uuid(key)]
    return {str(row.id): row for row in tx.fetch(_CHARGES, ids=ids)} if ids else {}


def _agree(charge: Booked, attempt: Any) -> bool:
    """At first sight: what was given back is not looked at."""
    has_taken = attempt.status == "SUCCEEDED"
    return (charge.status == "APPROVED") == has_taken and (not has_taken or charge.amount == attempt.amount)


# Repairs


def say_again(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    why: Any = None,
    idempotency_key: Any = None,
    correlation_id: Any = None,
) -> dict[str, Any]:
    """{"did", "replayed"}: publish what the order's payment has come to, in events with new ids.

    Raises Forbidden, InvalidRequest, PaymentNotFound, Conflict where it has come to nothing yet, and the key's errors.
    """
    reconciliation.refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    id_ = read_id("orderId", order_id)

    def run() -> dict[str, Any]:
        payment = _locked(tx, id_)
        announcements = list(_announcements(tx, payment))
        changes, origin = Changes(), Origin(cause=None, correlation_id=correlation_id or str(id_))
        for announcement in announcements:
            changes.announce(tx, payment, announcement, origin)
        # There is no work among it that a worker would have to do.
        changes.save(tx, id_)
        said = ", ".join(announcement.event_type for announcement in announcements)
        _record(tx, caller, id_, correlation_id, {"eventTypes": said, "why": why})
        return {"did": f"{said} said once more"}

    key = owned_key(caller, idempotency_key)
    answer, replayed = once(tx, "say_payment_again", key, {"orderId": str(id_)}, run)
    return {**answer, "replayed": replayed}


def _locked(tx: Transaction, order_id: UUID) -> Payment:
    payment = queries.payments_for_update(tx, [order_id]).get(order_id)
    if payment is None:
        raise PaymentNotFound("no payment for this order", {"orderId": str(order_id)})
    return payment


def _announcements(tx: Transaction, payment: Payment) -> Iterator[Announcement]:
    """What its answer was. Raises Conflict while that is open."""
    if payment.charging or payment.status is PaymentStatus.NONE:
        raise Conflict("the payment has not come to anything yet", {"status": payment.status})
    match payment.status:
        case PaymentStatus.PENDING if payment.mode is PaymentMode.MANUAL:
            yield Announcement(event_type="PAYMENT_PENDING", fields={"expires_at": payment.expires_at})
        case PaymentStatus.CANCELLED:
            yield Announcement(event_type="PAYMENT_CANCELLED", fields={})
        case PaymentStatus.FAILED:
            reasons = [row["reason"] for row in queries.attempt_rows(tx, payment.order_id) if row["reason"]]
            reason = reasons[-1] if reasons else "reservation_expired"
            yield Announcement(event_type="PAYMENT_FAILED", fields={"reason": reason})
            if reason == PSP_TIMEOUT:
                yield Announcement(event_type="PAYMENT_CANCELLED", fields={})
        case PaymentStatus.SUCCEEDED | PaymentStatus.PARTIALLY_REFUNDED | PaymentStatus.REFUNDED:
            fields = {"psp_reference": payment.psp_reference or "unknown"}
            yield Announcement(event_type="PAYMENT_SUCCESS", fields=fields)
            yield from _refunds_said(tx, payment)


def _refunds_said(tx: Transaction, payment: Payment) -> Iterator[Announcement]:
    for refund in queries.refund_rows(tx, payment.order_id):
        if refund["status"] == "SUCCEEDED":
            said = {"refund_id": refund["id"], "amount": refund["amount"], "reason": refund["reason"]}
            fields = {**said, "total_refunded": payment.refunded}
            yield Announcement(event_type="PAYMENT_REFUNDED", fields=fields)


def void_charge(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    charge_key: Any,
    why: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"did", "replayed"}: have a charge undone that the payment did not come from.

    Raises Forbidden, InvalidRequest, PaymentNotFound, Conflict where it is wanted or under way, and what `once` raises.
    """
    reconciliation.refuse_all_but_operators(caller)
    check_request_ids(key, correlation_id)
    id_, charge_id = read_id("orderId", order_id), read_id("charge", charge_key)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        payment = _locked(tx, id_)
        if queries.charge_order(tx, charge_id) != id_:
            raise PaymentNotFound("this order has no such charge", {"charge": str(charge_id)})
        _, status = queries.charge_for_update(tx, charge_id)
        is_paid = payment.status in (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
        if status not in ("FAILED", "TIMED_OUT") and (is_paid or status != "SUCCEEDED"):
            raise Conflict(f"the charge is {status}: it is not one that nobody wants", {"status": status})
        decision = decide(payment, StrayCharge(order_id=id_), now=tx.now, rules=settings.rules)
        changes = Changes()
        origin = Origin(cause=None, correlation_id=correlation_id or str(id_), charge_id=charge_id)
        changes.record(tx, payment, decision, origin)
        begun.extend(changes.save(tx, worker_id))
        _record(tx, caller, id_, correlation_id, {"void": str(charge_id), "why": why})
        return {"did": f"the void of charge {charge_id} has begun"}

    request = {"orderId": str(id_), "charge": str(charge_id)}
    answer, replayed = once(tx, "void_charge", owned_key(caller, key), request, run)
    return {**answer, "replayed": replayed}, begun


def give_back(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    why: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"did", "replayed"}: begin to refund all that is left of the order's payment.

    Raises Forbidden, InvalidRequest, PaymentNotFound, what commands.refund raises, and what `once` raises.
    """
    reconciliation.refuse_all_but_operators(caller)
    check_request_ids(key, correlation_id)
    id_ = read_id("orderId", order_id)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        left = _locked(tx, id_).refundable
        refund_id, attempts = commands.refund(tx, id_, None, REASON, correlation_id, settings, worker_id)
        begun.extend(attempts)
        _record(tx, caller, id_, correlation_id, {"refund": str(refund_id), "amount": str(left), "why": why})
        return {"did": f"the refund of {left} has begun, as {refund_id}"}

    answer, replayed = once(tx, "give_back", owned_key(caller, key), {"orderId": str(id_)}, run)
    return {**answer, "replayed": replayed}, begun


def _record(
    tx: Transaction, caller: Identity, order_id: UUID, correlation_id: str | None, after: Mapping[str, Any]
) -> None:
    audit.record(tx, caller, "repair_order", "order", order_id, request_id=correlation_id, after=after)
