"""The payment service's tables.

Owns: names, types, constraints and indexes; a test compares them with what the migrations make.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Identity, Index, Integer, Numeric, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.audit import AuditLogTable
from shared.chaos.switches import ChaosSwitchTable
from shared.idempotency import IdempotencyKeyTable
from shared.inbox import InboxTable
from shared.outbox import OutboxTable

Moment = DateTime(timezone=True)
Amount = Numeric(12, 2)


class Base(DeclarativeBase):
    """Its name is part of nameko-sqlalchemy's configuration key."""


class Outbox(OutboxTable, Base):
    pass


class Inbox(InboxTable, Base):
    pass


class IdempotencyKey(IdempotencyKeyTable, Base):
    pass


class AuditLog(AuditLogTable, Base):
    pass


class ChaosSwitch(ChaosSwitchTable, Base):
    pass


class Payment(Base):
    """The one payment of an order, and the row that every handler locks first; ``cancelled`` is the tombstone.

    ``refunding`` is the sum of the refunds under way: with ``refunded`` never more than ``amount``.
    """

    __tablename__ = "payments"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text, server_default=text("'auto'"))
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    payment_method: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[str | None] = mapped_column(Text)
    seller_id: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    charging: Mapped[bool] = mapped_column(Boolean)
    stock_gone: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    cancelled: Mapped[bool] = mapped_column(Boolean)
    psp_reference: Mapped[str | None] = mapped_column(Text)
    refunded: Mapped[Decimal] = mapped_column(Amount)
    refunding: Mapped[Decimal] = mapped_column(Amount, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class PaymentAttempt(Base):
    """One operation at the provider: CHARGE, VOID or REFUND. Its id is the provider's idempotency key.

    CALLING is leased by ``leased_by`` (charger_leases). UNKNOWN waits for ``next_try_at``, and so does AWAITING, which
    the provider may also end by a webhook. ``cause_event_id`` is null for what a request asked for.
    """

    __tablename__ = "payment_attempts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(Text)
    charge_id: Mapped[UUID | None]
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    token: Mapped[str | None] = mapped_column(Text)
    purpose: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    leased_by: Mapped[UUID | None]
    tries: Mapped[int] = mapped_column(Integer)
    next_try_at: Mapped[datetime | None] = mapped_column(Moment)
    cause_event_id: Mapped[UUID | None]
    correlation_id: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("payment_attempts_order", "order_id"),
        Index("payment_attempts_open", "started_at", postgresql_where=text("ended_at is null")),
        # Whatever the code does: one charge of a payment at a time, and none after one that succeeded.
        Index(
            "payment_attempts_one_open_charge",
            "order_id",
            unique=True,
            postgresql_where=text("kind = 'CHARGE' and ended_at is null"),
        ),
        Index(
            "payment_attempts_one_succeeded_charge",
            "order_id",
            unique=True,
            postgresql_where=text("kind = 'CHARGE' and status = 'SUCCEEDED'"),
        ),
    )


class Refund(Base):
    """Money that goes back; the attempt of the same id carries it out. One that was refused at once has none."""

    __tablename__ = "refunds"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (Index("refunds_order", "order_id"),)


class LedgerEntry(Base):
    """Double entry: the entries of one ``transaction_id`` add up to 0. Append-only."""

    __tablename__ = "ledger_entries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transaction_id: Mapped[UUID]
    order_id: Mapped[UUID]
    account: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index("ledger_entries_order", "order_id"),)


class ChargerLease(Base):
    """Chargers that are alive; what a lapsed one was calling is taken over by the others."""

    __tablename__ = "charger_leases"

    worker_id: Mapped[UUID] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment)
