"""The audit log: who did what to which thing, kept in the transaction that did it.

Owns: the table's shape, writing to it, reading it page by page. Must not know: what any action means.
Append-only: a trigger of the migration refuses to change or delete a row, and where `ops.sealing` has made somebody
else the table's owner, the service's own role can neither take the trigger away nor do without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared import pages
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import Forbidden
from shared.event_schema import moment_text
from shared.identity import Identity, Role
from shared.time_ids import first_id, last_id

AUDIT_TABLE_V1 = """
create table audit_log (
    id uuid primary key,
    at timestamptz not null,
    actor text not null,
    roles text not null,
    action text not null,
    object_type text not null,
    object_id text not null,
    request_id text,
    before jsonb,
    after jsonb
);
create index audit_log_object on audit_log (object_type, object_id);
create function audit_log_is_append_only() returns trigger language plpgsql as
$$ begin raise exception 'audit_log is append-only'; end $$;
create trigger audit_log_append_only before update or delete or truncate on audit_log
    for each statement execute function audit_log_is_append_only();
"""
"""Used by one migration of each service and never changed again."""
AUDIT_INDEXES_V2 = """
create index audit_log_actor on audit_log (actor, id);
create index audit_log_action on audit_log (action, id);
create index audit_log_object_id on audit_log (object_id, id);
"""


@declarative_mixin
class AuditLogTable:
    """Columns of ``audit_log``; each service's models.py makes the table out of it."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str] = mapped_column(Text)
    roles: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    object_type: Mapped[str] = mapped_column(Text)
    object_id: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    before: Mapped[Any | None] = mapped_column(JSONB)
    after: Mapped[Any | None] = mapped_column(JSONB)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        return (
            Index("audit_log_object", "object_type", "object_id"),
            Index("audit_log_actor", "actor", "id"),
            Index("audit_log_action", "action", "id"),
            Index("audit_log_object_id", "object_id", "id"),
        )


_INSERT = text("""
insert into audit_log (id, at, actor, roles, action, object_type, object_id, request_id, before, after)
values (:id, :now, :actor, :roles, :action, :object_type, :object_id, :request_id,
        cast(:before as jsonb), cast(:after as jsonb))
""")
# Ids are in the order of time: a period bounds them too.
_NEWEST = text("""
select id, at, actor, roles, action, object_type, object_id, request_id, before, after from audit_log
where (cast(:before_id as uuid) is null or id < cast(:before_id as uuid))
  and (cast(:actor as text) is null or actor = :actor)
  and (cast(:action as text) is null or action = :action)
  and (cast(:object_type as text) is null or object_type = :object_type)
  and (cast(:object_id as text) is null or object_id = :object_id)
  and (cast(:since as timestamptz) is null
       or at >= cast(:since as timestamptz) and id >= cast(:first_id as uuid))
  and (cast(:until as timestamptz) is null
       or at < cast(:until as timestamptz) and id <= cast(:last_id as uuid))
order by id desc limit :limit
""")


def record(
    tx: Transaction,
    caller: Identity,
    action: str,
    object_type: str,
    object_id: object,
    *,
    request_id: str | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """One line. ``before`` and ``after`` are JSON-ready and hold what the action changed, no secrets."""
    tx.execute(
        _INSERT,
        id=new_id(),
        now=tx.now,
        actor=caller.subject,
        roles=",".join(sorted(caller.roles)),
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        request_id=request_id,
        before=_json(before),
        after=_json(after),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """As it comes with a request: nothing in it is checked yet. ``since`` is inside the period, ``until`` is not."""

    actor: Any = None
    action: Any = None
    object_type: Any = None
    object_id: Any = None
    since: Any = None
    until: Any = None


def page(
    tx: Transaction, caller: Identity, *, limit: Any, cursor: Any, wanted: AuditFilter = AuditFilter()
) -> dict[str, Any]:
    """{"entries": newest first, "nextCursor"}. For ADMIN. Raises Forbidden, InvalidRequest."""
    if not caller.has(Role.ADMIN):
        raise Forbidden("the audit log is for operators")
    pages.check_limit(limit)
    since, until = pages.filter_moment("since", wanted.since), pages.filter_moment("until", wanted.until)
    found = tx.fetch(
        _NEWEST,
        limit=limit + 1,
        before_id=pages.id_cursor(cursor),
        actor=pages.filter_text("actor", wanted.actor),
        action=pages.filter_text("action", wanted.action),
        object_type=pages.filter_text("objectType", wanted.object_type),
        object_id=pages.filter_text("objectId", wanted.object_id),
        since=since,
        until=until,
        first_id=since and first_id(since),
        last_id=until and last_id(until),
    )
    shown, next_cursor = pages.cut([_entry(row) for row in found], limit, "id")
    return {"entries": shown, "nextCursor": next_cursor}


def _entry(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "at": moment_text(row.at),
        "actor": row.actor,
        "roles": row.roles.split(",") if row.roles else [],
        "action": row.action,
        "objectType": row.object_type,
        "objectId": row.object_id,
        "requestId": row.request_id,
        "before": row.before,
        "after": row.after,
    }


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value, default=str).decode()
