"""Payloads made from a JSON Schema: one with everything, one with as little as it allows, one at each limit.

Owns: values that fit a schema. Must not know: events; whether anybody can read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.event_contracts.json_schema import MONEY, Json

_MOST_ITEMS = 3
_BY_FORMAT = {
    "uuid": "0192f3a1-7c00-7000-8000-00000000000a",
    "date-time": "2026-01-01T12:00:00.000000Z",
    MONEY: "10.00",
}
_BY_PATTERN = {"^[A-Z]{3}$": "EUR"}


def samples(schema: Json) -> list[Any]:
    """Each different from the others, all of them valid."""
    found = (example(schema), _extreme(schema, is_least=True), _extreme(schema, is_least=False))
    return [sample for number, sample in enumerate(found) if sample not in found[:number]]


def example(schema: Json, known: Mapping[str, Any] | None = None, name: str = "") -> Any:
    """A payload as one may look, with every field; ``known``: field → what stands there where the schema allows it."""
    kind = _kind(schema)
    if kind == "object":
        return {key: example(inner, known, key) for key, inner in schema["properties"].items()}
    if kind == "array":
        return [example(schema["items"], known, name)] * max(1, schema.get("minItems", 1))
    if known and name in known and known[name] in schema.get("enum", [known[name]]):
        return known[name]
    return _plain(schema, kind)


def _plain(schema: Json, kind: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "boolean":
        return False
    if kind == "integer":
        return min(max(1, schema.get("minimum", 1)), schema.get("maximum", 1))
    text = _BY_FORMAT.get(schema.get("format", "")) or _BY_PATTERN.get(schema.get("pattern", "")) or "text"
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _extreme(schema: Json, *, is_least: bool) -> Any:
    """As little as is allowed (null, nothing, the smallest), or as much."""
    if is_least and "null" in schema["type"] and isinstance(schema["type"], list):
        return None
    kind = _kind(schema)
    if kind == "object":
        named = schema["required"] if is_least else schema["properties"]
        return {key: _extreme(schema["properties"][key], is_least=is_least) for key in named}
    if kind == "array":
        number = schema.get("minItems", 0) if is_least else min(schema.get("maxItems", _MOST_ITEMS), _MOST_ITEMS)
        return [_extreme(schema["items"], is_least=is_least)] * number
    return _extreme_plain(schema, kind, is_least=is_least)


def _extreme_plain(schema: Json, kind: str, *, is_least: bool) -> Any:
    if "enum" in schema:
        values = [value for value in schema["enum"] if value is not None]
        return values[0 if is_least else -1]
    if kind == "boolean":
        return not is_least
    if kind == "integer":
        return schema.get("minimum", -(2**31)) if is_least else schema.get("maximum", 2**31 - 1)
    if schema.get("format") == MONEY:
        return schema.get("x-minimum", "-9999999999.99") if is_least else schema.get("x-maximum", "9999999999.99")
    if "format" in schema or "pattern" in schema:
        return _plain(schema, kind)
    return "x" * (schema.get("minLength", 0) if is_least else schema.get("maxLength", 500))


def _kind(schema: Json) -> str:
    said = schema["type"]
    return said if isinstance(said, str) else next(kind for kind in said if kind != "null")
