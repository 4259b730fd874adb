"""What somebody typed into a form, read by the API's own schemas.

Owns: empty fields, and what is wrong said field by field. Must not know: which form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from gateway.schemas import MAX_QUANTITY
from shared.errors import InvalidRequest

_REQUIRED = "Missing data for required field."
_LONGEST_COUNT = 9


def read(schema: ma.Schema, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What ``schema`` makes of the fields that are not empty, and what is wrong: field → words."""
    said = {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
    try:
        return schema.load({name: value for name, value in said.items() if value not in ("", None)}), {}
    except ma.ValidationError as error:
        messages: Any = error.messages
        return {}, {str(name): _words(about) for name, about in messages.items()}


def quantity(text: str) -> int:
    """Raises InvalidRequest."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT
    if not is_number or not 1 <= int(text) <= MAX_QUANTITY:
        raise InvalidRequest(f"The quantity should be a number from 1 to {MAX_QUANTITY}")
    return int(text)


def _words(about: Any) -> str:
    if isinstance(about, Mapping):
        return " ".join(_words(inner) for inner in about.values())
    return " ".join("Please fill this in." if text == _REQUIRED else str(text) for text in about)
