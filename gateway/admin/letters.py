"""A dead letter as JSON, whatever it holds: poison is what lies there.

Owns: how bytes, times and deep tables are shown. Must not know: endpoints, the broker.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter

MAX_BODY_BYTES = 64 * 1024
_MAX_DEPTH = 8
_MAX_TEXT = 2_000
_MAX_MEMBERS = 100


def letter_document(letter: Letter) -> dict[str, Any]:
    body, encoding = _shown(letter.body[:MAX_BODY_BYTES])
    return {
        "id": fingerprint(letter),
        "eventId": letter.event_id,
        "type": letter.type,
        "correlationId": letter.correlation_id,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "failedAt": letter.failed_at,
        "originQueue": letter.origin_queue,
        "originExchange": letter.origin_exchange,
        "headers": _json_ready(letter.headers, _MAX_DEPTH),
        "body": body,
        "bodyEncoding": encoding,
        "bodyBytes": len(letter.body),
    }


def _shown(part: bytes) -> tuple[str, str]:
    """A text if it is one, but for a character cut in half at the end of a long one."""
    for end in range(len(part), max(len(part) - 4, -1), -1):
        try:
            return part[:end].decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            if len(part) < MAX_BODY_BYTES:
                break
    return b64encode(part).decode(), "base64"


def _json_ready(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping | list) and not depth:
        return "…"
    if isinstance(value, Mapping):
        return {_name(name): _json_ready(value[name], depth - 1) for name in list(value)[:_MAX_MEMBERS]}
    if isinstance(value, list):
        return [_json_ready(inner, depth - 1) for inner in value[:_MAX_MEMBERS]]
    if isinstance(value, bytes):
        return _shown(value[:_MAX_TEXT])[0]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value[:_MAX_TEXT] if isinstance(value, str) else value


def _name(name: Any) -> str:
    return _shown(name)[0] if isinstance(name, bytes) else str(name)
