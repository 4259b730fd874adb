"""What clients get, for the OpenAPI document only: bodies pass through from the services unchanged.

Owns: the documented shapes of responses. Must not know: requests, endpoints or services.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields


def _time(**options: Any) -> fields.String:
    return fields.String(metadata={"format": "date-time"}, **options)


def _maybe_text() -> fields.String:
    return fields.String(allow_none=True)


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
    status = fields.String(required=True)
    price = fields.String(required=True, metadata={"examples": ["10.00"]})
    currency = fields.String(required=True)
    createdAt = _time(required=True)


class OrderLine(Document):
    item = fields.String(required=True)
    sellerId = fields.String(required=True)
    quantity = fields.Integer(required=True)
    price = fields.String(required=True)


class StatusChange(Document):
    status = fields.String(required=True)
    previous = fields.String(allow_none=True, data_key="from")
    reason = _maybe_text()
    at = _time(required=True)
    eventId = _maybe_text()


class TimelineEntry(Document):
    eventId = fields.String(required=True)
    type = fields.String(required=True)
    source = fields.String(required=True)
    causationId = _maybe_text()
    correlationId = _maybe_text()
    at = _time(required=True)
    recordedAt = _time()
    decision = _maybe_text()
    note = _maybe_text()
    payload = fields.Dict()


class Order(OrderSummary):
    reason = _maybe_text()
    paymentMode = fields.String()
    items = fields.List(fields.Nested(OrderLine), required=True)
    shippingAddress = fields.Dict(allow_none=True)
    updatedAt = _time()
    settledAt = _time(allow_none=True)
    deadlineAt = _time(allow_none=True)
    history = fields.List(fields.Nested(StatusChange), required=True)
    timeline = fields.List(fields.Nested(TimelineEntry), required=True)
    reservation = fields.Dict(allow_none=True)
    payment = fields.Dict(allow_none=True)


class OrderPage(Document):
    orders = fields.List(fields.Nested(OrderSummary), required=True)
    nextCursor = _maybe_text()


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
    updatedAt = _time()


class ProductPage(Document):
    products = fields.List(fields.Nested(Product), required=True)
    nextCursor = _maybe_text()


class Liveness(Document):
    status = fields.String(required=True, metadata={"enum": ["alive"]})


class Readiness(Document):
    status = fields.String(required=True, metadata={"enum": ["ready"]})
    services = fields.Dict(required=True)
