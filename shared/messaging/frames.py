"""Reading messages whose properties py-amqp cannot read, without losing the connection over them.

Owns: what stands in for such properties. Must not know: what a message is for.

The broker passes properties on as they came. A text that is not UTF-8, a header's time beyond year 9999 or a table
nested a thousand levels deep makes py-amqp raise in the middle of a frame: the process would end, be started again and
be given the same message again, and the innocent messages beside it would use up their delivery limit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from amqp.serialization import dumps

from shared.messaging.headers import UNREADABLE_HEADER

_CONTENT_HEADER = 2
_PROPERTIES_OFFSET = 12  # class id, weight, body size
_ONLY_HEADERS = b"\x20\x00"
_UNREADABLE = (ValueError, ArithmeticError, OSError, RecursionError, LookupError, struct.error)


def tolerant_frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], Any]:
    """py-amqp's own, but a message with unreadable properties arrives with UNREADABLE_HEADER as its only one."""
    read = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, Any]) -> Any:
        kind, channel, buffer = frame
        try:
            return read(frame)
        except _UNREADABLE as error:
            if kind != _CONTENT_HEADER:
                raise
            return read((kind, channel, _without_properties(buffer, error)))

    return on_frame


def _without_properties(buffer: Any, error: Exception) -> bytes:
    reason = f"{type(error).__name__}: {error}"[:300]
    table = dumps("F", [{UNREADABLE_HEADER: reason}])
    return bytes(buffer[:_PROPERTIES_OFFSET]) + _ONLY_HEADERS + bytes(table)
