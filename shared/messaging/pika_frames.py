"""Reading messages whose properties pika cannot read, without losing the connection over them.

Owns: what stands in for such properties. Must not know: what a message is for. See frames.py, the same for py-amqp.

pika tells of a broken connection instead: a single message of this kind would hide all those behind it for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pika
from pika.frame import Header

from shared.messaging.headers import UNREADABLE_HEADER

_CONTENT_HEADER = 2
_FRAME_HEADER = struct.Struct(">BHL")  # kind, channel, size; one byte follows the frame's content
_CONTENT = struct.Struct(">HHQ")  # class id, weight, body size


def read_tolerantly(connection: Any) -> None:
    """From now on a message with unreadable properties arrives with UNREADABLE_HEADER as its only one."""
    inner = connection._impl
    inner._read_frame = _tolerant(inner._read_frame, lambda: inner._frame_buffer)


def _tolerant(read: Callable[[], Any], buffer: Callable[[], bytes]) -> Callable[[], Any]:
    def read_frame() -> Any:
        try:
            return read()
        except Exception as error:
            kind, channel, size = _FRAME_HEADER.unpack_from(buffer())
            if kind != _CONTENT_HEADER:
                raise
            _, _, body_size = _CONTENT.unpack_from(buffer(), _FRAME_HEADER.size)
            return _FRAME_HEADER.size + size + 1, Header(channel, body_size, _stand_in(error))

    return read_frame


def _stand_in(error: Exception) -> pika.BasicProperties:
    return pika.BasicProperties(headers={UNREADABLE_HEADER: f"{type(error).__name__}: {error}"[:300]})
