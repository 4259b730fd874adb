"""The short way through a schema leads to marshmallow's own result, for every schema of every service."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing, pre_load

from shared.event_schema import Moment, Money, PayloadSchema

MODULES = (
    "order_service.schemas",
    "order_service.cart_schemas",
    "order_service.listing_schemas",
    "inventory_service.schemas",
    "payment_service.schemas",
)
SCHEMAS = sorted(
    {
        schema
        for module in map(importlib.import_module, MODULES)
        for schema in vars(module).values()
        if isinstance(schema, type) and issubclass(schema, PayloadSchema)
    },
    key=lambda schema: (schema.__module__, schema.__qualname__),
)
MANY = settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)

TEXTS = st.sampled_from(["a", "EUR", "auto", "tok_success", "10.00", "-0.00", "", "x" * 201, "\u0000", "12.345"])
UUIDS = st.sampled_from(["0189c1d0-0000-7000-8000-000000000001", "0189C1D0000070008000000000000001", "no-id"])
MOMENTS = st.sampled_from(["2026-01-01T12:00:00.000000Z", "2026-01-01T12:00:00", "2026-01-01T12:00:00+02:00"])
ODD = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.just([]), st.just({}), TEXTS)


def fitting(field: fields.Field[Any]) -> st.SearchStrategy[Any]:
    """Values that this field may well take."""
    if isinstance(field, fields.Nested):
        return payloads(field.schema)
    if isinstance(field, fields.List):
        return st.lists(fitting(field.inner), max_size=3)
    kinds: tuple[tuple[type, st.SearchStrategy[Any]], ...] = (
        (fields.UUID, UUIDS),
        (fields.Integer, st.sampled_from([0, 1, 7, 2**31, True, 1.0, "1"])),
        (fields.Boolean, st.sampled_from([True, False, "true", 1])),
        (Money, st.sampled_from(["10.00", "-0.00", "0.01", "1e3", "12.345"])),
        (Moment, MOMENTS),
        (fields.Dict, st.just({"city": "Bern"})),
    )
    return next((values for kind, values in kinds if isinstance(field, kind)), TEXTS)


def payloads(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly fields with fitting values; some missing, some odd, now and then one that nobody knows."""
    known = {
        field.data_key or name: st.one_of(fitting(field), fitting(field), fitting(field), ODD)
        for name, field in schema.load_fields.items()
    }
    return st.fixed_dictionaries({}, optional={**known, "unheardOf": ODD}).map(dict)


def marshmallows(schema: Schema, data: Any) -> tuple[Any, Any]:
    """(what it loads, errors)."""
    try:
        return Schema.load(schema, data), None
    except ValidationError as error:
        return None, error.messages


def ours(schema: Schema, data: Any) -> tuple[Any, Any]:
    try:
        return schema.load(data), None
    except ValidationError as error:
        return None, error.messages


@pytest.mark.parametrize("schema_class", SCHEMAS, ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_loads_what_marshmallow_loads_and_refuses_what_it_refuses(schema_class: type[PayloadSchema]) -> None:
    schema = schema_class()

    @MANY
    @given(data=payloads(schema))
    def check(data: Any) -> None:
        assert repr(ours(schema, data)) == repr(marshmallows(schema, data))

    check()


def dumpable(field: fields.Field[Any]) -> Iterator[Any]:
    """Values of the kind that code hands to this field, None among them."""
    if isinstance(field, fields.Nested):
        yield dict(values_of(field.schema, 0))
    elif isinstance(field, fields.List):
        yield [value for value in dumpable(field.inner) if value is not None]
    else:
        yield from next(
            values
            for kind, values in (
                (fields.UUID, (UUID(int=7),)),
                (fields.Integer, (3,)),
                (fields.Boolean, (True,)),
                (Money, (Decimal("1.5"),)),
                (Moment, (moment(),)),
                (fields.Enum, tuple(getattr(field, "enum", ()))),
                (fields.Dict, ({"city": "Bern"},)),
                (fields.Raw, ({"paymentMethod": "tok", "a": 1},)),
                (fields.Field, ("a text",)),
            )
            if isinstance(field, kind)
        )
    if not isinstance(field, fields.Raw):
        yield None


def moment() -> Any:
    return Moment().deserialize("2026-01-01T12:00:00+02:00")


def values_of(schema: Schema, number: int) -> Iterator[tuple[str, Any]]:
    for name, field in schema.dump_fields.items():
        values = list(dumpable(field))
        yield field.attribute or name, values[number % len(values)]


@pytest.mark.parametrize("schema_class", SCHEMAS, ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_dumps_what_marshmallow_dumps(schema_class: type[PayloadSchema]) -> None:
    schema = schema_class()
    for number in range(2):
        whole = dict(values_of(schema, number))
        assert schema.dump(whole) == Schema.dump(schema, whole)
        assert list(schema.dump(whole)) == list(Schema.dump(schema, whole))
        # marshmallow takes a dict's own method `items` for the field where that is missing.
        for left_out in whole.keys() - {"items"}:
            part = {name: value for name, value in whole.items() if name != left_out}
            assert schema.dump(part) == Schema.dump(schema, part)


def test_every_schema_takes_the_short_way() -> None:
    """Or the tests above would compare marshmallow with itself."""
    long_way = {schema for schema in SCHEMAS if not (schema()._express_load and schema()._express_dump)}

    assert long_way == set()


class Doubled(PayloadSchema):
    number = fields.Integer(strict=True)

    @pre_load
    def _double(self, data: Mapping[str, Any], **_kwargs: Any) -> dict[str, Any]:
        return {"number": 2 * data["number"]}


def test_a_schema_with_parts_that_are_not_known_goes_the_long_way() -> None:
    schema = Doubled()

    assert schema._express_load is None
    assert schema.load({"number": 2}) == {"number": 4}


class WithDefaults(PayloadSchema):
    class Meta:
        unknown = EXCLUDE

    kept = fields.String(load_default="as it was", dump_default="nothing")
    made = fields.List(fields.String(), load_default=list)
    left_out = fields.String(load_default=missing)


def test_defaults_stand_in_for_what_is_missing() -> None:
    schema = WithDefaults()

    assert schema.load({}) == {"kept": "as it was", "made": []}
    assert schema.dump({}) == {"kept": "nothing"}


def test_objects_are_dumped_by_their_attributes() -> None:
    class Line:
        kept = "here"

    assert WithDefaults().dump(Line()) == {"kept": "here"}
