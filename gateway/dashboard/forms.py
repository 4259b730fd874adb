"""What forms send, and what is said about it.

Owns: reading numbers, and errors by field. Must not know: any single form.
"""

from __future__ import annotations

from gateway.problems import field_errors
from shared.errors import InvalidRequest

_LONGEST_NUMBER = 12


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
