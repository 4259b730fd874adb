"""The kinds of values clients may send, each strict and documented.

Owns: what counts as an item id, money, a text, a truth, a page's size. Must not know: which request has which field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import marshmallow as ma
from marshmallow import fields, validate

from shared.payment_tokens import is_payment_token

NOT_AN_ITEM = "Not an item id: 1 to 64 letters, digits, dots, dashes and _, the first a letter or digit."
ITEM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MONEY_PATTERN = r"^(?!0(\.0{1,2})?$)(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?$"
MONEY_OR_NOTHING_PATTERN = r"^(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?$"
CURSOR_PATTERN = r"^[A-Za-z0-9_=.:~-]{1,512}$"
UUID_PATTERN = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
# No control characters, and one character at least that is no blank of any alphabet.
_CONTROL = r"\u0000-\u001f\u007f"
_BLANK = r"\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
TEXT_PATTERN = rf"^[^{_CONTROL}]*[^{_CONTROL}{_BLANK}][^{_CONTROL}]*$"
# shared.payment_tokens, for clients; a test compares the two.
TOKEN_PATTERN = r"^(?!.*_[0-9](_?[0-9]){12,18}(_|$))[A-Za-z][A-Za-z0-9_]{0,63}$"  # noqa: S105
MAX_PAGE = 100

_DIGITS = re.compile(r"[0-9]{1,9}")
_ITEM = re.compile(ITEM_PATTERN)
_UUID = re.compile(UUID_PATTERN)
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def is_item_id(text: str) -> bool:
    return _ITEM.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """In its usual form only: 36 characters, without braces or a prefix."""
    return _UUID.fullmatch(text) is not None


class Matches(validate.Regexp):
    """A regular expression for the whole string: ``$`` alone would let a line feed follow."""

    regex: re.Pattern[str]

    def __call__(self, value: str) -> str:  # type: ignore[override]  # marshmallow overloads for bytes
        if self.regex.fullmatch(value) is None:
            raise ma.ValidationError(self.error)
        return value


class Text(fields.String):
    """A non-empty string that every store and log can hold: no NUL, no half of a surrogate pair."""

    pattern = TEXT_PATTERN
    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "nul": "May not contain NUL characters.",
        "surrogate": "May not contain unpaired surrogates.",
        "blank": "May not be blank.",
        "control": "May not contain control characters.",
    }

    def __init__(self, *, max_length: int, metadata: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(
            validate=validate.Length(min=1, max=max_length),
            metadata={"pattern": self.pattern, **(metadata or {})},
            **options,
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


class Token(Text):
    """A payment method as its provider calls it. A card number must not come this far: who stores it is a target."""

    pattern = TOKEN_PATTERN
    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "card": "Must be a token of the payment provider, never a card number.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_payment_token(text):
            raise self.make_error("card")
        return text


class Several(fields.List[Any]):
    """A list that is counted before anything in it is looked at: a body has room for a hundred thousand entries."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, list):
            self._validate(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Money(fields.String):
    """A positive decimal string such as "10.00"; a JSON number is refused, for it may have been rounded."""

    pattern = MONEY_PATTERN
    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "invalid": 'Must be a decimal string such as "10.00".',
        "amount": "Must be from 0.01 to 9999999.99, with at most two digits after the point.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"pattern": self.pattern, "examples": ["10.00"]}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if re.fullmatch(self.pattern, text) is None:
            raise self.make_error("amount")
        return f"{Decimal(text):.2f}"


class MoneyOrNothing(Money):
    """The same, but "0.00" is an amount too."""

    pattern = MONEY_OR_NOTHING_PATTERN
    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "amount": "Must be from 0.00 to 9999999.99, with at most two digits after the point.",
    }


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


class Moment(fields.String):
    """A point in time as RFC 3339 with its zone; passed on in UTC."""

    default_error_messages = {  # noqa: RUF012 -- as marshmallow declares it
        "invalid": "Must be a time with its zone such as 2026-01-31T12:00:00Z.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            moment_ = datetime.fromisoformat(text) if _RFC_3339.fullmatch(text) else None
            return moment_.astimezone(UTC).isoformat() if moment_ else self._refuse()
        except (ValueError, OverflowError):
            return self._refuse()

    def _refuse(self) -> NoReturn:
        raise self.make_error("invalid")


def moment(*, description: str) -> Moment:
    return Moment(metadata={"format": "date-time", "description": description})


def one_of(*names: str) -> dict[str, Any]:
    """For a schema's ``Meta.json_schema``: exactly one of these is there."""
    return {"oneOf": [{"required": [name]} for name in names]}


class Whole(fields.Integer):
    """A whole number in JSON, where 2 and 2.0 are the same number; neither "2" nor true is one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(int(value), attr, data, **kwargs)


def whole_number(minimum: int, maximum: int, *, required: bool = True) -> fields.Integer:
    return Whole(required=required, validate=validate.Range(min=minimum, max=maximum))


def change_of(maximum: int) -> fields.Integer:
    """A whole number that is not 0, up or down."""
    in_range = validate.Range(min=-maximum, max=maximum)
    return Whole(
        required=True,
        validate=[in_range, validate.NoneOf([0], error="Must not be 0.")],
        metadata={"not": {"const": 0}},
    )


def item_id(*, required: bool = True) -> fields.String:
    return fields.String(
        required=required,
        validate=Matches(
            ITEM_PATTERN,
            error=NOT_AN_ITEM,
        ),
    )


def uuid_text(*, required: bool = True) -> fields.String:
    return fields.String(
        required=required, validate=Matches(UUID_PATTERN, error="Not a UUID."), metadata={"format": "uuid"}
    )


def currency(*, required: bool) -> fields.String:
    return fields.String(
        required=required, validate=Matches(r"^[A-Z]{3}$", error="Must be a currency code such as EUR.")
    )


def cursor() -> fields.String:
    return fields.String(validate=Matches(CURSOR_PATTERN, error="Not a cursor of this API."))


def limit() -> QueryCount:
    return QueryCount(load_default=50, validate=validate.Range(min=1, max=MAX_PAGE))
