"""The timer that puts finished orders away, a few at a time and only while there is little else to do.

Owns: which orders are old enough, the size of a batch, when it gives way to traffic.
Must not know: how an order looks (requests.py), tables (archive.py, reading.py).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service import archive, reading
from order_service.requests import whole_order
from order_service.returns import ReturnStatus
from order_service.settings import Settings
from order_service.states import OrderStatus
from shared.database import Sessions, Transaction, transaction
from shared.time_ids import last_id

AT_ONCE = 50
LONGEST_TICK_S = 45.0
BUSY_BACKLOG = 200
_FINISHED = (OrderStatus.FULFILLED, OrderStatus.CANCELLED)
# Counts no further than it needs to; served by the relay's own index.
_BACKLOG = text("""
select count(*) as unpublished from (select 1 from outbox where published_at is null limit :most) w
""")


def archive_finished(sessions: Sessions, settings: Settings) -> None:
    """Batch after batch for most of a minute; the next tick goes on.

    After each it rests as long as that took: a batch holds the whole process, whose other half is for traffic.
    """
    if settings.archive_after is None:
        return
    end = time.monotonic() + LONGEST_TICK_S
    while (begin := time.monotonic()) < end:
        with transaction(sessions) as tx:
            done = archive_some(tx, settings)
        if done < AT_ONCE:
            return
        time.sleep(time.monotonic() - begin)


def archive_some(tx: Transaction, settings: Settings) -> int:
    """Put away at most AT_ONCE orders; returns how many. Safe on every replica, and beside everything else.

    None while the outbox is behind: orders that are placed need the database more.
    """
    if settings.archive_after is None or tx.fetch(_BACKLOG, most=BUSY_BACKLOG)[0].unpublished >= BUSY_BACKLOG:
        return 0
    before = tx.now - settings.archive_after
    ids: list[UUID] = []
    for status in _FINISHED:
        if len(ids) < AT_ONCE:
            ids += archive.over_for_update(tx, status, last_id(before), before, AT_ONCE - len(ids))
    if ids:
        # Read by statements that begin after the locks are held: nothing can be added to these orders any more.
        archive.put_away(tx, _documents(tx, ids))
    return len(ids)


def _is_over(returns: Iterable[Mapping[str, Any]]) -> bool:
    """A return leaves its order's row as it is: one that was asked for in the last moment is only seen now."""
    return all(taken_back["status"] != ReturnStatus.REQUESTED for taken_back in returns)


def _documents(tx: Transaction, ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
    orders = reading.order_rows(tx, ids)
    items, returns = _by_order(reading.items_of(tx, ids)), _by_order(reading.returns_of(tx, ids))
    history, events = _by_order(reading.history_of(tx, ids)), _by_order(reading.events_of(tx, ids))
    return {
        id_: whole_order(*orders[id_], items=items[id_], returns=returns[id_], history=history[id_], events=events[id_])
        for id_ in ids
        if _is_over(returns[id_])
    }


def _by_order(rows: Iterable[Mapping[str, Any]]) -> Mapping[UUID, list[Mapping[str, Any]]]:
    found: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["order_id"]].append(row)
    return found
