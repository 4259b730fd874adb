"""What clients may send: strict marshmallow schemas.

Owns: which request has which fields, and their limits. Must not know: what a valid request leads to (prices, stock).
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from gateway.fields import (
    Matches,
    Money,
    MoneyOrNothing,
    Text,
    Token,
    Truth,
    change_of,
    currency,
    cursor,
    item_id,
    limit,
    uuid_text,
    whole_number,
)

ORDER_STATUSES = ("PENDING", "RESERVED", "CONFIRMED", "FULFILLED", "CANCELLED")
RESERVATION_STATUSES = ("RESERVED", "COMMITTED", "RELEASED", "EXPIRED")
MAX_LINES = 100
MAX_QUANTITY = 1_000
MAX_ON_HAND = 1_000_000_000
LONGEST_HOLD_S = 86_400


class Nothing(ma.Schema):
    """An empty object: for requests whose path says everything."""


class Line(ma.Schema):
    item = item_id()
    quantity = whole_number(1, MAX_QUANTITY)


def _lines() -> fields.List[dict[str, Any]]:
    return fields.List(fields.Nested(Line), required=True, validate=validate.Length(min=1, max=MAX_LINES))


# Orders


class ShippingAddress(ma.Schema):
    name = Text(max_length=200, required=True)
    line1 = Text(max_length=200, required=True)
    line2 = Text(max_length=200)
    city = Text(max_length=100, required=True)
    postalCode = Text(max_length=20, required=True)
    country = fields.String(required=True, validate=Matches(r"^[A-Z]{2}$", error="Must be a country code such as DE."))


class NewOrder(ma.Schema):
    userId = Text(max_length=64, required=True)
    items = _lines()
    paymentMethod = Token(max_length=64, load_default="tok_success")
    paymentMode = fields.String(load_default="auto", validate=validate.OneOf(("auto", "manual")))
    price = Money()
    currency = currency(required=False)
    shippingAddress = fields.Nested(ShippingAddress)


class Cancellation(ma.Schema):
    by = fields.String(load_default="customer", validate=validate.OneOf(("customer", "seller", "operator")))


class Fulfilment(ma.Schema):
    tracking = Text(max_length=200)


class NewReturn(ma.Schema):
    items = _lines()
    restock = Truth(required=True)
    refundAmount = MoneyOrNothing()


class OrderQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    status = fields.String(validate=validate.OneOf(ORDER_STATUSES))
    userId = Text(max_length=64)


# Products and stock


class NewProduct(ma.Schema):
    item = item_id()
    name = Text(max_length=200, required=True)
    sellerId = Text(max_length=64, required=True)
    price = Money(required=True)
    currency = currency(required=True)
    onHand = whole_number(0, MAX_ON_HAND)
    requiresApproval = Truth()


class ProductQuery(ma.Schema):
    limit = limit()
    cursor = cursor()


class NewHold(ma.Schema):
    items = _lines()
    ttlSeconds = whole_number(1, LONGEST_HOLD_S, required=False)
    reference = Text(max_length=200)


class HeldReservation(ma.Schema):
    reservationId = uuid_text()


class Adjustment(ma.Schema):
    item = item_id()
    delta = change_of(MAX_ON_HAND)
    reason = Text(max_length=200, required=True)


class ReservationQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    status = fields.String(validate=validate.OneOf(RESERVATION_STATUSES))


# Payments


class Confirmation(ma.Schema):
    paymentMethod = Token(max_length=64, required=True)


class NewRefund(ma.Schema):
    amount = Money()
    reason = Text(max_length=200)
