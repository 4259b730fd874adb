"""The order service on the wire: events it publishes, its own view of events it consumes, RPC shapes.

Owns: field names and validation. Must not know: what is decided. Consumed views hold only what is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from marshmallow import RAISE, ValidationError, fields, validate, validates_schema

from order_service import happenings, pricing
from order_service.basket import MOST_LINES, MOST_PIECES
from order_service.returns import ReturnedLine
from order_service.states import CancelReason
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
from shared.payment_tokens import payment_token

# Published


class OrderLine(PayloadSchema):
    item = text()
    seller_id = text(data_key="sellerId")
    quantity = quantity()
    price = Money(required=True)


class OrderCreated(EventSchema):
    order_id = order_id()
    user_id = text(data_key="userId")
    items = fields.List(fields.Nested(OrderLine), required=True, validate=validate.Length(1, MOST_LINES))
    price = positive_money()
    currency = currency()
    status = fields.String(required=True)
    payment_method = text(required=False, allow_none=True, data_key="paymentMethod")
    payment_mode = fields.String(required=True, data_key="paymentMode", validate=validate.OneOf(["auto", "manual"]))
    requires_approval = fields.Boolean(required=True, data_key="requiresApproval")


class OrderApproved(OrderCreated):
    """The payload of ORDER_CREATED again: for inventory, which ignored that one, it is the same request."""


class OrderConfirmed(EventSchema):
    order_id = order_id()
    price = Money(required=True)


class OrderCancelled(EventSchema):
    order_id = order_id()
    reason = fields.Enum(CancelReason, by_value=True, required=True)


class OrderFulfilled(EventSchema):
    order_id = order_id()
    shipped_at = Moment(required=True, data_key="shippedAt")
    tracking = text(required=False, allow_none=True)


class ReturnLine(PayloadSchema):
    item = text()
    quantity = quantity()


class OrderReturned(EventSchema):
    order_id = order_id()
    return_id = fields.UUID(required=True, data_key="returnId")
    items = fields.List(fields.Nested(ReturnLine), required=True, validate=validate.Length(1, MOST_LINES))
    restock = fields.Boolean(required=True)
    refund_amount = Money(
        required=True, validate=validate.Range(Decimal(0), error="Must not be negative."), data_key="refundAmount"
    )
    currency = currency()


PUBLISHED: dict[str, type[EventSchema]] = {
    "ORDER_CREATED": OrderCreated,
    "ORDER_APPROVED": OrderApproved,
    "ORDER_CONFIRMED": OrderConfirmed,
    "ORDER_CANCELLED": OrderCancelled,
    "ORDER_FULFILLED": OrderFulfilled,
    "ORDER_RETURNED": OrderReturned,
}

# Consumed: each loads into a happening of our own


class InventoryReserved(EventSchema):
    make_value = happenings.StockReserved
    order_id = order_id()
    generation = whole_number(1)
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")


class InventoryRejected(EventSchema):
    make_value = happenings.StockRejected
    order_id = order_id()
    reason = text()


class InventoryRefunded(EventSchema):
    make_value = happenings.StockReturned
    order_id = order_id()
    generation = whole_number(0)
    reason = text()


class InventoryCommitted(EventSchema):
    make_value = happenings.StockCommitted
    order_id = order_id()
    generation = whole_number(1)


class PaymentPending(EventSchema):
    make_value = happenings.PaymentAwaited
    order_id = order_id()


class PaymentSuccess(EventSchema):
    make_value = happenings.PaymentTaken
    order_id = order_id()


class PaymentFailed(EventSchema):
    make_value = happenings.PaymentFailed
    order_id = order_id()
    reason = text()


class PaymentCancelled(EventSchema):
    make_value = happenings.PaymentCancelled
    order_id = order_id()


class PaymentRefunded(EventSchema):
    make_value = happenings.MoneyReturned
    order_id = order_id()
    refund_id = fields.UUID(allow_none=True, data_key="refundId")
    total_refunded = Money(required=True, data_key="totalRefunded")


class PaymentRefundFailed(EventSchema):
    make_value = happenings.MoneyReturnFailed
    order_id = order_id()
    refund_id = fields.UUID(allow_none=True, data_key="refundId")
    reason = text()


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceListEntry:
    product: pricing.Product
    version: int
    name: str


class ProductUpdated(EventSchema):
    item = text()
    version = whole_number(1)
    name = text()
    seller_id = text(data_key="sellerId")
    price = positive_money()
    currency = currency()
    active = fields.Boolean(required=True)
    requires_approval = fields.Boolean(required=True, data_key="requiresApproval")

    @staticmethod
    def make_value(**data: Any) -> PriceListEntry:
        version, name = data.pop("version"), data.pop("name")
        return PriceListEntry(product=pricing.Product(**data), version=version, name=name)


# Requests


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceOrder:
    """A request to place an order, as validated: of ``items``, or of what is in a cart."""

    user_id: str
    items: tuple[tuple[str, int], ...] = ()
    cart_id: UUID | None = None
    payment_mode: str = "auto"
    payment_method: str | None = None
    price: Decimal | None = None
    currency: str | None = None
    shipping_address: dict[str, Any] | None = None


class WantedLine(PayloadSchema):
    class Meta:
        unknown = RAISE

    item = text()
    quantity = fields.Integer(required=True, strict=True, validate=validate.Range(1, MOST_PIECES))


def customer() -> fields.String:
    """In whose name; whoever asks in their own need not say it."""
    return text(required=False, data_key="userId")


class PlaceOrderSchema(PayloadSchema):
    """Strict: a field nobody knows is an error here, because its sender expects it to matter."""

    class Meta:
        unknown = RAISE

    user_id = customer()
    items = fields.List(fields.Nested(WantedLine), validate=validate.Length(1, MOST_LINES))
    cart_id = fields.UUID(data_key="cartId")
    payment_mode = fields.String(data_key="paymentMode", validate=validate.OneOf(["auto", "manual"]))
    payment_method = fields.String(validate=payment_token, allow_none=True, data_key="paymentMethod")
    price = Money(allow_none=True)
    currency = currency(required=False, allow_none=True)
    shipping_address = fields.Dict(allow_none=True, data_key="shippingAddress")

    @validates_schema
    def _says_what(self, data: dict[str, Any], **_kwargs: Any) -> None:
        if "items" not in data and "cart_id" not in data:
            raise ValidationError("Missing data for required field.", "items")
        if "items" in data and "cart_id" in data:
            raise ValidationError("Either items or cartId.", "cartId")


def pairs(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((line["item"], line["quantity"]) for line in lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReturnGoods:
    """A request to take goods back, as validated. Without ``refund_amount`` their price is given back."""

    lines: tuple[ReturnedLine, ...]
    restock: bool
    refund_amount: Decimal | None = None


class ReturnedLineSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    make_value = ReturnedLine
    item = text()
    quantity = quantity()


class ReturnGoodsSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    items = fields.List(fields.Nested(ReturnedLineSchema), required=True, validate=validate.Length(1, 100))
    # No truthy texts: whether goods can be sold again must be said, not guessed.
    restock = fields.Boolean(required=True, truthy={True}, falsy={False})
    refund_amount = Money(
        allow_none=True, data_key="refundAmount", validate=validate.Range(Decimal(0), error="Must not be less than 0.")
    )

    @staticmethod
    def make_value(**data: Any) -> ReturnGoods:
        return ReturnGoods(lines=tuple(data.pop("items")), **data)


class FulfilOrderSchema(PayloadSchema):
    tracking = text(required=False, allow_none=True)


# Answers


class StatusStepView(PayloadSchema):
    status = fields.String()
    from_status = fields.String(data_key="from")
    reason = fields.String()
    at = Moment()
    event_id = fields.UUID(data_key="eventId")


class ShownPayload(fields.Raw):
    """An event's payload without the customer's payment token: whoever reads it could pay with it."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        payload = super()._serialize(value, *args, **kwargs)
        return {name: said for name, said in payload.items() if name != "paymentMethod"}


class TimelineEventView(PayloadSchema):
    event_id = fields.UUID(data_key="eventId")
    event_type = fields.String(data_key="type")
    source = fields.String()
    causation_id = fields.UUID(data_key="causationId")
    correlation_id = fields.String(data_key="correlationId")
    occurred_at = Moment(data_key="at")
    recorded_at = Moment(data_key="recordedAt")
    decision = fields.String()
    note = fields.String()
    payload = ShownPayload()


class OrderSummaryView(PayloadSchema):
    id = fields.UUID()
    user_id = fields.String(data_key="userId")
    seller_id = fields.String(data_key="sellerId")
    status = fields.String()
    reason = fields.String()
    price = Money()
    currency = fields.String()
    payment_mode = fields.String(data_key="paymentMode")
    correlation_id = fields.String(data_key="correlationId")
    deadline_at = Moment(data_key="deadlineAt")
    settled_at = Moment(data_key="settledAt")
    created_at = Moment(data_key="createdAt")
    updated_at = Moment(data_key="updatedAt")


class ReturnView(PayloadSchema):
    id = fields.UUID()
    items = fields.List(fields.Nested(ReturnLine))
    restock = fields.Boolean()
    refund_amount = Money(data_key="refundAmount")
    status = fields.String()
    created_at = Moment(data_key="createdAt")


class OrderView(OrderSummaryView):
    step = fields.String()
    waits_for = fields.String(data_key="waitsFor")
    shipping_address = fields.Raw(data_key="shippingAddress")
    stock = fields.String()
    money = fields.String()
    refunded = Money()
    awaits_approval = fields.Boolean(data_key="awaitsApproval")
    fulfil_requested_at = Moment(data_key="fulfilRequestedAt")
    tracking = fields.String()
    flag = fields.String()
    flagged_at = Moment(data_key="flaggedAt")
    allowed_actions = fields.List(fields.String(), data_key="allowedActions")
    returns = fields.List(fields.Nested(ReturnView))
    items = fields.List(fields.Nested(OrderLine))
    history = fields.List(fields.Nested(StatusStepView))
    timeline = fields.List(fields.Nested(TimelineEventView))
