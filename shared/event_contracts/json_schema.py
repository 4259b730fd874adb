"""From a marshmallow class to JSON Schema (2020-12): the same fields, types and limits, in a stable order.

Owns: how each kind of field is written down. Must not know: releases, or which class is published by whom.

Money is text on the wire, and JSON Schema has no smallest number for a text. So its limits are said twice: for programs
that check payloads by ``pattern`` and ``not``, for the comparison of two versions by ``x-minimum``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, missing, validate

from shared.choreography import ContractBroken
from shared.event_schema import Moment, Money
from shared.payment_tokens import PaymentMethod

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MONEY = "money"
_MONEY_TEXT = r"^-?[0-9]{1,10}(\.[0-9]{1,2})?$"
_MONEY_WITHOUT_SIGN = r"^[0-9]{1,10}(\.[0-9]{1,2})?$"
_NOTHING = r"^0+(\.0+)?$"


def document(event_type: str, version: str, schema: type[Schema]) -> Json:
    """The artefact of one release."""
    head = {"$schema": DIALECT, "$id": f"urn:ordersaga:event:{event_type}:{version}", "title": event_type}
    return head | of_class(schema)


def of_class(schema: type[Schema]) -> Json:
    """Raises ContractBroken for a kind of field that is not known here."""
    return _of_schema(schema())


def _of_schema(schema: Schema) -> Json:
    found = schema.load_fields
    properties = {field.data_key or name: _of_field(field) for name, field in found.items()}
    required = sorted(field.data_key or name for name, field in found.items() if field.required)
    return {
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "required": required,
        # What a reader ignores may be there: the next minor's fields.
        "additionalProperties": schema.unknown == EXCLUDE,
    }


def _of_field(field: fields.Field[Any]) -> Json:
    written = _plain(field)
    for validator in field.validators:
        _limit(written, field, validator)
    if field.allow_none:
        written["type"] = [written["type"], "null"]
        if "enum" in written:
            written["enum"] = [*written["enum"], None]
    if field.load_default is not missing:
        default = field.load_default
        written["default"] = field._serialize(default() if callable(default) else default, field.name, None)
    return written


def _plain(field: fields.Field[Any]) -> Json:
    for kinds, write in _KINDS:
        if isinstance(field, kinds):
            return write(field)
    raise ContractBroken(f"{field.name}: {type(field).__name__} is a kind of field that has no JSON Schema here")


def _money(_field: Any) -> Json:
    return {"type": "string", "format": MONEY, "pattern": _MONEY_TEXT}


def _enum(field: Any) -> Json:
    return {"type": "string", "enum": sorted(member.value for member in field.enum)}


def _list(field: Any) -> Json:
    return {"type": "array", "items": _of_field(field.inner)}


def _text(_field: Any) -> Json:
    return {"type": "string"}


_KINDS: tuple[tuple[tuple[type[Any], ...], Callable[[Any], Json]], ...] = (
    ((Money,), _money),
    ((Moment,), lambda _field: {"type": "string", "format": "date-time"}),
    ((fields.UUID,), lambda _field: {"type": "string", "format": "uuid"}),
    ((fields.Enum,), _enum),
    ((fields.Nested,), lambda field: _of_schema(field.schema)),
    ((fields.List,), _list),
    ((fields.Boolean,), lambda _field: {"type": "boolean"}),
    ((fields.Integer,), lambda _field: {"type": "integer"}),
    ((PaymentMethod, fields.String), _text),
)


def _limit(written: Json, field: fields.Field[Any], validator: Any) -> None:
    """What ``validator`` allows. Raises ContractBroken for one that is not known: what it refuses would not be said."""
    if isinstance(validator, validate.And):
        for part in validator.validators:
            _limit(written, field, part)
    elif isinstance(validator, validate.Length):
        least, most = ("minItems", "maxItems") if written["type"] == "array" else ("minLength", "maxLength")
        _bound(written, ((least, validator.equal or validator.min), (most, validator.equal or validator.max)))
    elif isinstance(validator, validate.Range) and validator.min_inclusive and validator.max_inclusive:
        _range(written, validator)
    elif isinstance(validator, validate.OneOf):
        written["enum"] = sorted(validator.choices)
    elif isinstance(validator, validate.Regexp):
        written["pattern"] = str(validator.regex.pattern).replace(r"\A", "^").replace(r"\Z", "$")
    elif not _is_own_check(field, validator):
        raise ContractBroken(f"{field.name}: {type(validator).__name__} has no JSON Schema here")


def _is_own_check(field: fields.Field[Any], validator: Any) -> bool:
    """Fields.Field puts a method of its class among its validators where it has one."""
    return getattr(validator, "__self__", None) is field


def _bound(written: Json, bounds: Iterable[tuple[str, Any]]) -> None:
    written.update((name, value) for name, value in bounds if value is not None)


def _range(written: Json, limits: validate.Range) -> None:
    if written.get("format") != MONEY:
        _bound(written, (("minimum", limits.min), ("maximum", limits.max)))
        return
    _bound(written, (("x-minimum", _amount(limits.min)), ("x-maximum", _amount(limits.max))))
    if limits.min is not None and limits.min >= 0:
        written["pattern"] = _MONEY_WITHOUT_SIGN
        if limits.min > 0:
            written["not"] = {"pattern": _NOTHING}


def _amount(limit: Any) -> str | None:
    return None if limit is None else str(Decimal(limit).quantize(Decimal("0.01")))
