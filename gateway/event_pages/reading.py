"""docs/asyncapi.json as what the page shows of it: events with their publisher, consumers, fields and an example.

Owns: how types and limits are said in words. Must not know: HTML, or any particular event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.json"
Json = Mapping[str, Any]
_RANGES = (
    ("minimum", "maximum", ""),
    ("x-minimum", "x-maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " entries"),
)
_FORMATS = {"uuid": "UUID", "date-time": "moment (RFC 3339)", "money": "money, decimal text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadField:
    """``name`` is a path such as items[].quantity."""

    name: str
    type: str
    limits: str
    is_required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Consumer:
    service: str
    queue: str
    does: str
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    type: str
    meaning: str
    kind: str
    publisher: str
    exchange: str
    versions: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    unconsumed_because: str | None
    fields: tuple[PayloadField, ...]
    example: str


def read_document() -> Json:
    document: Json = orjson.loads(DOCUMENT.read_bytes())
    return document


def events_of(document: Json) -> list[Event]:
    """In the order of the document."""
    return [_event(document, name, message) for name, message in document["components"]["messages"].items()]


def _event(document: Json, name: str, message: Json) -> Event:
    operations = [said for said in document["operations"].values() if said["messages"][0]["$ref"].endswith(f"/{name}")]
    [sends] = [said for said in operations if said["action"] == "send"]
    binding = document["channels"][name]["bindings"]["amqp"]
    schema = document["components"]["schemas"][name]
    [example] = message["examples"]
    return Event(
        type=name,
        meaning=message["summary"],
        kind=message["x-kind"],
        publisher=_service(sends),
        exchange=binding["exchange"]["name"],
        versions=tuple(message["x-versions"]),
        consumers=tuple(_consumer(said) for said in operations if said["action"] == "receive"),
        unconsumed_because=sends.get("x-unconsumed-because"),
        fields=tuple(_fields(schema)),
        example=orjson.dumps(example["payload"], option=orjson.OPT_INDENT_2).decode(),
    )


def _consumer(operation: Json) -> Consumer:
    return Consumer(
        service=_service(operation),
        queue=operation["channel"]["$ref"].rpartition("/")[2],
        does=operation["summary"],
        answers=tuple(operation["x-answers"]),
    )


def _service(operation: Json) -> str:
    return str(operation["tags"][0]["name"])


def _fields(schema: Json, prefix: str = "") -> Iterator[PayloadField]:
    for name, said in schema["properties"].items():
        yield PayloadField(
            name=prefix + name, type=_type(said), limits=_limits(said), is_required=name in schema["required"]
        )
        inner = said.get("items", said)
        if "properties" in inner:
            yield from _fields(inner, f"{prefix}{name}{'[]' if 'items' in said else ''}.")


def _type(schema: Json) -> str:
    kinds = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    kind = next(kind for kind in kinds if kind != "null")
    if "items" in schema:
        words = f"list of {_type(schema['items'])}"
    else:
        words = _FORMATS.get(schema.get("format", ""), {"string": "text", "integer": "whole number"}.get(kind, kind))
    return f"{words} or null" if "null" in kinds else words


def _limits(schema: Json) -> str:
    said = [
        _range(schema.get(least), schema.get(most)) + of for least, most, of in _RANGES if {least, most} & set(schema)
    ]
    if "enum" in schema:
        said.append("one of " + ", ".join(str(value) for value in schema["enum"] if value is not None))
    if "pattern" in schema and "format" not in schema:
        said.append(f"pattern {schema['pattern']}")
    return "; ".join(said)


def _range(least: Any, most: Any) -> str:
    if most is None:
        return f"at least {_number(least)}"
    return f"at most {_number(most)}" if least is None else f"{_number(least)} to {_number(most)}"


def _number(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else str(limit)
