"""The SQL of what is asked: sums by day, seller and currency, orders that do not fit together, how far all is told.

Owns: those statements. Must not know: who asks, how answers look.

Days are those of UTC. An order counts on the day on which it was placed, money on the day on which it moved: a column
of money and one of orders agree over all days, and on one of them only by chance. `ordered_captured` is of the orders
of the same row, whenever they were paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text

from finance_service.domain import CAPTURED, RECEIVABLE, STANDING
from shared.database import Transaction

_CAPTURED = ", ".join(repr(status) for status in CAPTURED)
_STANDING = ", ".join(repr(status) for status in STANDING)
# Payments of an older release bear no seller; their order does.
_SELLER = "coalesce(p.seller_id, o.seller_id, '')"
_OF_ORDER = "left join orders o on o.id = p.order_id"
_SUMS = (
    "placed_orders",
    "placed",
    "standing_orders",
    "ordered",
    "ordered_captured",
    "payments",
    "captured",
    "refunds",
    "refunded",
)
_MOVED = f"""
select cast(o.created_at at time zone 'UTC' as date) as day, o.seller_id, o.currency, 1 as placed_orders,
       o.price as placed, cast(o.status in ({_STANDING}) as int) as standing_orders,
       case when o.status in ({_STANDING}) then o.price else 0 end as ordered,
       case when o.status in ({_STANDING}) and p.status in ({_CAPTURED}) and p.currency = o.currency
            then p.amount else 0 end as ordered_captured,
       0 as payments, 0 as captured, 0 as refunds, 0 as refunded
from orders o left join payments p on p.order_id = o.id and not p.is_gone
where not o.is_gone and o.created_at >= :since and o.created_at < :until
union all
select cast(p.captured_at at time zone 'UTC' as date), {_SELLER}, p.currency, 0, 0, 0, 0, 0, 1, p.amount, 0, 0
from payments p {_OF_ORDER}
where not p.is_gone and p.status in ({_CAPTURED}) and p.captured_at >= :since and p.captured_at < :until
union all
select cast(f.ended_at at time zone 'UTC' as date), {_SELLER}, f.currency, 0, 0, 0, 0, 0, 0, 0, 1, f.amount
from refunds f left join payments p using (order_id) left join orders o on o.id = f.order_id
where not f.is_gone and f.status = 'SUCCEEDED' and f.ended_at >= :since and f.ended_at < :until
"""  # noqa: S608 -- names of our own
_ADDED = ", ".join(f"sum({name}) as {name}" for name in _SUMS)
_WANTED = """
(cast(:seller_id as text) is null or seller_id = :seller_id)
and (cast(:currency as text) is null or currency = :currency)
"""
_ROWS = text(f"""
select day, seller_id, currency, {_ADDED} from ({_MOVED}) as moved
where {_WANTED} and (cast(:after_day as date) is null or day < :after_day
    or (day = :after_day and (seller_id, currency) > (:after_seller, :after_currency)))
group by day, seller_id, currency order by day desc, seller_id, currency limit :limit
""")  # noqa: S608 -- names of our own
_TOTALS = text(f"""
select currency, {_ADDED} from ({_MOVED}) as moved where {_WANTED} group by currency order by currency
""")  # noqa: S608 -- names of our own
# As the ledger tells them: captured and given back, whoever sold it.
_MONEY = text(f"""
select currency, sum(captured) as captured, sum(refunded) as refunded from (
    select currency, amount as captured, 0 as refunded from payments
    where not is_gone and status in ({_CAPTURED}) and captured_at >= :since and captured_at < :until
    union all
    select currency, 0, amount from refunds
    where not is_gone and status = 'SUCCEEDED' and ended_at >= :since and ended_at < :until) as moved
where cast(:currency as text) is null or currency = :currency
group by currency order by currency
""")  # noqa: S608 -- names of our own
_ORDERS_WITH_MONEY = text(f"""
with known as (
    select id from orders where not is_gone and created_at >= :since and created_at < :until
    union
    select order_id from payments where not is_gone and captured_at >= :since and captured_at < :until)
select k.id, {_SELLER} as seller_id, o.status as order_status, o.price, o.currency as order_currency,
       p.status as payment_status, coalesce(p.amount, 0) as amount, p.currency as payment_currency,
       coalesce(p.refunded, 0) as refunded, coalesce(p.refunding, 0) as refunding,
       coalesce(f.carried_out, 0) as carried_out, coalesce(l.receivable, 0) as receivable,
       greatest(o.changed_at, p.changed_at, f.changed_at, l.changed_at) as since
from known k
left join orders o on o.id = k.id and not o.is_gone
left join payments p on p.order_id = k.id and not p.is_gone
left join lateral (
    select sum(amount) filter (where status = 'SUCCEEDED') as carried_out, max(changed_at) as changed_at
    from refunds where order_id = k.id and not is_gone) f on true
left join lateral (
    select sum(amount) filter (where account = '{RECEIVABLE}') as receivable, max(changed_at) as changed_at
    from ledger_entries where order_id = k.id and not is_gone) l on true
where {_WANTED.replace("seller_id =", _SELLER + " =").replace("currency =", "coalesce(p.currency, o.currency) =")}
  and ((coalesce(o.status, '') in ({_STANDING})) <> (coalesce(p.status, '') in ({_CAPTURED}))
       or (o.status in ({_STANDING}) and (p.amount <> o.price or p.currency <> o.currency))
       or coalesce(p.refunded, 0) <> coalesce(f.carried_out, 0)
       or coalesce(l.receivable, 0)
          <> case when p.status in ({_CAPTURED}) then p.amount else 0 end - coalesce(p.refunded, 0))
order by k.id desc limit :limit
""")  # noqa: S608 -- names of our own
_SOURCES = text("select database, as_of, lsn, snapshot_at from sources order by database")
_POSITION = text("""
select next_offset, messages, unreadable, losses, lost_at, lost_from, lost_to from positions where stream = :stream
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Moments of UTC days; None: of all."""

    since: datetime
    until: datetime
    seller_id: str | None = None
    currency: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AfterRow:
    """The last row of the page before."""

    day: date
    seller_id: str
    currency: str


def rows(tx: Transaction, wanted: Wanted, after: AfterRow | None, limit: int) -> Sequence[Any]:
    return tx.fetch(
        _ROWS,
        **_said(wanted),
        after_day=after.day if after else None,
        after_seller=after.seller_id if after else None,
        after_currency=after.currency if after else None,
        limit=limit,
    )


def totals(tx: Transaction, wanted: Wanted) -> Sequence[Any]:
    return tx.fetch(_TOTALS, **_said(wanted))


def money(tx: Transaction, since: datetime, until: datetime, currency: str | None) -> Sequence[Any]:
    return tx.fetch(_MONEY, since=since, until=until, currency=currency)


def suspicious_orders(tx: Transaction, wanted: Wanted, limit: int) -> Sequence[Any]:
    """Newest first; which of them really differ, and how, the domain decides."""
    return tx.fetch(_ORDERS_WITH_MONEY, **_said(wanted), limit=limit)


def sources(tx: Transaction) -> Sequence[Any]:
    return tx.fetch(_SOURCES)


def position(tx: Transaction, stream: str) -> Any | None:
    found = tx.fetch(_POSITION, stream=stream)
    return found[0] if found else None


def _said(wanted: Wanted) -> dict[str, Any]:
    return {
        "since": wanted.since,
        "until": wanted.until,
        "seller_id": wanted.seller_id,
        "currency": wanted.currency,
    }
