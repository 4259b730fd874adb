"""The payment service on the wire: events it publishes, its own view of events it consumes, answers.

Owns: field names and validation. Must not know: what is decided. Consumed views hold only what is used here.
"""

from __future__ import annotations

from marshmallow import fields, validate

from payment_service import domain
from shared.event_schema import EventSchema, Moment, Money, PayloadSchema, currency, order_id, positive_money, text

# Published


class _PaymentEvent(EventSchema):
    order_id = order_id()
    payment_id = fields.UUID(required=True, data_key="paymentId")


class PaymentPending(_PaymentEvent):
    price = Money(required=True)
    currency = currency()
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")


class PaymentSuccess(_PaymentEvent):
    price = Money(required=True)
    currency = currency()
    psp_reference = text(data_key="pspReference")


class PaymentFailed(_PaymentEvent):
    reason = text()


class PaymentCancelled(_PaymentEvent):
    pass


class PaymentRefunded(_PaymentEvent):
    refund_id = fields.UUID(required=True, data_key="refundId")
    amount = Money(required=True)
    currency = currency()
    total_refunded = Money(required=True, data_key="totalRefunded")
    reason = text()


class PaymentRefundFailed(_PaymentEvent):
    refund_id = fields.UUID(required=True, data_key="refundId")
    reason = text()


PUBLISHED: dict[str, type[EventSchema]] = {
    "PAYMENT_PENDING": PaymentPending,
    "PAYMENT_SUCCESS": PaymentSuccess,
    "PAYMENT_FAILED": PaymentFailed,
    "PAYMENT_CANCELLED": PaymentCancelled,
    "PAYMENT_REFUNDED": PaymentRefunded,
    "PAYMENT_REFUND_FAILED": PaymentRefundFailed,
}

# Consumed


class InventoryReserved(EventSchema):
    make_value = domain.StockReserved
    order_id = order_id()
    amount = positive_money(data_key="price")
    currency = currency()
    payment_mode = fields.String(required=True, data_key="paymentMode", validate=validate.OneOf(["auto", "manual"]))
    payment_method = text(required=False, allow_none=True, load_default=None, data_key="paymentMethod")
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")


class InventoryRefunded(EventSchema):
    make_value = domain.StockReturned
    order_id = order_id()
    reason = text()


class OrderCancelled(EventSchema):
    make_value = domain.OrderCancelled
    order_id = order_id()


# Answers


class AttemptView(PayloadSchema):
    id = fields.UUID()
    kind = fields.String()
    status = fields.String()
    reason = fields.String()
    amount = Money()
    tries = fields.Integer()
    started_at = Moment(data_key="startedAt")
    ended_at = Moment(data_key="endedAt")


class RefundView(PayloadSchema):
    id = fields.UUID()
    amount = Money()
    reason = fields.String()
    status = fields.String()
    created_at = Moment(data_key="createdAt")
    ended_at = Moment(data_key="endedAt")


class PaymentView(PayloadSchema):
    id = fields.UUID()
    order_id = fields.UUID(data_key="orderId")
    status = fields.String()
    amount = Money()
    currency = fields.String()
    psp_reference = fields.String(data_key="pspReference")
    refunded = Money()
    created_at = Moment(data_key="createdAt")
    updated_at = Moment(data_key="updatedAt")
    attempts = fields.List(fields.Nested(AttemptView))
    refunds = fields.List(fields.Nested(RefundView))
