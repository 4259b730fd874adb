"""The inbox: an event is applied at most once, because claiming it and its effect are one transaction.

Owns: the table's shape and the claim. Must not know: what applying an event means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import DateTime, Index, Text, text
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared.database import Sessions, Transaction, transaction
from shared.envelope import Received

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
select distinct event_id, cast(:event_type as text), cast(:now as timestamptz)
from unnest(cast(:ids as uuid[])) as ids(event_id)
order by event_id
on conflict do nothing
returning event_id
""")


KEPT_DAYS = 7
# An event delivered again after this is no longer known here; only the state of what it is about can refuse it.
PURGE = text(f"""
delete from inbox where ctid = any(array(
    select ctid from inbox where received_at < cast(:now as timestamptz) - interval '{KEPT_DAYS} days' limit 5000))
""")  # noqa: S608


def claim(tx: Transaction, events: Sequence[Received[T]]) -> list[Received[T]]:
    """Those of ``events`` (all of one type) that were never applied before, in their order, each once.

    A claim that another transaction holds makes this one wait until that one ends.
    """
    ids = [str(event.envelope.event_id) for event in events]
    rows = tx.fetch(_CLAIM, ids=ids, event_type=events[0].envelope.type, now=tx.now)
    unseen = {row.event_id for row in rows}
    fresh = []
    for event in events:
        if event.envelope.event_id in unseen:
            unseen.remove(event.envelope.event_id)
            fresh.append(event)
    return fresh


def apply_once(
    sessions: Sessions,
    events: Sequence[Received[T]],
    handle: Callable[[Transaction, Sequence[Received[T]]], R],
) -> R | None:
    """Run ``handle`` on the events not applied before; claim and effect commit together or not at all.

    Returns what ``handle`` returned, after the commit; None when every event had been applied before.
    """
    with transaction(sessions) as tx:
        fresh = claim(tx, events)
        return handle(tx, fresh) if fresh else None
