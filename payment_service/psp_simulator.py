"""A payment provider that behaves like one: durable, idempotent by key, with a book of its own.

Owns: its database (charges and refunds) and which token does what. Must not know: orders, payments, our ledger.

A library instead of a server: a charge costs a commit in its own database, not an HTTP hop. Calls made at the same
time share one commit (group commit), as they would in a real provider's database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import eventlet
from eventlet.event import Event
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from payment_service.provider import Approved, Charge, ChargeOutcome, Declined
from shared.database import ENGINE_OPTIONS, rows_json
from shared.envelope import new_id
from shared.errors import ProviderUnavailable

TOKENS: Mapping[str, str | None] = {
    "tok_success": None,
    "tok_insufficient_funds": "insufficient_funds",
    "tok_card_declined": "card_declined",
    "tok_limit_exceeded": "limit_exceeded",
}
"""Token → reason of the decline, None for an approval. A token nobody issued is declined as card_declined."""

_BOOK = """
create table if not exists charges (
    key text primary key,
    reference text not null,
    amount numeric(12, 2) not null,
    currency text not null,
    status text not null check (status in ('APPROVED', 'DECLINED', 'VOIDED')),
    reason text,
    created_at timestamptz not null default now()
);
create table if not exists refunds (
    key text primary key,
    charge_key text not null references charges (key),
    reference text not null,
    amount numeric(12, 2) not null check (amount > 0),
    created_at timestamptz not null default now()
);
"""
_CHARGE = text("""
insert into charges (key, reference, amount, currency, status, reason)
select key, reference, amount, currency, status, reason
from json_to_recordset(cast(:rows as json)) as r(
    key text, reference text, amount numeric, currency text, status text, reason text)
order by key on conflict do nothing
""")
_FIND = text("select key, reference, status, reason from charges where key = any(cast(:keys as text[]))")
# A charge that is already under way is undone; one that never came is refused when it comes.
_VOID = text("""
insert into charges (key, reference, amount, currency, status, reason)
values (:key, :reference, 0, '', 'VOIDED', 'voided')
on conflict (key) do update set status = 'VOIDED', reason = 'voided' where charges.status = 'APPROVED'
""")
_LOCK_CHARGE = text("select amount, status from charges where key = :key for update")
_REFUNDED = text("select coalesce(sum(amount), 0) as total from refunds where charge_key = :key and key <> :refund_key")
_REFUND = text("""
insert into refunds (key, charge_key, reference, amount) values (:refund_key, :key, :reference, :amount)
on conflict do nothing
""")
_FIND_REFUND = text("select reference from refunds where key = :refund_key")


def create_book(database_url: str) -> None:
    """The simulator's tables, if they are not there yet."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        # Two at once would collide on the catalogue.
        connection.execute(text("select pg_advisory_xact_lock(1)"))
        connection.execute(text(_BOOK))
    engine.dispose()


@dataclass(kw_only=True)
class _Call:
    charge: Charge
    done: Event


class PspSimulator:
    """A PaymentProvider (see the protocol for the promises)."""

    def __init__(self, database_url: str) -> None:
        self._engine: Engine = create_engine(database_url, **ENGINE_OPTIONS)
        self._waiting: list[_Call] = []

    def close(self) -> None:
        self._engine.dispose()

    def charge(self, charge: Charge) -> ChargeOutcome:
        call = _Call(charge=charge, done=Event())
        self._waiting.append(call)
        if len(self._waiting) == 1:
            eventlet.spawn_n(self._commit_together)
        outcome: ChargeOutcome = call.done.wait()
        return outcome

    def _commit_together(self) -> None:
        calls, self._waiting = self._waiting, []
        try:
            outcomes = self._execute(lambda connection: _charge_all(connection, [c.charge for c in calls]))
        except Exception as error:  # whatever it is, nobody may be left waiting
            for call in calls:
                call.done.send_exception(error)
            return
        for call in calls:
            call.done.send(outcomes[call.charge.key])

    def lookup(self, key: str) -> ChargeOutcome | None:
        found: dict[str, ChargeOutcome] = self._execute(lambda connection: _find(connection, [key]))
        return found.get(key)

    def void(self, key: str) -> None:
        self._execute(lambda connection: connection.execute(_VOID, {"key": key, "reference": f"psp_{new_id()}"}))

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        outcome: ChargeOutcome = self._execute(lambda connection: _refund(connection, charge_key, refund_key, amount))
        return outcome

    def _execute(self, work: Callable[[Any], Any]) -> Any:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise ProviderUnavailable(f"{type(error).__name__}: {error}"[:300]) from error


def _charge_all(connection: Any, charges: list[Charge]) -> dict[str, ChargeOutcome]:
    rows = [_charge_row(charge) for charge in charges]
    connection.execute(_CHARGE, {"rows": rows_json(rows)})
    # What stands in the book, not what was just decided: a repeated key gets its first outcome.
    return _find(connection, [charge.key for charge in charges])


def _charge_row(charge: Charge) -> dict[str, Any]:
    reason = TOKENS.get(charge.token, "card_declined")
    return {
        "key": charge.key,
        "reference": f"psp_{new_id()}",
        "amount": charge.amount,
        "currency": charge.currency,
        "status": "DECLINED" if reason else "APPROVED",
        "reason": reason,
    }


def _find(connection: Any, keys: list[str]) -> dict[str, ChargeOutcome]:
    rows = connection.execute(_FIND, {"keys": keys}).fetchall()
    return {
        row.key: Approved(reference=row.reference) if row.status == "APPROVED" else Declined(reason=row.reason)
        for row in rows
    }


def _refund(connection: Any, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
    charge = connection.execute(_LOCK_CHARGE, {"key": charge_key}).fetchone()
    if charge is None or charge.status != "APPROVED":
        return Declined(reason="nothing_to_refund")
    before = connection.execute(_REFUNDED, {"key": charge_key, "refund_key": refund_key}).scalar_one()
    if before + amount > charge.amount:
        return Declined(reason="exceeds_charge")
    connection.execute(
        _REFUND,
        {"refund_key": refund_key, "key": charge_key, "reference": f"psp_{new_id()}", "amount": amount},
    )
    return Approved(reference=connection.execute(_FIND_REFUND, {"refund_key": refund_key}).scalar_one())
