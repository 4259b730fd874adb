"""The inbox: an event is applied at most once, because claiming it and its effect are one transaction.

Owns: the table's shape and the claim. Must not know: what applying an event means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import DateTime, Index, Text, text
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared.config import Source
from shared.database import Sessions, Transaction, purge, transaction
from shared.envelope import Received
from shared.errors import Forbidden, InvalidRequest, OlderThanHorizon
from shared.identity import Identity, Role
from shared.logs import get_logger
from shared.metrics import counter
from shared.order_log import ids_of, say_in_parts

log = get_logger(__name__)

DUPLICATES = counter("ordersaga_inbox_duplicates", "Events that had been applied before", ("event",))

T = TypeVar("T")
R = TypeVar("R")


@declarative_mixin
class InboxTable:
    """Columns of ``inbox``; each service's models.py makes the table out of it."""

    __tablename__ = "inbox"

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_type: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        return (Index("inbox_received", "received_at", postgresql_using="brin"),)


# Sorted, so that two replicas with overlapping batches wait for each other instead of deadlocking.
_CLAIM = text("""
insert into inbox (event_id, event_type, received_at)
select distinct event_id, cast(:event_type as text), transaction_timestamp()
from unnest(cast(:ids as uuid[])) as ids(event_id)
order by event_id
on conflict do nothing
returning event_id, transaction_timestamp() as now
""")


HORIZON = timedelta(days=7)
"""How old an event may be and still be applied (setting INBOX_HORIZON_S)."""
CLOCK_MARGIN = timedelta(days=1)
"""Rows are kept this much longer than the horizon: publishers stamp events by their own database's clock."""

_KNOWN = text("select event_id from inbox where event_id = any(cast(:ids as uuid[]))")
_PURGE = text("""
delete from inbox where ctid = any(array(
    select ctid from inbox where received_at < cast(:now as timestamptz) - cast(:kept as interval) limit 5000))
""")


def read_horizon(source: Source) -> timedelta:
    """The setting, as each service's settings.py has it."""
    return timedelta(seconds=source.seconds("INBOX_HORIZON_S", HORIZON.total_seconds()))


def claim(tx: Transaction, events: Sequence[Received[T]]) -> list[Received[T]]:
    """Those of ``events`` (all of one type) that were never applied before, in their order, each once.

    A claim that another transaction holds makes this one wait until that one ends.
    """
    ids = [str(event.envelope.event_id) for event in events]
    rows = tx.fetch(_CLAIM, ids=ids, event_type=events[0].envelope.type)
    if rows:
        tx.happens_at(rows[0].now)
    unseen = {row.event_id for row in rows}
    fresh: list[Received[T]] = []
    known: list[Received[T]] = []
    for event in events:
        if event.envelope.event_id in unseen:
            unseen.remove(event.envelope.event_id)
            fresh.append(event)
        else:
            known.append(event)
    if known:
        seen = DUPLICATES.labels(events[0].envelope.type)
        tx.after_commit(partial(seen.inc, len(known)))
        say_in_parts(log, "events_known_already", ids_of(known), type=events[0].envelope.type)
    return fresh


def apply_once(
    sessions: Sessions,
    events: Sequence[Received[T]],
    handle: Callable[[Transaction, Sequence[Received[T]]], R],
    *,
    horizon: timedelta,
) -> R | None:
    """Run ``handle`` on the events not applied before; claim and effect commit together or not at all.

    Returns what ``handle`` returned, after the commit; None when every event had been applied before.
    Raises OlderThanHorizon if any event that is not known is so old that it may have been applied and forgotten.
    """
    with transaction(sessions) as tx:
        fresh = claim(tx, events)
        # crash point: inbox.claimed
        if not fresh:
            return None
        refuse_older(fresh, tx.now - horizon)
        return handle(tx, fresh)


def refuse_older(events: Sequence[Received[T]], oldest: datetime) -> None:
    """Raises OlderThanHorizon for the first that occurred before ``oldest``."""
    for event in events:
        if event.envelope.occurred_at < oldest:
            raise OlderThanHorizon(
                f"occurred at {event.envelope.occurred_at.isoformat()}: whether it was applied is no longer known",
                {"eventId": str(event.envelope.event_id), "oldest": oldest.isoformat()},
            )


def known(tx: Transaction, caller: Identity, event_ids: Any) -> list[str]:
    """Those of ``event_ids`` that were applied (and not forgotten since). Raises Forbidden, InvalidRequest."""
    if not caller.has(Role.ADMIN):
        raise Forbidden("the inbox is for operators")
    try:
        ids = [str(UUID(id_)) for id_ in event_ids]
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest("event_ids must be a list of UUIDs") from error
    return [str(row.event_id) for row in tx.fetch(_KNOWN, ids=ids)]


def forget(sessions: Sessions, *, horizon: timedelta) -> None:
    """Purge what can no longer be asked for: older than the horizon, and a margin for clocks that differ."""
    purge(sessions, _PURGE, kept=horizon + CLOCK_MARGIN)
