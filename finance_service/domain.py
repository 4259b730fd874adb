"""What the stream tells, and what can be said of money by it. Pure: no database, no broker, no clock.

Owns: which change of a row counts, when nothing is missing from the stream, how old what is known may be, the sums
that follow from others. Must not know: anything outside the standard library.

The databases are told of independently of each other, each in the order of its own log, and everything may come twice.
So a row is what its newest change says, whatever comes in between, and a difference between two databases counts only
once both are told of up to a while after it arose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]

ORDER, PAYMENT = "order", "payment"
DATABASES = (ORDER, PAYMENT)
CAPTURED = ("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED")
"""A payment whose money was taken, whatever was given back since."""
STANDING = ("CONFIRMED", "FULFILLED")
"""An order that is to be paid for; others are not sold yet, or not any more."""
OVER = ("FULFILLED", "CANCELLED")
"""An order that is deleted in one of these was put away by its service: it happened all the same."""
RECEIVABLE = "psp_receivable"
SETTLE = timedelta(seconds=30)
"""How long the services may take to tell each other what happened, before a difference is one."""
CUT = timedelta(seconds=5)
"""Money is compared up to so long before what is known: a moment is taken when a transaction begins, not when it
commits."""


class Table(StrEnum):
    ORDERS = "orders"
    PAYMENTS = "payments"
    REFUNDS = "refunds"
    LEDGER = "ledger_entries"


TABLES: Mapping[tuple[str, str], Table] = {
    (ORDER, "orders"): Table.ORDERS,
    (PAYMENT, "payments"): Table.PAYMENTS,
    (PAYMENT, "refunds"): Table.REFUNDS,
    (PAYMENT, "ledger_entries"): Table.LEDGER,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChange:
    """One row as a transaction left it; ``row`` is None where it was deleted. ``key``: its primary key, as text."""

    database: str
    table: Table
    key: str
    lsn: int
    committed_at: datetime
    row: Row | None
    is_snapshot: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """All that ``database`` committed until ``committed_at`` stands before this in the stream.

    Also said by changes of tables that are not followed here.
    """

    database: str
    lsn: int | None
    committed_at: datetime
    is_snapshot: bool = False


Told: TypeAlias = RowChange | Heartbeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """A message of the stream as it is there."""

    offset: int
    message_id: str | None
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """How far the stream is read. ``last_message_id`` is of the message before ``next_offset``."""

    next_offset: int
    last_message_id: str | None


# Which change counts


def newest(changes: Iterable[RowChange]) -> list[RowChange]:
    """Of each row the change furthest on in its database's log; of two at one place the later one.

    Of a row that was deleted both: its deletion, and what it was before, which may still count.
    """
    found: dict[tuple[Table, str, bool], RowChange] = {}
    for change in changes:
        of = (change.table, change.key, change.row is None)
        if of not in found or change.lsn >= found[of].lsn:
            found[of] = change
    return list(found.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a batch says of one database. ``as_of`` is None where it holds rows of a snapshot alone.

    A snapshot's rows say nothing of the moment: all of them have to be there first, and what follows says that.
    """

    database: str
    as_of: datetime | None
    lsn: int | None
    has_snapshot: bool


def progress_of(told: Sequence[Told]) -> list[Progress]:
    """By database, in the order of their names."""
    return [
        _progress(name, [one for one in told if one.database == name]) for name in sorted({t.database for t in told})
    ]


def _progress(database: str, told: Sequence[Told]) -> Progress:
    streamed = [one for one in told if not one.is_snapshot]
    places = [one.lsn for one in streamed if one.lsn is not None]
    return Progress(
        database=database,
        as_of=max((one.committed_at for one in streamed), default=None),
        lsn=max(places, default=None),
        has_snapshot=len(streamed) < len(told),
    )


# Whether anything is missing


class Continuity(StrEnum):
    WHOLE = "whole"
    LOST = "lost"
    """The stream has dropped messages that were not read: it begins behind the place."""
    ANOTHER = "another"
    """A stream of the same name that was made anew: it is read from its beginning."""


def continuity(place: Place, first: Arrived) -> Continuity:
    """``first``: what came when the message before ``place`` was asked for.

    Offsets have gaps: a broker's own notes take some. So where the message before is gone too, it is not known whether
    another one was, and LOST is said.
    """
    before = place.next_offset - 1
    if first.offset > place.next_offset:
        return Continuity.LOST
    if first.offset < before or (first.offset == before and first.message_id != place.last_message_id):
        return Continuity.ANOTHER
    return Continuity.WHOLE


def is_whole(lost_at: datetime | None, snapshots: Mapping[str, datetime | None], as_of: Mapping[str, Any]) -> bool:
    """Whether all that was lost has been told again since: by a snapshot of each database, to its end."""
    if lost_at is None:
        return True
    moments = [(snapshots.get(name), as_of.get(name)) for name in DATABASES]
    return all(taken is not None and taken > lost_at and at is not None and at > lost_at for taken, at in moments)


# How old it is


def age_s(as_of: datetime | None, now: datetime) -> float | None:
    """None: nothing is known. Clocks of two servers may differ: nothing is younger than now."""
    return None if as_of is None else max(0.0, round((now - as_of).total_seconds(), 3))


def is_stale(as_of: datetime | None, now: datetime, stale_after: timedelta) -> bool:
    return as_of is None or now - as_of > stale_after


def known_until(as_of: Mapping[str, datetime | None]) -> datetime | None:
    """Until when all databases are known; None while one is not."""
    moments = [as_of.get(name) for name in DATABASES]
    known = [moment for moment in moments if moment is not None]
    return min(known) if len(known) == len(moments) else None


def is_certain(since: datetime, known: datetime | None) -> bool:
    """Whether what arose at ``since`` can no longer be explained by what is still on its way."""
    return known is not None and known >= since + SETTLE


# Sums


def net(captured: Decimal, refunded: Decimal) -> Decimal:
    """Revenue that stayed."""
    return captured - refunded


def not_captured(ordered: Decimal, ordered_captured: Decimal) -> Decimal:
    """What standing orders still owe."""
    return ordered - ordered_captured


class Difference(StrEnum):
    CONFIRMED_NOT_CAPTURED = "confirmed_not_captured"
    CAPTURED_NOT_ORDERED = "captured_not_ordered"
    AMOUNT_DIFFERS = "amount_differs"
    REFUNDS_DIFFER = "refunds_differ"
    LEDGER_DIFFERS = "ledger_differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """What is known of the money of one order. None: there is no order, or no payment."""

    order_status: str | None = None
    price: Decimal | None = None
    order_currency: str | None = None
    payment_status: str | None = None
    amount: Decimal = Decimal(0)
    payment_currency: str | None = None
    refunded: Decimal = Decimal(0)
    refunding: Decimal = Decimal(0)
    carried_out: Decimal = Decimal(0)
    receivable: Decimal = Decimal(0)

    @property
    def captured(self) -> Decimal:
        return self.amount if self.payment_status in CAPTURED else Decimal(0)


def difference(money: Money) -> Difference | None:
    """What does not fit together, the worst first. What is on its way back is no difference."""
    is_captured, stands = money.payment_status in CAPTURED, money.order_status in STANDING
    kept = money.captured - money.refunded
    if stands and not is_captured:
        return Difference.CONFIRMED_NOT_CAPTURED
    if not stands and kept > money.refunding:
        return Difference.CAPTURED_NOT_ORDERED
    if stands and (money.captured, money.payment_currency) != (money.price, money.order_currency):
        return Difference.AMOUNT_DIFFERS
    if money.refunded != money.carried_out:
        return Difference.REFUNDS_DIFFER
    if money.receivable != kept:
        return Difference.LEDGER_DIFFERS
    return None
