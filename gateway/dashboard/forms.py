"""What forms send, and what is said about it.

Owns: reading numbers and fields, and errors by field. Must not know: any single form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from gateway.problems import field_errors
from gateway.schemas import MAX_QUANTITY
from shared.errors import InvalidRequest

_LONGEST_NUMBER = 12
_REQUIRED = "Missing data for required field."


def whole(text: str | None) -> int | None:
    """A whole number, or None for what is none: the service says what is wrong with that."""
    stripped = (text or "").strip().removeprefix("+")
    digits = stripped.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER
    return int(stripped) if is_number else None


def field_messages(error: InvalidRequest) -> dict[str, str]:
    """The first message for each field, by its last name; what is about no field stands under ``form``."""
    found: dict[str, str] = {}
    for entry in field_errors(error.details.get("errors", {})):
        found.setdefault(entry["pointer"].rpartition("/")[2].lstrip("#") or "form", entry["detail"])
    return found or {"form": error.message}


def read(schema: ma.Schema, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a schema of the API makes of the fields that are not empty, and what is wrong: field → words."""
    said = {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
    try:
        return schema.load({name: value for name, value in said.items() if value not in ("", None)}), {}
    except ma.ValidationError as error:
        messages: Any = error.messages
        return {}, {str(name): _words(about) for name, about in messages.items()}


def quantity(text: str | None) -> int:
    """How many of a product. Raises InvalidRequest."""
    number = whole(text)
    if number is None or not 1 <= number <= MAX_QUANTITY:
        raise InvalidRequest(f"The quantity should be a number from 1 to {MAX_QUANTITY}")
    return number


def _words(about: Any) -> str:
    if isinstance(about, Mapping):
        return " ".join(_words(inner) for inner in about.values())
    return " ".join("Please fill this in." if text == _REQUIRED else str(text) for text in about)
