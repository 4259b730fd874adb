"""Carts on the wire: what may be asked of one, and how it is shown.

Owns: field names and validation. Must not know: what is decided (basket.py).
"""

from __future__ import annotations

from marshmallow import RAISE, fields

from order_service.schemas import WantedLine, customer
from shared.event_schema import Moment, Money, PayloadSchema


class NewCartSchema(PayloadSchema):
    """How many lines a cart may have is decided in basket.py."""

    class Meta:
        unknown = RAISE

    user_id = customer()
    items = fields.List(fields.Nested(WantedLine))


class CartLineView(PayloadSchema):
    """Name, seller, price and currency are those of now; nothing of an item that the price list does not know."""

    item = fields.String()
    quantity = fields.Integer()
    name = fields.String()
    seller_id = fields.String(data_key="sellerId")
    price = Money()
    currency = fields.String()
    for_sale = fields.Boolean(data_key="forSale")


class CartView(PayloadSchema):
    id = fields.UUID()
    user_id = fields.String(data_key="userId")
    status = fields.String()
    order_id = fields.UUID(data_key="orderId")
    items = fields.List(fields.Nested(CartLineView))
    price = Money()
    currency = fields.String()
    created_at = Moment(data_key="createdAt")
    updated_at = Moment(data_key="updatedAt")
