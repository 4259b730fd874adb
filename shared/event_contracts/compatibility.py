"""Whether data written by one JSON Schema can be read with another one, and how two of them differ.

Owns: the rules. Must not know: events, versions, files, or from what the schemas were made.

Every rule says "what the writer may write, the reader takes". An absent limit takes everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.event_contracts.json_schema import MONEY, Json

_LEAST = ("minimum", "x-minimum", "minLength", "minItems")
_MOST = ("maximum", "x-maximum", "maxLength", "maxItems")
_HEAD = ("$schema", "$id", "title")
_NONE = "none"
ROOT = "the payload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """``field`` is a path such as items[].quantity; ``said`` calls the writer's version {writer}."""

    field: str
    said: str


def unreadable(reader: Json, writer: Json, path: str = "") -> Iterator[Problem]:
    """Every reason why something that ``writer`` allows is not read with ``reader``."""
    reasons = list(_types(reader, writer))
    if not reasons:
        reasons = [*_values(reader, writer), *_limits(reader, writer), *_texts(reader, writer)]
    yield from (Problem(field=path or ROOT, said=reason) for reason in reasons)
    if "properties" in reader and "properties" in writer:
        yield from _properties(reader, writer, f"{path}." if path else "")
    if "items" in reader and "items" in writer:
        yield from unreadable(reader["items"], writer["items"], f"{path}[]")


def _properties(reader: Json, writer: Json, prefix: str) -> Iterator[Problem]:
    for name, expected in reader["properties"].items():
        written = writer["properties"].get(name)
        if written is not None:
            yield from unreadable(expected, written, prefix + name)
        if name in reader["required"] and name not in writer["required"]:
            how = "has none" if written is None else "may leave it out"
            yield Problem(field=prefix + name, said=f"is required and has no default, and {{writer}} {how}")
    if not reader.get("additionalProperties", True):
        for name in sorted(writer["properties"].keys() - reader["properties"].keys()):
            yield Problem(field=prefix + name, said="is written by {writer}, and refused as unknown")


def _types(reader: Json, writer: Json) -> Iterator[str]:
    read, written = _kinds(reader), _kinds(writer)
    if not read:
        return
    if missed := sorted(kind for kind in written - read if not (kind == "integer" and "number" in read)):
        yield f"is {' or '.join(missed)} in {{writer}}, and only {' or '.join(sorted(read))} is read"
    elif not written:
        yield f"may be anything in {{writer}}, and only {' or '.join(sorted(read))} is read"


def _kinds(schema: Json) -> set[str]:
    said = schema.get("type", [])
    return {said} if isinstance(said, str) else set(said)


def _values(reader: Json, writer: Json) -> Iterator[str]:
    if "enum" not in reader:
        return
    read = [value for value in reader["enum"] if value is not None]
    if "enum" not in writer:
        yield f"may be any text in {{writer}}, and only {', '.join(map(str, read))} is read"
        return
    if missed := [value for value in writer["enum"] if value is not None and value not in read]:
        yield f"may be {', '.join(map(str, missed))} in {{writer}}, and that is not read"


def _limits(reader: Json, writer: Json) -> Iterator[str]:
    for name in _LEAST:
        if name in reader and (name not in writer or _number(writer[name]) < _number(reader[name])):
            yield f"has {_word(name)} {reader[name]}, and {{writer}} {_other(writer, name)}"
    for name in _MOST:
        if name in reader and (name not in writer or _number(writer[name]) > _number(reader[name])):
            yield f"has {_word(name)} {reader[name]}, and {{writer}} {_other(writer, name)}"


def _other(writer: Json, name: str) -> str:
    return f"has {writer[name]}" if name in writer else "has none"


def _word(name: str) -> str:
    return name.removeprefix("x-")


def _number(value: Any) -> Decimal:
    return Decimal(str(value))


def _texts(reader: Json, writer: Json) -> Iterator[str]:
    """Two patterns are not compared but by being the same; those of money follow from its limits."""
    if "format" in reader and writer.get("format") != reader["format"]:
        yield f"is a {reader['format']}, and a {writer.get('format') or 'plain text'} in {{writer}}"
    elif "pattern" in reader and reader.get("format") != MONEY and writer.get("pattern") != reader["pattern"]:
        yield f"has the pattern {reader['pattern']}, and {{writer}} {_other(writer, 'pattern')}"


def differences(old: Json, new: Json, path: str = "") -> Iterator[Problem]:
    """What is not the same, field by field; said of ``new``."""
    before, after = _own(old), _own(new)
    pairs = {name: (before.get(name, _NONE), after.get(name, _NONE)) for name in sorted({**before, **after})}
    if changed := [f"{_word(name)} {was} → {is_now}" for name, (was, is_now) in pairs.items() if was != is_now]:
        yield Problem(field=path or ROOT, said=", ".join(changed))
    if "items" in old and "items" in new:
        yield from differences(old["items"], new["items"], f"{path}[]")
    if "properties" in old and "properties" in new:
        yield from _different_properties(old, new, f"{path}." if path else "")


def _own(schema: Json) -> Json:
    """What is said of the value itself, and not of its parts."""
    parts = (*_HEAD, "properties", "required", "items")
    return {name: value for name, value in schema.items() if name not in parts}


def _different_properties(old: Json, new: Json, prefix: str) -> Iterator[Problem]:
    for name in sorted(old["properties"].keys() | new["properties"].keys()):
        if name not in old["properties"]:
            yield Problem(field=prefix + name, said="added")
        elif name not in new["properties"]:
            yield Problem(field=prefix + name, said="removed")
        else:
            if (name in old["required"]) != (name in new["required"]):
                said = "now required" if name in new["required"] else "no longer required"
                yield Problem(field=prefix + name, said=said)
            yield from differences(old["properties"][name], new["properties"][name], prefix + name)
