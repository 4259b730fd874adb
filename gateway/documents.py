"""What clients get, for the OpenAPI document only: bodies pass through from the services unchanged.

Owns: the documented shapes of responses. Must not know: requests, endpoints or services.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields


def time_text(**options: Any) -> fields.String:
    return fields.String(metadata={"format": "date-time"}, **options)


def maybe_text(description: str = "") -> fields.String:
    return fields.String(allow_none=True, metadata={"description": description} if description else {})


class Document(ma.Schema):
    """Base of all: clients must expect members that are not listed, today's or tomorrow's."""

    class Meta:
        unknown = ma.INCLUDE


class FieldError(Document):
    pointer = fields.String(metadata={"description": "Place in the body, e.g. #/items/0/quantity"})
    parameter = fields.String(metadata={"description": "Name of the query parameter"})
    detail = fields.String(required=True)


class Problem(Document):
    """RFC 9457; a code may bring further members."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "Stable; made for programs"})
    requestId = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldError))


class OrderSummary(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    userId = fields.String(required=True)
    sellerId = fields.String()
    status = fields.String(required=True)
    price = fields.String(required=True, metadata={"examples": ["10.00"]})
    currency = fields.String(required=True)
    createdAt = time_text(required=True)


class OrderLine(Document):
    item = fields.String(required=True)
    sellerId = fields.String(required=True)
    quantity = fields.Integer(required=True)
    price = fields.String(required=True)


class StatusChange(Document):
    status = fields.String(required=True)
    previous = fields.String(allow_none=True, data_key="from")
    reason = maybe_text()
    at = time_text(required=True)
    eventId = maybe_text()


class TimelineEntry(Document):
    eventId = fields.String(required=True)
    type = fields.String(required=True)
    source = fields.String(required=True)
    causationId = maybe_text()
    correlationId = maybe_text()
    at = time_text(required=True)
    recordedAt = time_text()
    decision = maybe_text()
    note = maybe_text()
    payload = fields.Dict()


class ReturnedLine(Document):
    item = fields.String(required=True)
    quantity = fields.Integer(required=True)


class OrderReturn(Document):
    """Lines of a fulfilled order that came back."""

    id = fields.String(required=True, metadata={"format": "uuid"})
    items = fields.List(fields.Nested(ReturnedLine), required=True)
    restock = fields.Boolean(required=True)
    refundAmount = fields.String(required=True, metadata={"examples": ["10.00"]})
    status = fields.String(required=True)
    createdAt = time_text()


class Order(OrderSummary):
    reason = maybe_text()
    paymentMode = fields.String()
    items = fields.List(fields.Nested(OrderLine), required=True)
    shippingAddress = fields.Dict(allow_none=True)
    updatedAt = time_text()
    settledAt = time_text(allow_none=True)
    deadlineAt = time_text(allow_none=True)
    step = fields.String(metadata={"description": "What the saga is at, as on the saga board"})
    waitsFor = fields.String(metadata={"description": "Whose turn it is, as on the saga board"})
    awaitsApproval = fields.Boolean(metadata={"description": "The seller has to approve or decline first"})
    fulfilRequestedAt = time_text(allow_none=True)
    tracking = maybe_text()
    refunded = fields.String(metadata={"description": "Given back of the price so far", "examples": ["0.00"]})
    flag = fields.String(allow_none=True, metadata={"description": "Why an operator should look at it"})
    flaggedAt = time_text(allow_none=True)
    returns = fields.List(fields.Nested(OrderReturn))
    allowedActions = fields.List(
        fields.String(metadata={"enum": ["cancel", "approve", "decline", "fulfil", "return"]}),
        metadata={"description": "What may be asked of the order as it is now, by whoever may ask it at all"},
    )
    archived = fields.Boolean(metadata={"description": "It is over, was put away, and nothing can be asked of it"})
    archivedAt = time_text()
    history = fields.List(fields.Nested(StatusChange), required=True)
    timeline = fields.List(fields.Nested(TimelineEntry), required=True)
    reservation = fields.Dict(
        allow_none=True,
        metadata={"description": "What the order was told: state, generation, expiresAt. Expanded: a Reservation"},
    )
    payment = fields.Dict(
        allow_none=True,
        metadata={"description": "What the order was told: paymentId, state, reason. Expanded: a Payment"},
    )


class CartItem(Document):
    item = fields.String(required=True)
    quantity = fields.Integer(required=True)
    name = maybe_text()
    sellerId = maybe_text()
    price = fields.String(allow_none=True, metadata={"description": "Of one piece, at the moment"})
    currency = maybe_text()
    forSale = fields.Boolean(metadata={"description": "Whether it is sold at the moment; not how many there are"})


class Cart(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    userId = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": ["OPEN", "ORDERED"]})
    orderId = fields.String(allow_none=True, metadata={"format": "uuid", "description": "What it has become"})
    items = fields.List(fields.Nested(CartItem), required=True)
    price = fields.String(allow_none=True, metadata={"description": "Of all, if it could be ordered now"})
    currency = maybe_text()
    createdAt = time_text()
    updatedAt = time_text()


class OrderPage(Document):
    orders = fields.List(fields.Nested(OrderSummary), required=True)
    nextCursor = maybe_text()


class Product(Document):
    item = fields.String(required=True)
    name = fields.String(required=True)
    sellerId = fields.String(required=True)
    price = fields.String(required=True)
    currency = fields.String(required=True)
    active = fields.Boolean()
    requiresApproval = fields.Boolean()
    version = fields.Integer()
    onHand = fields.Integer()
    reserved = fields.Integer()
    available = fields.Integer()
    updatedAt = time_text()


class ProductPage(Document):
    products = fields.List(fields.Nested(Product), required=True)
    nextCursor = maybe_text()


class Stock(Document):
    item = fields.String(required=True)
    name = fields.String()
    sellerId = fields.String()
    onHand = fields.Integer(required=True)
    reserved = fields.Integer(required=True)
    available = fields.Integer(required=True)


class StockPage(Document):
    stock = fields.List(fields.Nested(Stock), required=True)
    nextCursor = maybe_text()


class Movement(Document):
    id = fields.Integer()
    item = fields.String(required=True)
    kind = fields.String(required=True)
    deltaOnHand = fields.Integer(required=True)
    deltaReserved = fields.Integer(required=True)
    reservationId = fields.String(allow_none=True, metadata={"description": "Of an order: the order's id"})
    reservationKind = fields.String(allow_none=True, metadata={"enum": ["order", "manual", None]})
    generation = fields.Integer(allow_none=True)
    eventId = maybe_text()
    reason = fields.String(allow_none=True, metadata={"description": "What was given with a correction by hand"})
    at = time_text()


class MovementPage(Document):
    movements = fields.List(fields.Nested(Movement), required=True)
    nextCursor = maybe_text()


class HeldLine(Document):
    item = fields.String(required=True)
    quantity = fields.Integer(required=True)


class Reservation(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    kind = fields.String(required=True, metadata={"enum": ["order", "manual"]})
    reference = maybe_text()
    userId = maybe_text()
    sellerId = maybe_text()
    status = fields.String(required=True)
    generation = fields.Integer()
    items = fields.List(fields.Nested(HeldLine), required=True)
    expiresAt = time_text(allow_none=True)
    createdAt = time_text()
    endedAt = time_text(allow_none=True)


class ReservationPage(Document):
    reservations = fields.List(fields.Nested(Reservation), required=True)
    nextCursor = maybe_text()


class PaymentAttempt(Document):
    """One operation at the provider: CHARGE, VOID or REFUND."""

    id = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    reason = maybe_text()
    amount = fields.String()
    tries = fields.Integer()
    startedAt = time_text()
    endedAt = time_text(allow_none=True)


class Refund(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    paymentId = fields.String(metadata={"format": "uuid"})
    orderId = fields.String(metadata={"format": "uuid"})
    amount = fields.String(required=True)
    currency = fields.String()
    reason = fields.String(required=True)
    status = fields.String(required=True)
    failure = maybe_text()
    createdAt = time_text()
    endedAt = time_text(allow_none=True)


class Payment(Document):
    id = fields.String(required=True, metadata={"format": "uuid"})
    orderId = fields.String(required=True, metadata={"format": "uuid"})
    status = fields.String(required=True)
    amount = fields.String(required=True)
    currency = fields.String(required=True)
    refunded = fields.String()
    refunding = fields.String(metadata={"description": "Sum of the refunds under way"})
    userId = maybe_text()
    sellerId = maybe_text()
    mode = fields.String()
    expiresAt = time_text(allow_none=True)
    charging = fields.Boolean()
    attemptsLeft = fields.Integer(metadata={"description": "How often its customer may still try to pay"})
    pspReference = maybe_text()
    createdAt = time_text()
    updatedAt = time_text()
    attempts = fields.List(fields.Nested(PaymentAttempt))
    refunds = fields.List(fields.Nested(Refund))


def _webhook(types: list[str], member: str) -> dict[str, Any]:
    """One kind of webhook: its types, and what its data must have besides the key."""
    text = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\u0000]*$"}
    key = {**text, "minLength": 0, "description": "The idempotency key of the charge"}
    data = {"type": "object", "properties": {"key": key, member: text}, "required": ["key", member]}
    return {"properties": {"type": {"type": "string", "enum": types}, "data": data}, "required": ["type", "data"]}


class Webhook(Document):
    """What the provider sends; read only after its signature was found right. Other members are not read."""

    class Meta(Document.Meta):
        json_schema = {  # noqa: RUF012 -- as marshmallow declares options
            "oneOf": [
                _webhook(["charge.processing", "charge.succeeded"], "reference"),
                _webhook(["charge.failed"], "reason"),
            ]
        }

    id = fields.String(
        required=True, validate=ma.validate.Length(min=1, max=200), metadata={"pattern": r"^[^\u0000]*$"}
    )


class WebhookReceipt(Document):
    applied = fields.Boolean(
        required=True, metadata={"description": "false: known before, or too late to matter; do not send it again"}
    )


class Liveness(Document):
    status = fields.String(required=True, metadata={"enum": ["alive"]})


class ChaosMark(Document):
    kind = fields.String(required=True)
    target = fields.String(required=True)
    until = time_text(required=True)


def chaos_marks() -> fields.List[Any]:
    said = "Trouble made on purpose; only while there is any"
    return fields.List(fields.Nested(ChaosMark), metadata={"description": said})


class Readiness(Document):
    status = fields.String(required=True, metadata={"enum": ["ready"]})
    services = fields.Dict(required=True)
    chaos = chaos_marks()
