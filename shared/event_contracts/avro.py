"""From a released JSON Schema to an Avro schema, and whether one Avro schema resolves another.

Owns: how each type is written in Avro. Must not know: marshmallow, events, files.

On the wire events are JSON. The Avro schemas are for whoever keeps them elsewhere: money is a decimal there, a moment a
number of microseconds. What may be left out is null, with null as its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shared.event_contracts.json_schema import MONEY, Json

NAMESPACE = "ordersaga"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SMALLEST_INT, _LARGEST_INT = -(2**31), 2**31 - 1
_TEXTS: dict[str, Any] = {
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date-time": {"type": "long", "logicalType": "timestamp-micros"},
    MONEY: {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
}


def of_json_schema(event_type: str, schema: Json) -> Json:
    """Records are named by the event and the path of the field, so that renaming a class changes nothing."""
    return {**_record(event_type, schema), "namespace": NAMESPACE}


def _record(name: str, schema: Json) -> Json:
    return {
        "type": "record",
        "name": name,
        "fields": [
            _field(name, key, value, is_required=key in schema["required"])
            for key, value in schema["properties"].items()
        ],
    }


def _field(record: str, key: str, schema: Json, *, is_required: bool) -> Json:
    kind = _type(f"{record}_{key}", schema)
    if "null" not in schema["type"] and is_required:
        return {"name": key, "type": kind}
    field: Json = {"name": key, "type": ["null", kind]}
    return field if is_required else {**field, "default": None}


def _type(name: str, schema: Json) -> Any:
    [kind] = [schema["type"]] if isinstance(schema["type"], str) else [k for k in schema["type"] if k != "null"]
    if kind == "object":
        return _record(name, schema)
    if kind == "array":
        return {"type": "array", "items": _type(name, schema["items"])}
    if kind == "integer":
        return "int" if _is_small(schema) else "long"
    if kind == "boolean":
        return kind
    return _text(name, schema)


def _is_small(schema: Json) -> bool:
    bounds = (schema.get("minimum", _SMALLEST_INT - 1), schema.get("maximum", _LARGEST_INT + 1))
    return bool(bounds[0] >= _SMALLEST_INT and bounds[1] <= _LARGEST_INT)


def _text(name: str, schema: Json) -> Any:
    symbols = [symbol for symbol in schema.get("enum", ()) if symbol is not None]
    if symbols and all(_NAME.fullmatch(symbol) for symbol in symbols):
        return {"type": "enum", "name": name, "symbols": symbols}
    return _TEXTS.get(schema.get("format", ""), "string")


def unresolved(reader: Json, writer: Json) -> Iterator[str]:
    """Why data of ``writer`` does not resolve to ``reader``, by Avro's own rules; each names its place."""
    # For developers and CI only: no service reads Avro.
    from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
    from avro.schema import make_avsc_object

    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(make_avsc_object(reader), make_avsc_object(writer))
    if result.compatibility is not SchemaCompatibilityType.compatible:
        places = filter(None, (_field_at(reader, location) for location in result.locations))
        yield f"{' and '.join(sorted(places)) or 'the record'}: {', '.join(sorted(result.messages))}"


def _field_at(schema: Any, location: str) -> str:
    """/fields/5/type/items/fields/0 → the names of these fields, as items.quantity."""
    names: list[str] = []
    for part in location.strip("/").split("/"):
        if isinstance(schema, dict) and part in schema:
            schema = schema[part]
        elif isinstance(schema, list) and part.isdigit() and int(part) < len(schema):
            schema = schema[int(part)]
            names += [schema["name"]] if isinstance(schema, dict) and "name" in schema and "type" in schema else []
        else:
            break
    return ".".join(names)
