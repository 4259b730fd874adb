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
from order_service.board import Board
from shared.database import Transaction

LARGEST_CLOCK_ERROR_MS = 24 * 3_600_000
_LARGEST_MOMENT = 2**48 - 1  # of an id, in ms
_HEX = re.compile(r"[0-9a-f]{8,32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFilter:
    """``since`` is inside the period, ``until`` is not; ``before`` is the last id of the page before."""

    limit: int
    before: UUID | None = None
    status: str | None = None
    user_id: str | None = None
    seller_id: str | None = None
    item: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFilter:
    """``before``: rank and id of the last one of the page before."""

    limit: int
    board: Board | None = None
    before: tuple[int, UUID] | None = None
    text: str | None = None


# (where from, on which condition): each is served by an index.
_ANY = (("orders o", "true"),)
_BY_TEXT = (
    ("orders o", "o.id between cast(:lowest as uuid) and cast(:highest as uuid)"),
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
_FILTERS = """(cast(:before as uuid) is null or o.id < cast(:before as uuid))
  and (cast(:status as text) is null or o.status = :status)
  and (cast(:user_id as text) is null or o.user_id = :user_id)
  and (cast(:seller_id as text) is null or o.seller_id = :seller_id)
  and (cast(:since as timestamptz) is null
       or o.created_at >= cast(:since as timestamptz) and o.id >= cast(:first_id as uuid))
  and (cast(:until as timestamptz) is null
       or o.created_at < cast(:until as timestamptz) and o.id <= cast(:last_id as uuid))"""


def _orders(ways: tuple[tuple[str, str], ...], join: str) -> TextClause:
    branches = (
        f"(select o.id from {source} {join} where {condition} and {sight} and {_FILTERS} "  # noqa: S608
        "order by o.id desc limit :limit)"
        for (source, condition), sight in product(ways, _SIGHTS)
    )
    return text(f"{' union '.join(branches)} order by 1 desc limit :limit")


# Whether a text is looked for, and whether an item
_ORDERS = {
    (False, False): _orders(_ANY, ""),
    (False, True): _orders(_ANY, _OF_ITEM),
    (True, False): _orders(_BY_TEXT, ""),
    (True, True): _orders(_BY_TEXT, _OF_ITEM),
}

_STUCK, _OTHERS = 0, 1
_RUNNING = (
    "o.status = 'PENDING'",
    "o.status = 'RESERVED'",
    "o.status = 'CONFIRMED'",
    "o.status = 'CANCELLED' and o.settled_at is null",
)
_ENDED = ("o.status = 'FULFILLED'", "o.status = 'CANCELLED' and o.settled_at is not null")
_BOARD_IS = "cast(:board as text) = "
_IS_RUNNING = f"({' or '.join(f'({condition})' for condition in _RUNNING)})"
_FLAGGED = (_STUCK, f"o.flag is not null and coalesce(:board, '') <> '{Board.ENDED}'")
_NOT_FLAGGED = "o.flag is null and"
# (rank, condition): alone, each is served by an index; beside a text they filter what that found.
_SHELVES = (
    _FLAGGED,
    (_OTHERS, f"{_NOT_FLAGGED} cast(:board as text) is null"),
    *((_OTHERS, f"{_NOT_FLAGGED} {_BOARD_IS} '{Board.RUNNING}' and {running}") for running in _RUNNING),
    *((_OTHERS, f"{_NOT_FLAGGED} {_BOARD_IS} '{Board.ENDED}' and {ended}") for ended in _ENDED),
)
_SHELVES_OF_FOUND = (
    _FLAGGED,
    (
        _OTHERS,
        f"{_NOT_FLAGGED} (cast(:board as text) is null or {_BOARD_IS} '{Board.RUNNING}' and {_IS_RUNNING}"
        f" or {_BOARD_IS} '{Board.ENDED}' and not {_IS_RUNNING})",
    ),
)


def _sagas(ways: tuple[tuple[str, str], ...], shelves: tuple[tuple[int, str], ...]) -> TextClause:
    branches = (
        f"(select {rank} as rank, o.id from {source} where {condition} and {shelf} "  # noqa: S608
        f"and (cast(:rank as int) is null or {rank} > :rank or {rank} = :rank and o.id < cast(:before as uuid)) "
        "order by o.id desc limit :limit)"
        for (source, condition), (rank, shelf) in product(ways, shelves)
    )
    return text(f"{' union '.join(branches)} order by 1, 2 desc limit :limit")


_SAGAS, _SAGAS_BY_TEXT = _sagas(_ANY, _SHELVES), _sagas(_BY_TEXT, _SHELVES_OF_FOUND)


def find_orders(tx: Transaction, sight: Sight, wanted: OrderFilter) -> list[UUID]:
    """At most ``limit`` ids of the orders that are meant and seen, newest first."""
    rows = tx.fetch(
        _ORDERS[wanted.text is not None, wanted.item is not None],
        limit=wanted.limit,
        before=wanted.before,
        status=wanted.status,
        user_id=wanted.user_id,
        seller_id=wanted.seller_id,
        **({} if wanted.item is None else {"item": wanted.item}),
        since=wanted.since,
        until=wanted.until,
        first_id=wanted.since and first_id(wanted.since),
        last_id=wanted.until and last_id(wanted.until),
        sees_all=sight.sees_all,
        own_user=sight.user_id,
        own_seller=sight.seller_id,
        **_text_parameters(wanted.text),
    )
    return [row.id for row in rows]


def find_sagas(tx: Transaction, wanted: SagaFilter) -> list[tuple[int, UUID]]:
    """At most ``limit`` (rank, id): what is flagged first, then newest first."""
    rank, before = wanted.before or (None, None)
    rows = tx.fetch(
        _SAGAS if wanted.text is None else _SAGAS_BY_TEXT,
        limit=wanted.limit,
        board=wanted.board,
        rank=rank,
        before=before,
        **_text_parameters(wanted.text),
    )
    return [(row.rank, row.id) for row in rows]


def _text_parameters(sought: str | None) -> dict[str, Any]:
    if sought is None:
        return {}
    lowest, highest = prefix_range(sought) or (None, None)
    return {"text": sought, "lowest": lowest, "highest": highest}


def prefix_range(sought: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin with ``sought``; None if no id does, or too many would."""
    written = sought.lower()
    digits = written.replace("-", "")
    if not _HEX.fullmatch(digits):
        return None
    lowest, highest = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    is_prefix = written == digits or str(lowest).startswith(written)
    return (lowest, highest) if is_prefix else None


def first_id(moment: datetime) -> UUID:
    """No id made at ``moment`` or later is less, even where its maker's clock is slow."""
    return UUID(int=_milliseconds(moment, -LARGEST_CLOCK_ERROR_MS) << 80)


def last_id(moment: datetime) -> UUID:
    """No id made at ``moment`` or before is greater, even where its maker's clock is fast."""
    return UUID(int=(_milliseconds(moment, LARGEST_CLOCK_ERROR_MS) + 1 << 80) - 1)


def _milliseconds(moment: datetime, further: int) -> int:
    return min(max(int(moment.timestamp() * 1000) + further, 0), _LARGEST_MOMENT)
