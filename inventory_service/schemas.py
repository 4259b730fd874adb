"""The inventory service on the wire: events it publishes, its own view of events it consumes, RPC shapes.

Owns: field names and validation. Must not know: what is decided. Consumed views hold only what is used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from marshmallow import RAISE, fields, validate

from inventory_service import happenings
from inventory_service.states import Line, Terms
from shared.event_schema import (
    EventSchema,
    Moment,
    Money,
    PayloadSchema,
    currency,
    order_id,
    positive_money,
    quantity,
    text,
    whole_number,
)
from shared.payment_tokens import PaymentMethod

MOST_UNITS = 1_000_000_000
MOST_LINES = 1000
LONGEST_HOLD_S = 86_400


def _units(**options: Any) -> fields.Integer:
    return fields.Integer(required=True, strict=True, **options)


class LineSchema(PayloadSchema):
    make_value = Line
    item = text()
    quantity = quantity()


def _merged(lines: list[Line]) -> tuple[Line, ...]:
    """Lines of one item added up, sorted by item."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.item] = quantities.get(line.item, 0) + line.quantity
    return tuple(Line(item=item, quantity=quantities[item]) for item in sorted(quantities))


# Published


class InventoryReserved(EventSchema):
    schema_minor = 1
    order_id = order_id()
    generation = whole_number(1)
    items = fields.List(fields.Nested(LineSchema), required=True)
    price = positive_money()
    currency = currency()
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")
    user_id = text(data_key="userId")
    payment_method = text(required=False, allow_none=True, data_key="paymentMethod")
    payment_mode = fields.String(required=True, data_key="paymentMode", validate=validate.OneOf(["auto", "manual"]))
    seller_id = text(required=False, allow_none=True, data_key="sellerId")


class InventoryRejected(EventSchema):
    order_id = order_id()
    reason = text()
    short = fields.List(fields.String(), required=True)


class InventoryRefunded(EventSchema):
    order_id = order_id()
    generation = whole_number(0)
    reason = text()
    items = fields.List(fields.Nested(LineSchema), required=True)


class InventoryCommitted(EventSchema):
    order_id = order_id()
    generation = whole_number(1)
    items = fields.List(fields.Nested(LineSchema), required=True)


class InventoryAdjusted(EventSchema):
    item = text()
    delta = _units()
    reason = text()
    on_hand = _units(data_key="onHand")
    reserved = _units()


class ProductUpdated(EventSchema):
    item = text()
    version = whole_number(1)
    name = text()
    seller_id = text(data_key="sellerId")
    price = positive_money()
    currency = currency()
    active = fields.Boolean(required=True)
    requires_approval = fields.Boolean(required=True, data_key="requiresApproval")


PUBLISHED: dict[str, type[EventSchema]] = {
    "INVENTORY_RESERVED": InventoryReserved,
    "INVENTORY_REJECTED": InventoryRejected,
    "INVENTORY_REFUNDED": InventoryRefunded,
    "INVENTORY_COMMITTED": InventoryCommitted,
    "INVENTORY_ADJUSTED": InventoryAdjusted,
    "PRODUCT_UPDATED": ProductUpdated,
}

# Consumed


@dataclass(frozen=True, kw_only=True, slots=True)
class _OrderedLine:
    line: Line
    seller_id: str | None


class _OrderedLineSchema(PayloadSchema):
    item = text()
    quantity = quantity()
    seller_id = text(required=False, allow_none=True, load_default=None, data_key="sellerId")

    @staticmethod
    def make_value(seller_id: str | None, **line: Any) -> _OrderedLine:
        return _OrderedLine(line=Line(**line), seller_id=seller_id)


class _OrderToReserve(EventSchema):
    order_id = order_id()
    items = fields.List(fields.Nested(_OrderedLineSchema), required=True, validate=validate.Length(1, MOST_LINES))
    user_id = text(data_key="userId")
    price = positive_money()
    currency = currency()
    payment_mode = fields.String(
        data_key="paymentMode", load_default="auto", validate=validate.OneOf(["auto", "manual"])
    )
    payment_method = PaymentMethod(allow_none=True, load_default=None, data_key="paymentMethod")


def _asked_for(*, order_id: UUID, items: list[_OrderedLine], **terms: Any) -> dict[str, Any]:
    """An order has one seller: the first that any of its lines names."""
    seller_id = next((item.seller_id for item in items if item.seller_id is not None), None)
    lines = _merged([item.line for item in items])
    return {"order_id": order_id, "lines": lines, "terms": Terms(seller_id=seller_id, **terms)}


class OrderCreated(_OrderToReserve):
    requires_approval = fields.Boolean(data_key="requiresApproval", load_default=False)

    @staticmethod
    def make_value(**data: Any) -> happenings.OrderCreated:
        requires_approval = data.pop("requires_approval")
        return happenings.OrderCreated(requires_approval=requires_approval, **_asked_for(**data))


class OrderApproved(_OrderToReserve):
    """The payload of ORDER_CREATED again."""

    @staticmethod
    def make_value(**data: Any) -> happenings.OrderApproved:
        return happenings.OrderApproved(**_asked_for(**data))


class OrderFulfilled(EventSchema):
    make_value = happenings.OrderFulfilled
    order_id = order_id()


class OrderReturned(EventSchema):
    order_id = order_id()
    return_id = fields.UUID(required=True, data_key="returnId")
    items = fields.List(fields.Nested(LineSchema), required=True, validate=validate.Length(1, MOST_LINES))
    restock = fields.Boolean(required=True)

    @staticmethod
    def make_value(**data: Any) -> happenings.OrderReturned:
        return happenings.OrderReturned(lines=_merged(data.pop("items")), **data)


class OrderCancelled(EventSchema):
    make_value = happenings.OrderCancelled
    order_id = order_id()


class PaymentSuccess(EventSchema):
    make_value = happenings.PaymentTaken
    order_id = order_id()


class PaymentFailed(EventSchema):
    make_value = happenings.PaymentFailed
    order_id = order_id()


# Requests


@dataclass(frozen=True, kw_only=True, slots=True)
class NewProduct:
    item: str
    name: str
    seller_id: str
    price: Decimal
    currency: str
    on_hand: int
    requires_approval: bool = False


class NewProductSchema(PayloadSchema):
    """Strict: a field nobody knows is an error here, because its sender expects it to matter."""

    class Meta:
        unknown = RAISE

    make_value = NewProduct
    item = fields.String(required=True, validate=validate.Regexp(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"))
    name = text()
    seller_id = text(64, data_key="sellerId")
    price = positive_money()
    currency = currency()
    on_hand = _units(validate=validate.Range(0, MOST_UNITS), data_key="onHand")
    requires_approval = fields.Boolean(data_key="requiresApproval", truthy={True}, falsy={False})


class ProductChangesSchema(PayloadSchema):
    """Any of these; made with ``partial=True``, so that nothing has to be there."""

    class Meta:
        unknown = RAISE

    name = text()
    price = positive_money()
    currency = currency()
    active = fields.Boolean(truthy={True}, falsy={False})
    requires_approval = fields.Boolean(data_key="requiresApproval", truthy={True}, falsy={False})


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjustment:
    item: str
    delta: int
    reason: str


class AdjustmentSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    make_value = Adjustment
    item = text(64)
    delta = _units(
        validate=validate.And(validate.Range(-MOST_UNITS, MOST_UNITS), validate.NoneOf([0], error="Must not be 0."))
    )
    reason = text()


@dataclass(frozen=True, kw_only=True, slots=True)
class NewHold:
    """``ttl`` None: as long as an order's reservation. ``reference`` is the client's own name for it."""

    lines: tuple[Line, ...]
    ttl: timedelta | None
    reference: str | None


class _HoldLineSchema(LineSchema):
    class Meta:
        unknown = RAISE


class NewHoldSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    items = fields.List(fields.Nested(_HoldLineSchema), required=True, validate=validate.Length(1, MOST_LINES))
    ttl_s = fields.Integer(
        strict=True,
        allow_none=True,
        load_default=None,
        validate=validate.Range(1, LONGEST_HOLD_S),
        data_key="ttlSeconds",
    )
    reference = text(required=False, allow_none=True, load_default=None)

    @staticmethod
    def make_value(**data: Any) -> NewHold:
        ttl = None if data["ttl_s"] is None else timedelta(seconds=data["ttl_s"])
        return NewHold(lines=_merged(data["items"]), ttl=ttl, reference=data["reference"])


# Answers


class ReservationView(PayloadSchema):
    id = fields.UUID()
    kind = fields.String()
    reference = fields.String(allow_none=True)
    user_id = fields.String(data_key="userId")
    seller_id = fields.String(data_key="sellerId")
    status = fields.String()
    generation = fields.Integer()
    items = fields.List(fields.Nested(LineSchema))
    expires_at = Moment(data_key="expiresAt")
    created_at = Moment(data_key="createdAt")
    ended_at = Moment(data_key="endedAt")


class MovementView(PayloadSchema):
    id = fields.Integer()
    item = fields.String()
    kind = fields.String()
    delta_on_hand = fields.Integer(data_key="deltaOnHand")
    delta_reserved = fields.Integer(data_key="deltaReserved")
    order_id = fields.UUID(data_key="reservationId")
    reservation_kind = fields.String(data_key="reservationKind")
    generation = fields.Integer()
    event_id = fields.UUID(data_key="eventId")
    reason = fields.String()
    at = Moment()


class StockView(PayloadSchema):
    item = fields.String()
    name = fields.String()
    seller_id = fields.String(data_key="sellerId")
    on_hand = fields.Integer(data_key="onHand")
    reserved = fields.Integer()
    available = fields.Integer()


class ProductView(PayloadSchema):
    item = fields.String()
    name = fields.String()
    seller_id = fields.String(data_key="sellerId")
    price = Money()
    currency = fields.String()
    active = fields.Boolean()
    requires_approval = fields.Boolean(data_key="requiresApproval")
    version = fields.Integer()
    on_hand = fields.Integer(data_key="onHand")
    reserved = fields.Integer()
    available = fields.Integer()
    updated_at = Moment(data_key="updatedAt")
