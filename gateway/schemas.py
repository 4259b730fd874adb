"""What clients may send: strict marshmallow schemas.

Owns: the form of requests and its limits. Must not know: what a valid request leads to (prices, stock).
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

ITEM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MONEY_PATTERN = r"^(?!0(\.0{1,2})?$)(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?$"
CURSOR_PATTERN = r"^[A-Za-z0-9_=.~-]{1,512}$"
ORDER_STATUSES = ("PENDING", "RESERVED", "CONFIRMED", "FULFILLED", "CANCELLED")
MAX_LINES = 100
MAX_QUANTITY = 1_000
MAX_ON_HAND = 1_000_000_000
MAX_PAGE = 100

_MONEY = re.compile(MONEY_PATTERN)
_DIGITS = re.compile(r"[0-9]{1,9}")
_ITEM = re.compile(ITEM_PATTERN)


def is_item_id(text: str) -> bool:
    return _ITEM.fullmatch(text) is not None


class Matches(validate.Regexp):
    """A regular expression for the whole string: ``$`` alone would let a line feed follow."""

    regex: re.Pattern[str]

    def __call__(self, value: str) -> str:  # type: ignore[override]  # marshmallow overloads for bytes
        if self.regex.fullmatch(value) is None:
            raise ma.ValidationError(self.error)
        return value


class Text(fields.String):
    """A non-empty string that every store and log can hold: no NUL, no half of a surrogate pair."""

    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "nul": "May not contain NUL characters.",
        "surrogate": "May not contain unpaired surrogates.",
        "blank": "May not be blank.",
        "control": "May not contain control characters.",
    }

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(
            validate=validate.Length(min=1, max=max_length), metadata={"pattern": r"^[^\u0000]*$"}, **options
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if "\x00" in text:
            raise self.make_error("nul")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self.make_error("surrogate")
        if any(character < " " or character == "\x7f" for character in text):
            raise self.make_error("control")
        if not text.strip():
            raise self.make_error("blank")
        return text


class Money(fields.String):
    """A positive decimal string such as "10.00"; a JSON number is refused, for it may have been rounded."""

    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "invalid": 'Must be a decimal string such as "10.00".',
        "amount": "Must be from 0.01 to 9999999.99, with at most two digits after the point.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"pattern": MONEY_PATTERN, "examples": ["10.00"]}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _MONEY.fullmatch(text) is None:
            raise self.make_error("amount")
        return f"{Decimal(text):.2f}"


class Truth(fields.Boolean):
    """true or false, and nothing that merely resembles them."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryCount(fields.Integer):
    """A whole number in a query string, in plain ASCII digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if _DIGITS.fullmatch(value) is None:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


def _whole_number(minimum: int, maximum: int) -> fields.Integer:
    return fields.Integer(required=True, strict=True, validate=validate.Range(min=minimum, max=maximum))


def _item() -> fields.String:
    return fields.String(required=True, validate=Matches(ITEM_PATTERN, error="Not an item id."))


def _currency(*, required: bool) -> fields.String:
    return fields.String(
        required=required, validate=Matches(r"^[A-Z]{3}$", error="Must be a currency code such as EUR.")
    )


def _cursor() -> fields.String:
    return fields.String(validate=Matches(CURSOR_PATTERN, error="Not a cursor of this API."))


def _limit() -> QueryCount:
    return QueryCount(load_default=50, validate=validate.Range(min=1, max=MAX_PAGE))


class NewOrderLine(ma.Schema):
    item = _item()
    quantity = _whole_number(1, MAX_QUANTITY)


class ShippingAddress(ma.Schema):
    name = Text(max_length=200, required=True)
    line1 = Text(max_length=200, required=True)
    line2 = Text(max_length=200)
    city = Text(max_length=100, required=True)
    postalCode = Text(max_length=20, required=True)
    country = fields.String(required=True, validate=Matches(r"^[A-Z]{2}$", error="Must be a country code such as DE."))


class NewOrder(ma.Schema):
    userId = Text(max_length=64, required=True)
    items = fields.List(fields.Nested(NewOrderLine), required=True, validate=validate.Length(min=1, max=MAX_LINES))
    paymentMethod = Text(max_length=64, load_default="tok_success")
    paymentMode = fields.String(load_default="auto", validate=validate.OneOf(("auto", "manual")))
    price = Money()
    currency = _currency(required=False)
    shippingAddress = fields.Nested(ShippingAddress)


class Cancellation(ma.Schema):
    by = fields.String(load_default="customer", validate=validate.OneOf(("customer", "seller", "operator")))


class OrderQuery(ma.Schema):
    limit = _limit()
    cursor = _cursor()
    status = fields.String(validate=validate.OneOf(ORDER_STATUSES))
    userId = Text(max_length=64)


class NewProduct(ma.Schema):
    item = _item()
    name = Text(max_length=200, required=True)
    sellerId = Text(max_length=64, required=True)
    price = Money(required=True)
    currency = _currency(required=True)
    onHand = _whole_number(0, MAX_ON_HAND)
    requiresApproval = Truth()


class ProductQuery(ma.Schema):
    limit = _limit()
    cursor = _cursor()
