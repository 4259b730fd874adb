"""Which orders are meant: filters, words and who may see what, answered by ids, newest first.

Owns: the SQL that finds. Each way to an order is a look-up of its own in an index, limited in itself; a search is the
union of them, and every filter holds inside each. The texts are put together once, when this module is loaded; what
is not asked for (a null parameter) is folded away by PostgreSQL's planner, because psycopg2 writes values into the
statement. Must not know: how what was found is shown (reading.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from order_service.access import Sight
from shared.database import Transaction
from shared.time_ids import first_id, last_id

_HEX = re.compile(r"[0-9a-f]{8,32}")
# Lists show this much of an id: its end, since those made in the same minute begin alike.
_TAIL = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """``since`` is inside the period in which an order was placed, ``until`` is not."""

    limit: int
    status: str | None = None
    user_id: str | None = None
    seller_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFilter(Filter):
    """``before`` is the last id of the page before."""

    before: UUID | None = None
    item: str | None = None


# (where from, on which condition): each is served by an index.
ANY = (("orders o", "true"),)
BY_TEXT = (
    ("orders o", "o.id between cast(:lowest as uuid) and cast(:highest as uuid)"),
    # Of the items, not the orders: their rows never change, so the index is written once.
    (
        "order_items t join orders o on o.id = t.order_id",
        "right(cast(t.order_id as text), 8) = cast(:tail as text)",
    ),
    ("orders o", "o.user_id = :text"),
    ("orders o", "o.seller_id = :text"),
    ("orders o", "o.tracking = :text"),
    ("order_items t join orders o on o.id = t.order_id", "t.item = :text"),
    (
        "orders o",
        "o.id in (select e.order_id from order_events e where e.correlation_id = :text and e.causation_id is null)",
    ),
)
_OF_ITEM = "join order_items w on w.order_id = o.id and w.item = :item"
_SIGHTS = ("cast(:sees_all as boolean)", "o.user_id = :own_user", "o.seller_id = :own_seller")
# Ids are in the order of time, give or take a clock: a period bounds them too, so no index on created_at is needed.
FILTERS = """(cast(:status as text) is null or o.status = :status)
  and (cast(:user_id as text) is null or o.user_id = :user_id)
  and (cast(:seller_id as text) is null or o.seller_id = :seller_id)
  and (cast(:since as timestamptz) is null
       or o.created_at >= cast(:since as timestamptz) and o.id >= cast(:first_id as uuid))
  and (cast(:until as timestamptz) is null
       or o.created_at < cast(:until as timestamptz) and o.id <= cast(:last_id as uuid))"""
_BEFORE = "(cast(:before as uuid) is null or o.id < cast(:before as uuid))"


def _orders(ways: tuple[tuple[str, str], ...], join: str) -> TextClause:
    branches = (
        f"(select o.id from {source} {join} where {condition} and {sight} and {_BEFORE} and {FILTERS} "  # noqa: S608
        "order by o.id desc limit :limit)"
        for (source, condition), sight in product(ways, _SIGHTS)
    )
    return text(f"{' union '.join(branches)} order by 1 desc limit :limit")


# Whether a text is looked for, and whether an item
_ORDERS = {
    (False, False): _orders(ANY, ""),
    (False, True): _orders(ANY, _OF_ITEM),
    (True, False): _orders(BY_TEXT, ""),
    (True, True): _orders(BY_TEXT, _OF_ITEM),
}


def find_orders(tx: Transaction, sight: Sight, wanted: OrderFilter) -> list[UUID]:
    """At most ``limit`` ids of the orders that are meant and seen, newest first."""
    rows = tx.fetch(
        _ORDERS[wanted.text is not None, wanted.item is not None],
        limit=wanted.limit,
        before=wanted.before,
        **({} if wanted.item is None else {"item": wanted.item}),
        **filter_parameters(wanted),
        sees_all=sight.sees_all,
        own_user=sight.user_id,
        own_seller=sight.seller_id,
        **text_parameters(wanted.text),
    )
    return [row.id for row in rows]


def filter_parameters(wanted: Filter) -> dict[str, Any]:
    """Those of FILTERS."""
    return {
        "status": wanted.status,
        "user_id": wanted.user_id,
        "seller_id": wanted.seller_id,
        "since": wanted.since,
        "until": wanted.until,
        "first_id": wanted.since and first_id(wanted.since),
        "last_id": wanted.until and last_id(wanted.until),
    }


def text_parameters(sought: str | None) -> dict[str, Any]:
    if sought is None:
        return {}
    lowest, highest = prefix_range(sought) or (None, None)
    return {"text": sought, "lowest": lowest, "highest": highest, "tail": tail(sought)}


def tail(sought: str) -> str | None:
    """The last 8 characters of ids that ``sought`` can be; None if it is something else."""
    written = sought.lower()
    return written if _TAIL.fullmatch(written) else None


def prefix_range(sought: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin with ``sought``; None if no id does, or too many would."""
    written = sought.lower()
    digits = written.replace("-", "")
    if not _HEX.fullmatch(digits):
        return None
    lowest, highest = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    is_prefix = written == digits or str(lowest).startswith(written)
    return (lowest, highest) if is_prefix else None
