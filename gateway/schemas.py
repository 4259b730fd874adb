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
    Several,
    Text,
    Token,
    Truth,
    change_of,
    currency,
    cursor,
    item_id,
    limit,
    moment,
    one_of,
    uuid_text,
    whole_number,
)

ORDER_STATUSES = ("PENDING", "RESERVED", "CONFIRMED", "FULFILLED", "CANCELLED")
RESERVATION_STATUSES = ("RESERVED", "COMMITTED", "RELEASED", "EXPIRED")
MAX_LINES = 100
MAX_QUANTITY = 1_000
MAX_ON_HAND = 1_000_000_000
LONGEST_HOLD_S = 86_400
EXPAND_PATTERN = r"^(payment|reservation|payment,reservation|reservation,payment)$"


class Nothing(ma.Schema):
    """An empty object: for requests whose path says everything."""


class Line(ma.Schema):
    item = item_id()
    quantity = whole_number(1, MAX_QUANTITY)


def _lines(*, required: bool = True) -> Several:
    return Several(fields.Nested(Line), required=required, validate=validate.Length(min=1, max=MAX_LINES))


# Orders


class ShippingAddress(ma.Schema):
    name = Text(max_length=200, required=True)
    line1 = Text(max_length=200, required=True)
    line2 = Text(max_length=200)
    city = Text(max_length=100, required=True)
    postalCode = Text(max_length=20, required=True)
    country = fields.String(required=True, validate=Matches(r"^[A-Z]{2}$", error="Must be a country code such as DE."))


class NewOrder(ma.Schema):
    """Lines, or a cart that has them."""

    class Meta:
        json_schema = one_of("items", "cartId")

    userId = Text(max_length=64)
    items = _lines(required=False)
    cartId = uuid_text(required=False)
    paymentMethod = Token(max_length=64, load_default="tok_success")
    paymentMode = fields.String(load_default="auto", validate=validate.OneOf(("auto", "manual")))
    price = Money()
    currency = currency(required=False)
    shippingAddress = fields.Nested(ShippingAddress)

    @ma.validates_schema
    def _has_lines_or_a_cart(self, data: dict[str, Any], **_: Any) -> None:
        if ("items" in data) == ("cartId" in data):
            raise ma.ValidationError("Send items or cartId, one of them.")


class Cancellation(ma.Schema):
    by = fields.String(
        validate=validate.OneOf(("customer", "seller", "operator")),
        metadata={"description": "Only for somebody who is more than one of them to the order"},
    )


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
    sellerId = Text(max_length=64)
    item = item_id(required=False)
    since = moment(description="Placed at this time or later")
    until = moment(description="Placed before this time")
    text = Text(
        max_length=200,
        metadata={
            "description": "The first 8 or more or the last 8 characters of an order's id, or exactly a user, seller, "
            "item, tracking number or correlation id"
        },
    )


class Expansion(ma.Schema):
    expand = fields.String(
        validate=Matches(EXPAND_PATTERN, error="payment, reservation, or both with a comma between."),
        metadata={"description": "Show these in full", "examples": ["payment,reservation"]},
    )


# Carts


class NewCart(ma.Schema):
    items = Several(fields.Nested(Line), validate=validate.Length(max=MAX_LINES))


class CartLine(ma.Schema):
    quantity = whole_number(1, MAX_QUANTITY)


# Products and stock


class NewProduct(ma.Schema):
    item = item_id()
    name = Text(max_length=200, required=True)
    sellerId = Text(max_length=64, metadata={"description": "A seller's own if left out"})
    price = Money(required=True)
    currency = currency(required=True)
    onHand = whole_number(0, MAX_ON_HAND)
    requiresApproval = Truth()


class ProductChanges(ma.Schema):
    """At least one of them."""

    class Meta:
        json_schema = {"minProperties": 1}  # noqa: RUF012 -- as marshmallow declares options

    name = Text(max_length=200)
    price = Money()
    currency = currency(required=False)
    active = Truth()
    requiresApproval = Truth()

    @ma.validates_schema
    def _changes_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ma.ValidationError("Say what should change.")


class ProductQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    text = Text(max_length=200, metadata={"description": "Part of the name or the item id"})
    sellerId = Text(max_length=64)
    active = fields.String(load_default="true", validate=validate.OneOf(("true", "false", "any")))


class StockQuery(ma.Schema):
    limit = limit()
    cursor = cursor()
    sellerId = Text(max_length=64)
    item = item_id(required=False)


class MovementQuery(ma.Schema):
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
    sellerId = Text(max_length=64)


# Payments


class NewPayment(ma.Schema):
    orderId = uuid_text()


class Confirmation(ma.Schema):
    paymentMethod = Token(max_length=64, required=True)


class NewRefund(ma.Schema):
    amount = Money()
    reason = Text(max_length=200)
