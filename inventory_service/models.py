"""The inventory service's tables.

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


class Product(Base):
    __tablename__ = "products"

    item: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(Text)
    seller_id: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(Boolean)
    requires_approval: Mapped[bool] = mapped_column(Boolean)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class Stock(Base):
    """A CHECK in the migration keeps 0 <= reserved <= on_hand: overselling is impossible, whatever the code does."""

    __tablename__ = "stock"

    item: Mapped[str] = mapped_column(Text, primary_key=True)
    on_hand: Mapped[int] = mapped_column(Integer)
    reserved: Mapped[int] = mapped_column(Integer)


class Saga(Base):
    """What inventory knows of one order, and the row that every handler locks first; it carries the tombstone.

    A manual hold has one too, with an id of its own and perhaps its client's ``reference``. ``user_id`` and
    ``seller_id`` say who may see its reservation; ids are in the order of time, so that lists walk their indexes.
    """

    __tablename__ = "sagas"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(Integer)
    cancelled: Mapped[bool] = mapped_column(Boolean)
    user_id: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    currency: Mapped[str | None] = mapped_column(Text)
    payment_mode: Mapped[str | None] = mapped_column(Text)
    payment_method: Mapped[str | None] = mapped_column(Text)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    manual: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    reference: Mapped[str | None] = mapped_column(Text)
    seller_id: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("sagas_reference", "reference", unique=True, postgresql_where=text("reference is not null")),
        Index("sagas_of_user", "user_id", "order_id", postgresql_where=text("user_id is not null")),
        Index("sagas_of_seller", "seller_id", "order_id", postgresql_where=text("seller_id is not null")),
    )


class Reservation(Base):
    """One generation of stock held for one order.

    ``wake_at`` is when the timer looks at it next. ``event_id``, ``causation_id`` and ``traceparent`` are those of its
    INVENTORY_RESERVED, which is said once more while it is unpaid; a manual hold has none.
    """

    __tablename__ = "reservations"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    wake_at: Mapped[datetime | None] = mapped_column(Moment, server_default=text("now()"))
    event_id: Mapped[UUID | None]
    causation_id: Mapped[UUID | None]
    traceparent: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("reservations_wake", "wake_at", postgresql_where=text("status = 'RESERVED' and wake_at is not null")),
    )


class OrderLine(Base):
    """What an order asked for; the same in every generation."""

    __tablename__ = "order_lines"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)


class ReturnLine(Base):
    """What came back of what was committed; its rows also tell that a return is known."""

    __tablename__ = "return_lines"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)
    restocked: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Moment)


class StockMovement(Base):
    """Why every unit moved; append-only."""

    __tablename__ = "stock_movements"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    item: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    delta_on_hand: Mapped[int] = mapped_column(Integer)
    delta_reserved: Mapped[int] = mapped_column(Integer)
    order_id: Mapped[UUID | None]
    generation: Mapped[int | None] = mapped_column(Integer)
    event_id: Mapped[UUID | None]
    at: Mapped[datetime] = mapped_column(Moment)
    reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("stock_movements_item", "item", "id"),)


class StockCheckpoint(Base):
    """What an item's stock was when it was last found to be what its movements up to ``movement_id`` add up to."""

    __tablename__ = "stock_checkpoints"

    item: Mapped[str] = mapped_column(Text, primary_key=True)
    movement_id: Mapped[int] = mapped_column(BigInteger)
    on_hand: Mapped[int] = mapped_column(Integer)
    reserved: Mapped[int] = mapped_column(Integer)
    checked_at: Mapped[datetime] = mapped_column(Moment)
