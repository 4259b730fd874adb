"""The transactional outbox: events are rows of the same transaction as the change they tell of.

Owns: the table's shape, recording, and the relay's reading, marking, parking and purging of rows.
Must not know: how rows reach the broker (relay.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared.database import Transaction
from shared.envelope import Envelope, Outgoing

NOTIFY_CHANNEL = "outbox"


@declarative_mixin
class OutboxTable:
    """Columns of ``outbox``; each service's models.py makes the table out of it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[UUID]
    event_type: Mapped[str] = mapped_column(Text)
    aggregate_id: Mapped[str] = mapped_column(Text)
    correlation_id: Mapped[str] = mapped_column(Text)
    causation_id: Mapped[UUID | None]
    schema_version: Mapped[int] = mapped_column(SmallInteger)
    traceparent: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[Any] = mapped_column(JSON)
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    published_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    refusals: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    parked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        return (
            Index("outbox_unpublished", "id", postgresql_where=text("published_at is null")),
            Index(
                "outbox_parked",
                "aggregate_id",
                "id",
                postgresql_where=text("published_at is null and parked_until is not null"),
            ),
        )


# One statement, one round trip, whatever the number of rows. A notification is a hint only; the relay polls too.
_RECORD = text(f"""
with recorded as (
    insert into outbox (event_id, event_type, aggregate_id, correlation_id, causation_id,
                        schema_version, traceparent, payload, occurred_at)
    select event_id, event_type, aggregate_id, correlation_id, causation_id,
           schema_version, traceparent, payload, occurred_at
    from json_to_recordset(cast(:rows as json)) as r(
        event_id uuid, event_type text, aggregate_id text, correlation_id text, causation_id uuid,
        schema_version smallint, traceparent text, payload json, occurred_at timestamptz)
)
select pg_notify('{NOTIFY_CHANNEL}', '')
""")  # noqa: S608


def record(tx: Transaction, events: Sequence[Outgoing]) -> None:
    """Add ``events`` to the outbox, to be published once the transaction has committed, in this order."""
    tx.save(_RECORD, [_row(event) for event in events])
    # crash point: outbox.recorded


def _row(event: Outgoing) -> dict[str, Any]:
    envelope = event.envelope
    return {
        "event_id": envelope.event_id,
        "event_type": envelope.type,
        "aggregate_id": event.aggregate_id,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "schema_version": envelope.schema_version,
        "traceparent": envelope.traceparent,
        "payload": event.payload,
        "occurred_at": envelope.occurred_at,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """An unpublished event as the relay reads it; ``body`` is the payload's JSON exactly as recorded."""

    id: int
    aggregate_id: str
    envelope: Envelope
    body: bytes


# The relay's statements run on a psycopg2 connection of its own, in autocommit.
# Unpublished rows by id, never "id > last seen": a transaction that commits late would be skipped for ever.
# Rows behind a parked row of their aggregate wait with it, so that the order per aggregate is kept. Parked ones are
# looked up once and not per row: with statistics from a time when nothing waited, the planner read all that wait for
# each of them, 0.4 s a window with 4,000 waiting. The order is that of outbox_parked, which has only those.
READ_UNPUBLISHED = """
with parked as materialized (
    select distinct on (aggregate_id) aggregate_id, id
    from outbox
    where published_at is null and parked_until > now()
    order by aggregate_id, id
)
select o.id, o.aggregate_id, o.event_id, o.event_type, o.correlation_id, o.causation_id,
       o.schema_version, o.traceparent, o.payload::text, o.occurred_at
from outbox o
where o.published_at is null
  and not exists (select 1 from parked p where p.aggregate_id = o.aggregate_id and p.id <= o.id)
order by o.id
limit %(limit)s
"""
MARK_PUBLISHED = "update outbox set published_at = now(), parked_until = null where id = any(%(ids)s)"
PARK_REFUSED = """
update outbox
set refusals = least(refusals + 1, 1000),
    parked_until = now() + least(power(2, least(refusals, 10)), 60) * interval '1 second'
where id = any(%(ids)s)
"""
# By id, not by date: no index to keep, and the oldest rows lie together.
PURGE_CHUNK = 5000
PURGE_PUBLISHED = f"""
delete from outbox
where id in (select id from outbox order by id limit {PURGE_CHUNK})
  and published_at < now() - %(retention_s)s * interval '1 second'
"""  # noqa: S608


def row_from_record(record: Sequence[Any], source: str) -> OutboxRow:
    """A READ_UNPUBLISHED record as a value; ``source`` is the publishing service."""
    (id_, aggregate_id, event_id, event_type, correlation_id, causation_id, version, trace, payload, at) = record
    return OutboxRow(
        id=id_,
        aggregate_id=aggregate_id,
        body=payload.encode(),
        envelope=Envelope(
            event_id=UUID(event_id),
            type=event_type,
            source=source,
            correlation_id=correlation_id,
            causation_id=UUID(causation_id) if causation_id else None,
            occurred_at=at,
            schema_version=version,
            traceparent=trace,
        ),
    )
