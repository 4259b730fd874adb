"""Schemas of the hot path, compiled once: marshmallow's own result where all is in order, at a fraction of its cost.

Owns: reading and writing by functions made from a schema's fields. Must not know: any schema, or what is wrong with a
payload: whatever is not plainly in order is Unusual, and goes marshmallow's way, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from marshmallow import EXCLUDE, RAISE, Schema, fields, missing
from marshmallow.decorators import POST_DUMP, POST_LOAD, PRE_DUMP, PRE_LOAD, VALIDATES, VALIDATES_SCHEMA

Convert = Callable[[Any], Any]


class Unusual(Exception):
    """Not for here: marshmallow itself must look at it."""


def loader(schema: Schema, finish: str) -> Convert | None:
    """From a dict to what the schema loads; None for a schema with parts that are not known here.

    ``finish`` is the name of its one post_load hook. The function raises Unusual or ValidationError for everything
    that may be invalid.
    """
    hooks = schema._hooks
    only_finishes = [name for name, *_ in hooks[POST_LOAD]] == [finish]
    if hooks[PRE_LOAD] or hooks[VALIDATES] or not only_finishes or schema.unknown not in (EXCLUDE, RAISE):
        return None
    if any(many or options.get("pass_original") for _, many, options in hooks[VALIDATES_SCHEMA]):
        return None
    readers = [
        (field.data_key or name, field.attribute or name, field.load_default, _reader(field))
        for name, field in schema.load_fields.items()
    ]
    required = {field.data_key or name for name, field in schema.load_fields.items() if field.required}
    checks = [getattr(schema, name) for name, *_ in hooks[VALIDATES_SCHEMA]]
    make = getattr(schema, finish)
    refuses_unknown = schema.unknown == RAISE

    def load(data: Any) -> Any:
        if type(data) is not dict:
            raise Unusual
        values: dict[str, Any] = {}
        known = 0
        for key, name, default, read in readers:
            if key in data:
                known += 1
                values[name] = read(data[key])
            elif key in required:
                raise Unusual
            elif default is not missing:
                values[name] = default() if callable(default) else default
        if refuses_unknown and known != len(data):
            raise Unusual
        for check in checks:
            check(values, many=False, partial=None, unknown=schema.unknown)
        return make(values)

    return load


def _reader(field: fields.Field[Any]) -> Convert:
    """What ``field.deserialize`` gives for a value that is there."""
    read = _bare_reader(field)
    if read is None:
        return lambda value: field.deserialize(value, field.name, {})
    if field.allow_none:
        return lambda value: None if value is None else read(value)
    return read


def _bare_reader(field: fields.Field[Any]) -> Convert | None:
    if field.pre_load or field.post_load:
        return None
    validators = tuple(field.validators)
    plain = _plain_reader(field)
    if plain is None or not validators:
        return plain

    def read(value: Any) -> Any:
        value = plain(value)
        for validate in validators:
            validate(value)
        return value

    return read


def _plain_reader(field: fields.Field[Any]) -> Convert | None:
    """By its exact class: a subclass may do anything."""
    kind = type(field)
    if kind is fields.String:
        return _exactly(str)
    if kind is fields.Integer and getattr(field, "strict", False):
        return _exactly(int)
    if kind is fields.UUID:
        return _uuid
    if _is_simply_nested(field):
        return field.schema.load  # type: ignore[attr-defined,no-any-return]
    if kind is fields.List:
        return _list_of(_reader(field.inner))  # type: ignore[attr-defined]
    return None


def _exactly(kind: type) -> Convert:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise Unusual
        return value

    return read


def _uuid(value: Any) -> UUID:
    if type(value) is not str:
        raise Unusual
    try:
        return UUID(value)
    except ValueError as error:
        raise Unusual from error


def _list_of(read: Convert) -> Convert:
    def read_all(values: Any) -> list[Any]:
        if type(values) is not list:
            raise Unusual
        return [read(value) for value in values]

    return read_all


def dumper(schema: Schema) -> Convert | None:
    """From a mapping or an object to what the schema dumps; None for a schema with parts that are not known here."""
    if schema._hooks[PRE_DUMP] or schema._hooks[POST_DUMP]:
        return None
    if not all(_is_attribute(field, name) for name, field in schema.dump_fields.items()):
        return None
    writers = [
        (field.data_key or name, field.attribute or name, field.dump_default, _writer(field))
        for name, field in schema.dump_fields.items()
    ]

    def dump(thing: Any) -> dict[str, Any]:
        if isinstance(thing, Mapping):
            get = thing.get
        else:

            def get(name: str, default: Any = missing) -> Any:
                return getattr(thing, name, default)

        dumped = {}
        for key, name, default, write in writers:
            value = get(name, missing)
            if value is missing:
                if default is missing:
                    continue
                value = default() if callable(default) else default
            dumped[key] = None if value is None else write(value)
        return dumped

    return dump


def _is_simply_nested(field: Any) -> bool:
    return type(field) is fields.Nested and field.unknown is None and not field.many and not field.schema.many


def _is_attribute(field: fields.Field[Any], name: str) -> bool:
    return field._CHECK_ATTRIBUTE and "." not in (field.attribute or name)


def _writer(field: fields.Field[Any]) -> Convert:
    """What ``field.serialize`` makes of a value that is not None."""
    kind = type(field)
    if kind is fields.String or kind is fields.UUID:
        return lambda value: value if type(value) is str else field._serialize(value, field.name, None)
    if kind is fields.List:
        write = _writer(field.inner)  # type: ignore[attr-defined]
        return lambda values: [None if value is None else write(value) for value in values]
    if _is_simply_nested(field):
        return field.schema.dump  # type: ignore[attr-defined,no-any-return]
    return lambda value: field._serialize(value, field.name, None)
