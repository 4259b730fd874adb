"""The inventory service on the wire: events it publishes, its own view of events it consumes, RPC shapes.

Owns: field names and validation. Must not know: what is decided. Consumed views hold only what is used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, ValidationError, fields, validate, validates_schema

from inventory_service import domain
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
)

MOST_UNITS = 1_000_000_000


def _units(**options: Any) -> fields.Integer:
    return fields.Integer(required=True, strict=True, **options)


class LineSchema(PayloadSchema):
    make_value = domain.Line
    item = text()
    quantity = quantity()


def _merged(lines: list[domain.Line]) -> tuple[domain.Line, ...]:
    """Lines of one item added up, sorted by item."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.item] = quantities.get(line.item, 0) + line.quantity
    return tuple(domain.Line(item=item, quantity=quantities[item]) for item in sorted(quantities))


# Published


class InventoryReserved(EventSchema):
    order_id = order_id()
    generation = _units()
    items = fields.List(fields.Nested(LineSchema), required=True)
    price = Money(required=True)
    currency = currency()
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")
    user_id = text(data_key="userId")
    payment_method = text(required=False, allow_none=True, data_key="paymentMethod")
    payment_mode = text(data_key="paymentMode")


class InventoryRejected(EventSchema):
    order_id = order_id()
    reason = text()
    short = fields.List(fields.String(), required=True)


class InventoryRefunded(EventSchema):
    order_id = order_id()
    generation = _units()
    reason = text()
    items = fields.List(fields.Nested(LineSchema), required=True)


class InventoryAdjusted(EventSchema):
    item = text()
    delta = _units()
    reason = text()
    on_hand = _units(data_key="onHand")
    reserved = _units()


class ProductUpdated(EventSchema):
    item = text()
    version = _units()
    name = text()
    seller_id = text(data_key="sellerId")
    price = Money(required=True)
    currency = currency()
    active = fields.Boolean(required=True)
    requires_approval = fields.Boolean(required=True, data_key="requiresApproval")


PUBLISHED: dict[str, type[EventSchema]] = {
    "INVENTORY_RESERVED": InventoryReserved,
    "INVENTORY_REJECTED": InventoryRejected,
    "INVENTORY_REFUNDED": InventoryRefunded,
    "INVENTORY_ADJUSTED": InventoryAdjusted,
    "PRODUCT_UPDATED": ProductUpdated,
}

# Consumed


class OrderCreated(EventSchema):
    order_id = order_id()
    items = fields.List(fields.Nested(LineSchema), required=True, validate=validate.Length(1, 1000))
    user_id = text(data_key="userId")
    price = positive_money()
    currency = currency()
    payment_mode = fields.String(
        data_key="paymentMode", load_default="auto", validate=validate.OneOf(["auto", "manual"])
    )
    payment_method = text(required=False, allow_none=True, load_default=None, data_key="paymentMethod")

    @staticmethod
    def make_value(**data: Any) -> domain.OrderCreated:
        order_id, items = data.pop("order_id"), data.pop("items")
        return domain.OrderCreated(order_id=order_id, lines=_merged(items), terms=domain.Terms(**data))


class OrderCancelled(EventSchema):
    make_value = domain.OrderCancelled
    order_id = order_id()


class PaymentSuccess(EventSchema):
    make_value = domain.PaymentTaken
    order_id = order_id()


class PaymentFailed(EventSchema):
    make_value = domain.PaymentFailed
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
    price = Money(required=True)
    currency = currency()
    on_hand = _units(validate=validate.Range(0, MOST_UNITS), data_key="onHand")

    # Orders that wait for their seller come with the approval flow; until then such a product could not be sold.
    requires_approval = fields.Boolean(
        data_key="requiresApproval", validate=validate.Equal(False, error="Not supported yet.")
    )

    @validates_schema
    def _price_is_positive(self, data: dict[str, Any], **_kwargs: Any) -> None:
        if data["price"] <= 0:
            raise ValidationError("Must be more than 0.", "price")


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


# Answers


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
