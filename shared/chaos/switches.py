"""Chaos switches in a service's database.

Owns: the table's shape and every statement on it. Must not know: what a kind means, who may set one.
The database's clock alone says whether a switch has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Float, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared.database import Transaction
from shared.envelope import new_id
from shared.event_schema import moment_text

CHAOS_TABLE_V1 = """
create table chaos_switches (
    id uuid primary key,
    kind text not null,
    target text not null,
    amount double precision not null,
    note text not null,
    set_by text not null,
    set_at timestamptz not null,
    until timestamptz not null,
    constraint chaos_switches_one unique (kind, target)
);
"""
"""Used by one migration of each service and never changed again."""


@declarative_mixin
class ChaosSwitchTable:
    """Columns of ``chaos_switches``; each service's models.py makes the table out of it."""

    __tablename__ = "chaos_switches"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    amount: Mapped[float] = mapped_column(Float(53))
    note: Mapped[str] = mapped_column(Text)
    set_by: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        return (UniqueConstraint("kind", "target", name="chaos_switches_one"),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """One that is on. ``remaining_s``: until its end, when it was read."""

    id: UUID
    kind: str
    target: str
    amount: float
    note: str
    set_by: str
    set_at: datetime
    until: datetime
    remaining_s: float

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "target": self.target,
            "amount": self.amount,
            "note": self.note,
            "setBy": self.set_by,
            "setAt": moment_text(self.set_at),
            "until": moment_text(self.until),
            "remainingS": round(self.remaining_s, 1),
        }


_COLUMNS = """
id, kind, target, amount, note, set_by, set_at, until,
cast(extract(epoch from until - clock_timestamp()) as double precision) as remaining_s
"""
READ_SWITCHES = f"""
select {_COLUMNS} from chaos_switches where until > clock_timestamp() order by set_at, id
"""  # noqa: S608
"""For whoever has a connection of its own."""
_ACTIVE = text(READ_SWITCHES)
# The same trouble for the same target is one switch: setting it again changes it.
_SET = text(f"""
insert into chaos_switches (id, kind, target, amount, note, set_by, set_at, until)
values (:id, :kind, :target, :amount, :note, :set_by, :now, :until)
on conflict (kind, target) do update
set id = excluded.id, amount = excluded.amount, note = excluded.note, set_by = excluded.set_by,
    set_at = excluded.set_at, until = excluded.until
returning {_COLUMNS}
""")  # noqa: S608
_FORGET_ENDED = text("delete from chaos_switches where until <= clock_timestamp()")
_CLEAR = text(f"""
delete from chaos_switches
where until > clock_timestamp() and (cast(:id as uuid) is null or id = cast(:id as uuid))
returning {_COLUMNS}
""")  # noqa: S608


def switches_of(rows: Iterable[Mapping[str, Any]]) -> list[Switch]:
    return [Switch(**row) for row in rows]


def active(tx: Transaction) -> list[Switch]:
    """Those that are on, the oldest first."""
    return _switches(tx.fetch(_ACTIVE))


def set_switch(
    tx: Transaction, *, kind: str, target: str, amount: float, note: str, set_by: str, until: datetime
) -> Switch:
    """Switch it on, in place of the one of the same kind and target if there is one."""
    tx.execute(_FORGET_ENDED)
    values = {"kind": kind, "target": target, "amount": amount, "note": note, "set_by": set_by, "until": until}
    return _switches(tx.fetch(_SET, id=new_id(), now=tx.now, **values))[0]


def clear(tx: Transaction, id_: UUID | None) -> list[Switch]:
    """Switch off the one with this id, or all; those that were on."""
    return _switches(tx.fetch(_CLEAR, id=id_))


def until_of(tx: Transaction, duration_s: float) -> datetime:
    return tx.now + timedelta(seconds=duration_s)


def _switches(rows: Iterable[Any]) -> list[Switch]:
    return switches_of(row._mapping for row in rows)
