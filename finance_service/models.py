"""The finance service's tables.

Owns: names, types, constraints and indexes; a test compares them with what the migrations make.

The four tables of rows are what the stream has told of the tables of the same names: ``lsn`` is the place of the newest
change in its database's log, so that an older one, come again, changes nothing. ``is_gone``: it was deleted there.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Integer, Numeric, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Moment = DateTime(timezone=True)
Amount = Numeric(12, 2)


class Base(DeclarativeBase):
    """Its name is part of nameko-sqlalchemy's configuration key."""


class Order(Base):
    """``changed_at``: when the newest change was committed, of all four tables."""

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seller_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    lsn: Mapped[int] = mapped_column(BigInteger)
    is_gone: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    __table_args__ = (Index("orders_created", "created_at"),)


class Payment(Base):
    """``captured_at`` is the moment of its entry in the ledger; until that is known, of the row's own change."""

    __tablename__ = "payments"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    seller_id: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    refunded: Mapped[Decimal] = mapped_column(Amount)
    refunding: Mapped[Decimal] = mapped_column(Amount)
    captured_at: Mapped[datetime | None] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    lsn: Mapped[int] = mapped_column(BigInteger)
    is_gone: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    __table_args__ = (Index("payments_captured", "captured_at", postgresql_where=text("captured_at is not null")),)


class Refund(Base):
    __tablename__ = "refunds"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    lsn: Mapped[int] = mapped_column(BigInteger)
    is_gone: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    __table_args__ = (
        Index("refunds_order", "order_id"),
        Index("refunds_ended", "ended_at", postgresql_where=text("ended_at is not null")),
    )


class LedgerEntry(Base):
    __tablename__ = "ledger_entries"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    order_id: Mapped[UUID]
    account: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    lsn: Mapped[int] = mapped_column(BigInteger)
    is_gone: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    __table_args__ = (Index("ledger_entries_order", "order_id"),)


class SourceDatabase(Base):
    """How far each database is told. ``as_of``: all that was committed there until then is here.

    ``snapshot_at``: when a row of a snapshot came last, by this database's clock.
    """

    __tablename__ = "sources"

    database: Mapped[str] = mapped_column(Text, primary_key=True)
    as_of: Mapped[datetime | None] = mapped_column(Moment)
    lsn: Mapped[int | None] = mapped_column(BigInteger)
    snapshot_at: Mapped[datetime | None] = mapped_column(Moment)
    heard_at: Mapped[datetime] = mapped_column(Moment)


class Position(Base):
    """Where reading of a stream goes on: written in the transaction that applies what stands before it.

    ``last_message_id`` is of the message before ``next_offset``; a stream that was made anew has another one there.
    ``lost_…`` tell of changes that were gone before they were read, the last time that this happened.
    """

    __tablename__ = "positions"

    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    next_offset: Mapped[int] = mapped_column(BigInteger)
    last_message_id: Mapped[str | None] = mapped_column(Text)
    moved_at: Mapped[datetime] = mapped_column(Moment)
    messages: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    unreadable: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    losses: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    lost_at: Mapped[datetime | None] = mapped_column(Moment)
    lost_from: Mapped[int | None] = mapped_column(BigInteger)
    lost_to: Mapped[int | None] = mapped_column(BigInteger)
