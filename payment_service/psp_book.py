"""The simulated provider's book: its tables and every statement on them.

Owns: SQL, and what locks what. A charge's row is the lock for everything that happens to the charge.
Must not know: tokens, cards, how anything behaves. Times come from the caller (``now``), never from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, create_engine, text

from payment_service.provider import Approved, Booked, ChargeOutcome, Declined, Processing
from shared.database import rows_json

Row = dict[str, Any]

# Books of the first release know no charge that is being processed.
_BOOK = """
create table if not exists charges (
    key text primary key,
    reference text not null,
    amount numeric(12, 2) not null,
    currency text not null,
    status text not null,
    reason text,
    created_at timestamptz not null default now()
);
alter table charges add column if not exists settles_at timestamptz;
alter table charges drop constraint if exists charges_status_check;
alter table charges drop constraint if exists charges_status;
alter table charges add constraint charges_status
    check (status in ('APPROVED', 'DECLINED', 'VOIDED', 'PROCESSING'));
create table if not exists refunds (
    key text primary key,
    charge_key text not null references charges (key),
    reference text not null,
    amount numeric(12, 2) not null check (amount > 0),
    created_at timestamptz not null default now()
);
create index if not exists refunds_of_charge on refunds (charge_key);
create table if not exists refused_refunds (
    key text primary key,
    charge_key text not null,
    amount numeric(12, 2) not null,
    reason text not null,
    created_at timestamptz not null default now()
);
create table if not exists webhooks (
    number bigint generated always as identity primary key,
    event_id text not null,
    charge_key text not null references charges (key),
    type text not null,
    body text not null,
    due_at timestamptz not null,
    tries integer not null default 0,
    delivered_at timestamptz,
    last_error text,
    created_at timestamptz not null default now()
);
create index if not exists webhooks_due on webhooks (due_at) where delivered_at is null;
create index if not exists webhooks_of_charge on webhooks (charge_key);
create table if not exists tokens (
    token text primary key,
    behaviour text not null,
    brand text not null,
    last4 text not null check (length(last4) = 4),
    created_at timestamptz not null default now()
);
create table if not exists behaviour (name text primary key, value double precision not null);
"""
_VERSION = "book 2"


def create_book(database_url: str) -> None:
    """The simulator's tables, brought to this version; two at once are safe, and nothing is done twice."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        # Two at once would collide on the catalogue.
        connection.execute(text("select pg_advisory_xact_lock(1)"))
        # Altering a table waits for everyone who uses it: not at each start.
        if not connection.execute(_IS_CURRENT, {"version": _VERSION}).scalar_one():
            connection.execute(text(_BOOK))
            connection.execute(text(f"comment on table charges is '{_VERSION}'"))
    engine.dispose()


_IS_CURRENT = text("""
select coalesce(obj_description(to_regclass('charges'), 'pg_class') = :version, false)
""")

# Charges

# What was there before is left alone: a repeated key keeps its first outcome. The keys that are new come back.
_INSERT_CHARGES = text("""
insert into charges (key, reference, amount, currency, status, reason, settles_at, created_at)
select key, reference, amount, currency, status, reason, settles_at, :now
from json_to_recordset(cast(:rows as json)) as r(
    key text, reference text, amount numeric, currency text, status text, reason text, settles_at timestamptz)
order by key on conflict do nothing returning key
""")
_FIND_CHARGES = text("""
select key, reference, amount, currency, status, reason, settles_at from charges
where key = any(cast(:keys as text[]))
""")
_SETTLE = text("""
update charges
set status = case when reason is null then 'APPROVED' else 'DECLINED' end, settles_at = null
where key = any(cast(:keys as text[])) and status = 'PROCESSING' and settles_at <= :now
""")
# A charge that is already under way is undone; one that never came is refused when it comes.
_VOID = text("""
insert into charges (key, reference, amount, currency, status, reason, created_at)
values (:key, :reference, 0, '', 'VOIDED', 'voided', :now)
on conflict (key) do update set status = 'VOIDED', reason = 'voided', settles_at = null
where charges.status in ('APPROVED', 'PROCESSING')
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCharge:
    """A charge as it stands in the book. ``reason`` of one that is PROCESSING is that of the decline to come."""

    key: str
    reference: str
    amount: Decimal
    currency: str
    status: str
    reason: str | None
    settles_at: datetime | None

    @property
    def outcome(self) -> ChargeOutcome:
        if self.status == "APPROVED":
            return Approved(reference=self.reference)
        if self.status == "PROCESSING":
            return Processing(reference=self.reference)
        return Declined(reason=self.reason or "card_declined")


def insert_charges(connection: Connection, rows: Sequence[Row], now: datetime) -> set[str]:
    """The keys of those that are new."""
    return set(connection.execute(_INSERT_CHARGES, {"rows": rows_json(rows), "now": now}).scalars())


def find_charges(connection: Connection, keys: Iterable[str], now: datetime) -> dict[str, StoredCharge]:
    """Key → charge, for those that are known; whatever was to be settled by ``now`` is settled."""
    found = _find(connection, keys)
    due = [c.key for c in found.values() if c.status == "PROCESSING" and c.settles_at and c.settles_at <= now]
    if due:
        settle(connection, due, now)
        found.update(_find(connection, due))
    return found


def _find(connection: Connection, keys: Iterable[str]) -> dict[str, StoredCharge]:
    rows = connection.execute(_FIND_CHARGES, {"keys": sorted(set(keys))})
    return {row.key: StoredCharge(**row._mapping) for row in rows}


def settle(connection: Connection, keys: Sequence[str], now: datetime) -> None:
    """End the processing of those whose time has come."""
    connection.execute(_SETTLE, {"keys": sorted(set(keys)), "now": now})


def void(connection: Connection, key: str, reference: str, now: datetime) -> None:
    connection.execute(_VOID, {"key": key, "reference": reference, "now": now})


# Refunds

_LOCK_CHARGE = text("select amount, status from charges where key = :key for update")
_KNOWN_REFUND = text("""
select charge_key, amount, reference, cast(null as text) as reason from refunds where key = :refund_key
union all
select charge_key, amount, null, reason from refused_refunds where key = :refund_key
""")
_REFUNDED = text("select coalesce(sum(amount), 0) as total from refunds where charge_key = :key")
_INSERT_REFUND = text("""
insert into refunds (key, charge_key, reference, amount, created_at)
values (:refund_key, :key, :reference, :amount, :now)
""")
_INSERT_REFUSAL = text("""
insert into refused_refunds (key, charge_key, amount, reason, created_at)
values (:refund_key, :key, :amount, :reason, :now)
""")
_LOCK_KEY = text("select pg_advisory_xact_lock(hashtextextended(:refund_key, 0))")


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRefund:
    """A refund that was decided before; ``reason`` of a refused one."""

    charge_key: str
    amount: Decimal
    reference: str | None
    reason: str | None


def known_refund_for_update(connection: Connection, refund_key: str) -> KnownRefund | None:
    """What was decided under this key. Until the end of the transaction nobody else decides under it."""
    connection.execute(_LOCK_KEY, {"refund_key": refund_key})
    row = connection.execute(_KNOWN_REFUND, {"refund_key": refund_key}).fetchone()
    return KnownRefund(**row._mapping) if row else None


def refundable_for_update(connection: Connection, charge_key: str, now: datetime) -> Decimal | None:
    """What is left of a charge, which is locked; None when no money was taken."""
    settle(connection, [charge_key], now)
    charge = connection.execute(_LOCK_CHARGE, {"key": charge_key}).fetchone()
    if charge is None or charge.status != "APPROVED":
        return None
    refunded: Decimal = connection.execute(_REFUNDED, {"key": charge_key}).scalar_one()
    return Decimal(charge.amount) - refunded


def insert_refund(
    connection: Connection, *, key: str, charge_key: str, amount: Decimal, reference: str, now: datetime
) -> None:
    connection.execute(
        _INSERT_REFUND,
        {"refund_key": key, "key": charge_key, "reference": reference, "amount": amount, "now": now},
    )


def insert_refusal(
    connection: Connection, *, key: str, charge_key: str, amount: Decimal, reason: str, now: datetime
) -> None:
    connection.execute(
        _INSERT_REFUSAL, {"refund_key": key, "key": charge_key, "amount": amount, "reason": reason, "now": now}
    )


# Webhooks

_INSERT_WEBHOOKS = text("""
insert into webhooks (event_id, charge_key, type, body, due_at, created_at)
select event_id, charge_key, type, body, due_at, :now
from json_to_recordset(cast(:rows as json)) as r(
    event_id text, charge_key text, type text, body text, due_at timestamptz)
""")
# To lease one is to put its next try off: a process that dies while sending leaves it to be sent again.
_LEASE_WEBHOOKS = text("""
with due as (
    select number, due_at as was_due_at from webhooks where delivered_at is null and due_at <= :now
    order by due_at, number limit :most for update skip locked
)
update webhooks w set tries = w.tries + 1, due_at = :leased_until from due where w.number = due.number
returning w.number, w.charge_key, w.type, w.body, w.tries, due.was_due_at
""")
_WEBHOOK_DELIVERED = text("""
update webhooks set delivered_at = :now, last_error = null where number = :number
""")
_WEBHOOK_FAILED = text("""
update webhooks set due_at = :due_at, last_error = :error where number = :number and delivered_at is null
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class DueWebhook:
    number: int
    charge_key: str
    type: str
    body: str
    tries: int
    was_due_at: datetime


def insert_webhooks(connection: Connection, rows: Sequence[Row], now: datetime) -> None:
    connection.execute(_INSERT_WEBHOOKS, {"rows": rows_json(rows), "now": now})


def lease_webhooks(connection: Connection, now: datetime, lease: timedelta, most: int) -> list[DueWebhook]:
    """Those that are due, in that order, now this process's to send; several processes share them."""
    rows = connection.execute(_LEASE_WEBHOOKS, {"now": now, "leased_until": now + lease, "most": most})
    return sorted((DueWebhook(**row._mapping) for row in rows), key=lambda w: (w.was_due_at, w.number))


def webhook_delivered(connection: Connection, number: int, now: datetime) -> None:
    connection.execute(_WEBHOOK_DELIVERED, {"number": number, "now": now})


def webhook_failed(connection: Connection, number: int, error: str, due_at: datetime) -> None:
    connection.execute(_WEBHOOK_FAILED, {"number": number, "error": error, "due_at": due_at})


# Tokens and behaviour

_INSERT_TOKEN = text("""
insert into tokens (token, behaviour, brand, last4, created_at) values (:token, :behaviour, :brand, :last4, :now)
""")
_TOKEN_BEHAVIOUR = text("select behaviour from tokens where token = :token")
_BEHAVIOUR = text("select name, value from behaviour")
_SET_BEHAVIOUR = text("""
insert into behaviour (name, value)
select name, value from json_to_recordset(cast(:rows as json)) as r(name text, value double precision)
order by name on conflict (name) do update set value = excluded.value
""")
_RESET_BEHAVIOUR = text("delete from behaviour")


def insert_token(connection: Connection, *, token: str, behaviour: str, brand: str, last4: str, now: datetime) -> None:
    connection.execute(
        _INSERT_TOKEN, {"token": token, "behaviour": behaviour, "brand": brand, "last4": last4, "now": now}
    )


def token_behaviour(connection: Connection, token: str) -> str | None:
    found: str | None = connection.execute(_TOKEN_BEHAVIOUR, {"token": token}).scalar_one_or_none()
    return found


def stored_behaviour(connection: Connection) -> dict[str, float]:
    return {row.name: row.value for row in connection.execute(_BEHAVIOUR)}


def set_behaviour(connection: Connection, changes: Mapping[str, float]) -> None:
    rows = [{"name": name, "value": value} for name, value in changes.items()]
    connection.execute(_SET_BEHAVIOUR, {"rows": rows_json(rows)})


def reset_behaviour(connection: Connection) -> None:
    connection.execute(_RESET_BEHAVIOUR)


# Reading

_NEWEST_CHARGES = text("""
select c.key, c.reference, c.amount, c.currency, c.status, c.reason, c.created_at,
       coalesce((select sum(r.amount) from refunds r where r.charge_key = c.key), 0) as refunded
from charges c order by c.created_at desc, c.key desc limit :most
""")
_WEBHOOKS_OF = text("""
select event_id, charge_key, type, due_at, tries, delivered_at, last_error from webhooks
where charge_key = any(cast(:keys as text[])) order by number
""")


def newest_charges(connection: Connection, most: int) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(_NEWEST_CHARGES, {"most": most})]


def webhooks_of(connection: Connection, keys: Sequence[str]) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(_WEBHOOKS_OF, {"keys": list(keys)})]


# For whoever compares their book with this one

_BOOKED = """
select c.key, c.status, c.amount, c.currency,
       coalesce((select sum(r.amount) from refunds r where r.charge_key = c.key), 0) as refunded
from charges c
"""
_BOOKED_KEYS = text(f"{_BOOKED} where c.key = any(cast(:keys as text[]))")
_BOOKED_AFTER = text(f"""
{_BOOKED} where c.key > :after and (cast(:until as text) is null or c.key < cast(:until as text))
order by c.key limit :most
""")


def booked(connection: Connection, keys: Sequence[str]) -> dict[str, Booked]:
    rows = connection.execute(_BOOKED_KEYS, {"keys": list(keys)})
    return {row.key: Booked(**row._mapping) for row in rows}


def booked_after(connection: Connection, after: str, until: str | None, most: int) -> list[Booked]:
    rows = connection.execute(_BOOKED_AFTER, {"after": after, "until": until, "most": most})
    return [Booked(**row._mapping) for row in rows]
