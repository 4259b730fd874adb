"""The Idempotency-Key header: required of every POST that changes something.

Owns: its form and its documentation. Must not know: what is done with the key; the services keep it in the
same transaction as its effect.
"""

from __future__ import annotations

import re
from typing import Any

from flask import request

from gateway.request_errors import IdempotencyKeyRequired, InvalidIdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
# HTTP takes blanks off both ends of a header: with them two keys would be one.
_PATTERN = r"^[!-~]([ -~]{0,253}[!-~])?$"
_ACCEPTED = re.compile(_PATTERN)

PARAMETER: dict[str, Any] = {
    "in": "header",
    "name": HEADER,
    "required": True,
    "description": "Chosen by the client, one per intended effect; repeating the request with it is safe.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PATTERN},
}


def idempotency_key() -> str:
    """The current request's key; raises IdempotencyKeyRequired or InvalidIdempotencyKey."""
    key = request.headers.get(HEADER, "")
    if not key:
        raise IdempotencyKeyRequired(f"Send an {HEADER} header: 1 to 255 printable ASCII characters")
    if _ACCEPTED.fullmatch(key) is None:
        raise InvalidIdempotencyKey(f"{HEADER} must be 1 to 255 printable ASCII characters")
    return key


def replay_header(replayed: bool) -> dict[str, str]:
    """Tells the client that an earlier request with this key had done the work."""
    return {REPLAYED_HEADER: "true"} if replayed else {}
