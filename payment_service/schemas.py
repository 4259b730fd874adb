"""The payment service on the wire: events it publishes, its own view of events it consumes, answers.

Owns: field names and validation. Must not know: what is decided. Consumed views hold only what is used here.
"""

from __future__ import annotations

from marshmallow import fields, validate

from payment_service import domain
from shared.event_schema import EventSchema, Moment, Money, PayloadSchema, currency, order_id, positive_money, text
from shared.payment_tokens import PaymentMethod, payment_token

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
    payment_mode = fields.Enum(domain.PaymentMode, by_value=True, required=True, data_key="paymentMode")
    payment_method = PaymentMethod(allow_none=True, load_default=None, data_key="paymentMethod")
    user_id = text(required=False, allow_none=True, load_default=None, data_key="userId")
    seller_id = text(required=False, allow_none=True, load_default=None, data_key="sellerId")
    expires_at = Moment(required=True, allow_none=True, data_key="expiresAt")


class InventoryRefunded(EventSchema):
    make_value = domain.StockReturned
    order_id = order_id()
    reason = text()


class OrderCancelled(EventSchema):
    make_value = domain.OrderCancelled
    order_id = order_id()


class OrderReturned(EventSchema):
    make_value = domain.OrderReturned
    order_id = order_id()
    return_id = fields.UUID(required=True, data_key="returnId")
    amount = Money(required=True, validate=validate.Range(0, error="Must not be negative."), data_key="refundAmount")
    currency = currency()


# Requests


class ConfirmationSchema(PayloadSchema):
    token = fields.String(required=True, validate=payment_token, data_key="paymentMethod")


class RefundSchema(PayloadSchema):
    """``amount`` None: all that is left."""

    amount = positive_money(allow_none=True)
    reason = text()


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
    payment_id = fields.UUID(data_key="paymentId")
    order_id = fields.UUID(data_key="orderId")
    amount = Money()
    currency = fields.String()
    reason = fields.String()
    status = fields.String()
    failure = fields.String()
    created_at = Moment(data_key="createdAt")
    ended_at = Moment(data_key="endedAt")


class PaymentView(PayloadSchema):
    id = fields.UUID()
    order_id = fields.UUID(data_key="orderId")
    user_id = fields.String(data_key="userId")
    status = fields.String()
    mode = fields.String()
    amount = Money()
    currency = fields.String()
    expires_at = Moment(data_key="expiresAt")
    charging = fields.Boolean()
    attempts_left = fields.Integer(data_key="attemptsLeft")
    psp_reference = fields.String(data_key="pspReference")
    refunded = Money()
    refunding = Money()
    created_at = Moment(data_key="createdAt")
    updated_at = Moment(data_key="updatedAt")
    attempts = fields.List(fields.Nested(AttemptView))
    refunds = fields.List(fields.Nested(RefundView))
