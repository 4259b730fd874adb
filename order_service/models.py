"""The order service's tables.

Owns: names, types, constraints and indexes; a test compares them with what the migrations make.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Identity, Index, Integer, Numeric, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.audit import AuditLogTable
from shared.chaos.switches import ChaosSwitchTable
from shared.idempotency import IdempotencyKeyTable
from shared.inbox import InboxTable
from shared.outbox import OutboxTable

Moment = DateTime(timezone=True)
Price = Numeric(12, 2)


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


class Order(Base):
    """One order. ``stock`` and ``money`` are what events told of them; ``settled_at`` ends a cancelled order.

    The defaults are for rows that a version without these columns writes; this one writes them all.
    """

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Text)
    seller_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Price)
    currency: Mapped[str] = mapped_column(Text)
    payment_method: Mapped[str | None] = mapped_column(Text)
    payment_mode: Mapped[str] = mapped_column(Text)
    shipping_address: Mapped[Any | None] = mapped_column(JSONB)
    correlation_id: Mapped[str] = mapped_column(Text)
    stock: Mapped[str] = mapped_column(Text)
    stock_generation: Mapped[int] = mapped_column(Integer)
    money: Mapped[str] = mapped_column(Text)
    refunded: Mapped[Decimal] = mapped_column(Price, server_default=text("0"))
    awaits_approval: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    approved_at: Mapped[datetime | None] = mapped_column(Moment)
    fulfil_requested_at: Mapped[datetime | None] = mapped_column(Moment)
    tracking: Mapped[str | None] = mapped_column(Text)
    flag: Mapped[str | None] = mapped_column(Text)
    flagged_at: Mapped[datetime | None] = mapped_column(Moment)
    deadline_at: Mapped[datetime | None] = mapped_column(Moment)
    wake_at: Mapped[datetime | None] = mapped_column(Moment, server_default=text("now()"))
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        # Only orders that wait for something are looked at by the timer: the index stays small.
        Index("orders_wake", "wake_at", postgresql_where=text("wake_at is not null")),
        Index("orders_user", "user_id", "id"),
        Index("orders_seller", "seller_id", "id"),
        Index("orders_status", "status", "id"),
        Index("orders_unsettled", "id", postgresql_where=text("status = 'CANCELLED' and settled_at is null")),
        Index(
            "orders_unshipped",
            "id",
            postgresql_where=text(
                "status = 'CONFIRMED' and (fulfil_requested_at is not null or stock <> 'HELD')",
            ),
        ),
        Index("orders_flagged", "id", postgresql_where=text("flag is not null")),
        Index("orders_tracking", "tracking", postgresql_where=text("tracking is not null")),
    )


class OrderItem(Base):
    __tablename__ = "order_items"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(Text, primary_key=True)
    seller_id: Mapped[str] = mapped_column(Text)
    quantity: Mapped[int] = mapped_column(Integer)
    price: Mapped[Decimal] = mapped_column(Price)

    __table_args__ = (Index("order_items_item", "item", "order_id"),)


class OrderReturn(Base):
    """Goods of a fulfilled order that came back; its id is the refund's too."""

    __tablename__ = "order_returns"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    restock: Mapped[bool] = mapped_column(Boolean)
    refund_amount: Mapped[Decimal] = mapped_column(Price)
    status: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index("order_returns_order", "order_id"),)


class OrderReturnLine(Base):
    __tablename__ = "order_return_lines"

    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)


class OrderStatusHistory(Base):
    """Each status an order took, and the event that made it."""

    __tablename__ = "order_status_history"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[UUID]
    from_status: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    event_id: Mapped[UUID | None]
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index("order_status_history_order", "order_id"),)


class OrderEvent(Base):
    """The timeline: every event that bears the order's id, its own as emitted and the others' as consumed.

    No foreign key: events of unknown orders are kept too.
    """

    __tablename__ = "order_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[UUID]
    event_id: Mapped[UUID]
    event_type: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    correlation_id: Mapped[str] = mapped_column(Text)
    causation_id: Mapped[UUID | None]
    occurred_at: Mapped[datetime] = mapped_column(Moment)
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    decision: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    payload: Mapped[Any] = mapped_column(JSON)
    schema_version: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))

    __table_args__ = (
        Index("order_events_order", "order_id"),
        # What nothing caused begins with a request, whose id is its correlation id.
        Index("order_events_request", "correlation_id", postgresql_where=text("causation_id is null")),
    )


class ArchivedOrder(Base):
    """An order that is over and was put away. ``document``: as it was shown last, ``late``: what was told since."""

    __tablename__ = "archived_orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Text)
    seller_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Price)
    currency: Mapped[str] = mapped_column(Text)
    money: Mapped[str] = mapped_column(Text)
    refunded: Mapped[Decimal] = mapped_column(Price)
    archived_at: Mapped[datetime] = mapped_column(Moment)
    document: Mapped[Any] = mapped_column(JSONB)
    late: Mapped[Any] = mapped_column(JSONB, server_default=text("'[]'"))

    __table_args__ = (Index("archived_orders_user", "user_id", "id"),)


class Erasure(Base):
    """A customer whose addresses are to be forgotten, and how far that is done."""

    __tablename__ = "erasures"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[datetime] = mapped_column(Moment)
    place: Mapped[UUID | None]
    in_archive: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    erased: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    skipped: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (Index("erasures_open", "id", postgresql_where=text("finished_at is null")),)


class Product(Base):
    """The local price list, fed by PRODUCT_UPDATED."""

    __tablename__ = "products"

    item: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(Text)
    seller_id: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Price)
    currency: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(Boolean)
    requires_approval: Mapped[bool] = mapped_column(Boolean)


class Cart(Base):
    """What a customer means to order. ``order_id`` is the order it became."""

    __tablename__ = "carts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    order_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class CartItem(Base):
    __tablename__ = "cart_items"

    cart_id: Mapped[UUID] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)


class RedriveRun(Base):
    """Dead letters on their way back to work. ``lease`` is whoever drives it just now."""

    __tablename__ = "redrive_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    filter: Mapped[Any] = mapped_column(JSONB)
    first: Mapped[int] = mapped_column(Integer)
    factor: Mapped[Decimal] = mapped_column(Numeric(6, 2))
    most: Mapped[int] = mapped_column(Integer)
    per_second: Mapped[Decimal] = mapped_column(Numeric(8, 2))
    size: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[datetime] = mapped_column(Moment)
    lease: Mapped[UUID | None]
    leased_until: Mapped[datetime | None] = mapped_column(Moment)
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)


class RedriveLetter(Base):
    """One dead letter of a frozen selection. ``known``: letters of the same event that were dead before it went."""

    __tablename__ = "redrive_letters"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime | None] = mapped_column(Moment)
    detail: Mapped[str | None] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    destination: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    identity: Mapped[str] = mapped_column(Text)
    inbox_id: Mapped[UUID | None]
    event_id: Mapped[str | None] = mapped_column(Text)
    event_type: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(Text)
    failed_at: Mapped[str | None] = mapped_column(Text)
    known: Mapped[Any | None] = mapped_column(JSONB)

    __table_args__ = (Index("redrive_letters_state", "run_id", "state", "number"),)
