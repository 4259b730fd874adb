"""The base of every schema on the wire: how money, moments and ids look there.

Owns: field types, the rule that readers ignore what they do not know, and the refusal of a request that does not load.
Must not know: any particular event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from shared.errors import InvalidRequest
from shared.express import Convert, Unusual, dumper, loader

_CENT = Decimal("0.01")
# Not whatever Decimal reads: it takes exponents, underscores, spaces and every script's digits.
_MONEY = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,2})?")


class Money(fields.Field[Decimal]):
    """A decimal string with at most two digits after the point, such as "10.00"; never a JSON number."""

    def _serialize(self, value: Decimal | None, *_args: Any, **_kwargs: Any) -> str | None:
        return None if value is None else str(value.quantize(_CENT))

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Decimal:
        if not isinstance(value, str) or not _MONEY.fullmatch(value):
            raise ValidationError("Money is a decimal string such as '10.00': ten digits and two after the point.")
        # Adding nothing makes minus nothing nothing.
        return Decimal(value).quantize(_CENT) + 0


class Moment(fields.Field[datetime]):
    """A point in time as RFC 3339 in UTC, such as "2026-01-01T12:00:00.000000Z"."""

    def _serialize(self, value: datetime | None, *_args: Any, **_kwargs: Any) -> str | None:
        return None if value is None else moment_text(value)

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValidationError("Not an RFC 3339 time.") from error
        raise ValidationError("A time needs its zone.")


def moment_text(moment: datetime) -> str:
    """RFC 3339 with microseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def text(maximum: int = 200, **options: Any) -> fields.String:
    """A text of 1 to ``maximum`` characters; required unless said otherwise."""
    options.setdefault("required", True)
    return fields.String(validate=validate.Length(1, maximum), **options)


def order_id() -> fields.UUID:
    return fields.UUID(required=True, data_key="id")


def currency(**options: Any) -> fields.String:
    options.setdefault("required", True)
    return fields.String(validate=validate.Regexp(r"\A[A-Z]{3}\Z", error="Not an ISO 4217 code."), **options)


def positive_money(**options: Any) -> Money:
    """More than nothing: what a customer pays."""
    cent = validate.Range(_CENT, error="Must be more than 0.")
    return Money(required=True, validate=cent, **options)


def whole_number(minimum: int, maximum: int = 2**31 - 1) -> fields.Integer:
    """At most what an integer column holds."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(minimum, maximum))


def quantity() -> fields.Integer:
    return whole_number(1, 1_000_000)


class PayloadSchema(Schema):
    """Loads into what ``make_value`` makes (a frozen dataclass); ignores unknown fields (tolerant reader)."""

    class Meta:
        unknown = EXCLUDE

    make_value: ClassVar[Callable[..., Any]] = dict

    @post_load
    def _load_value(self, data: Mapping[str, Any], **_kwargs: Any) -> Any:
        return type(self).make_value(**data)

    def load(self, data: Any, **options: Any) -> Any:
        """As marshmallow's; what is plainly in order goes a shorter way to the same result."""
        if options or self.many or (express := self._express_load) is None:
            return super().load(data, **options)
        try:
            return express(data)
        except (Unusual, ValidationError):
            return super().load(data)

    def dump(self, obj: Any, **options: Any) -> Any:
        """As marshmallow's, on a shorter way."""
        if options or self.many or (express := self._express_dump) is None:
            return super().dump(obj, **options)
        return express(obj)

    @cached_property
    def _express_load(self) -> Convert | None:
        return loader(self, "_load_value")

    @cached_property
    def _express_dump(self) -> Convert | None:
        return dumper(self)


Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]


def unchanged(payload: Payload) -> Payload:
    """The upcaster of a view that uses nothing of what the next version changed."""
    return payload


class EventSchema(PayloadSchema):
    """A payload with a version.

    ``schema_version``, the major, is what a publisher writes into the header, and what a consumer's view is written
    for. ``schema_minor`` counts the releases of one major, which read one another; it does not travel.
    ``upcasters``: older major → pure function from its payload to that of the next one. They are chained.
    """

    schema_version: ClassVar[int] = 1
    schema_minor: ClassVar[int] = 0
    upcasters: ClassVar[Mapping[int, Upcaster]] = {}
    readable_versions: ClassVar[tuple[int, ...]] = (1,)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        readable = (*sorted(cls.upcasters), cls.schema_version)
        if readable != tuple(range(readable[0], cls.schema_version + 1)):
            raise TypeError(f"{cls.__name__} is of version {cls.schema_version}; upcasters: {sorted(cls.upcasters)}")
        cls.readable_versions = readable

    def upcast(self, payload: Payload, version: int) -> Payload:
        """``payload`` of one of the readable versions, as of this one. The one given stays as it came."""
        if version == self.schema_version:
            return payload
        current = deepcopy(payload)
        for older in range(version, self.schema_version):
            current = self.upcasters[older](current)
        return current


def load_request(schema: PayloadSchema, value: Any, name: str | None = None) -> Any:
    """What ``schema`` makes of a request, or of the part of it called ``name``.

    Raises InvalidRequest with the errors of every field.
    """
    what = name or "the request"
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} must be an object", {"errors": {name or "_schema": ["must be an object"]}})
    try:
        return schema.load(value)
    except ValidationError as error:
        raise InvalidRequest(f"{what} is not valid", {"errors": error.messages}) from error
