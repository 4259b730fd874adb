"""A request while it arrives: is it complete, still on its way, or not worth waiting for?

Owns: where a request ends. Must not know: sockets or threads. Whether it is well formed is decided by gunicorn's
parser, which gets it whole: what looks odd here is called complete, so that the parser sees and refuses it.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from http import HTTPStatus

LARGEST_HEAD_BYTES = 32 * 1024
LARGEST_BODY_BYTES = 256 * 1024
"""What a body may be is decided by the application; this is how much of one is kept here at most."""
# Chunks of one byte each take six.
LARGEST_CHUNKED_BYTES = 2 * LARGEST_BODY_BYTES
LONGEST_CHUNK_LINE = 16

_MAY_BEGIN = frozenset(string.ascii_letters.encode() + b"\r\n")
_HEX_DIGITS = frozenset(string.hexdigits.encode())
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"


class Refused(Exception):
    """Nothing that may still come would make it a request that is served."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Incoming:
    """The bytes of one request so far, and perhaps the beginning of the next one."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._body_at: int | None = None
        self._ends_at: int | None = None
        self._chunks: _Chunks | None = None
        self._wants_go_ahead = False

    def add(self, data: bytes) -> bool:
        """Whether the request is complete now. Raises Refused."""
        self._data += data
        if self._body_at is None and not self._read_head(searched=len(self._data) - len(data)):
            return False
        if self._chunks is not None:
            self._ends_at = self._chunks.end(self._data)
            if self._ends_at is None and len(self._data) > LARGEST_HEAD_BYTES + LARGEST_CHUNKED_BYTES:
                raise _too_large()
        return self._ends_at is not None and len(self._data) >= self._ends_at

    def take(self) -> bytes:
        """Everything that has arrived."""
        return bytes(self._data)

    def take_go_ahead(self) -> bool:
        """Whether the client waits to be told to send the body (``Expect: 100-continue``); True once."""
        wanted, self._wants_go_ahead = self._wants_go_ahead, False
        return wanted

    def _read_head(self, *, searched: int) -> bool:
        if self._data[0] not in _MAY_BEGIN:
            raise Refused(HTTPStatus.BAD_REQUEST, "bad_request", "This is not HTTP")
        end = self._data.find(_HEAD_END, max(0, searched - 3))
        if end < 0:
            return self._without_an_end()
        if end > LARGEST_HEAD_BYTES:
            raise self._head_too_large()
        self._body_at = end + len(_HEAD_END)
        self._read_framing(bytes(self._data[:end]).lower(), self._body_at)
        return True

    def _without_an_end(self) -> bool:
        if len(self._data) > LARGEST_HEAD_BYTES:
            raise self._head_too_large()
        if b"\n\n" not in self._data:
            return False
        # Its lines end without CR: it will never be complete in our sense, and the parser refuses it.
        self._body_at = self._ends_at = 0
        return True

    def _head_too_large(self) -> Refused:
        if b"\n" in self._data[:LARGEST_HEAD_BYTES]:
            return Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "bad_request", "The headers are too large")
        return Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "The request line is too long")

    def _read_framing(self, head: bytes, body_at: int) -> None:
        """From the headers, in small letters, to where the body ends."""
        lengths, codings, expectations = _values(head, b"content-length", b"transfer-encoding", b"expect")
        self._wants_go_ahead = expectations == [b"100-continue"]
        self._ends_at = body_at
        if codings == [b"chunked"] and not lengths:
            self._ends_at, self._chunks = None, _Chunks(body_at)
        elif len(lengths) == 1 and lengths[0].isdigit() and not codings:
            # Not int(): it refuses thousands of digits, and one of us would be wrong about why.
            length = int(lengths[0][:20])
            if length > LARGEST_BODY_BYTES:
                raise _too_large()
            self._ends_at = body_at + length


def _values(head: bytes, *names: bytes) -> Iterator[list[bytes]]:
    fields = [line.partition(b":") for line in head.split(_LINE_END)[1:]]
    for wanted in names:
        yield [value.strip() for name, _, value in fields if name.strip() == wanted]


def _too_large() -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload_too_large", "The body is too large")


def _malformed() -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "bad_request", "The body's chunks are malformed, extended or have trailers")


class _Chunks:
    """Walks from one chunk to the next; each byte is looked at once, however slowly they come.

    Strict, for what is malformed would be found only while the application reads it. Extensions and trailers, which
    nobody sends and two readers may understand differently, are refused too.
    """

    def __init__(self, begins_at: int) -> None:
        self._at = begins_at

    def end(self, data: bytearray) -> int | None:
        """Where the body ends, as soon as that has arrived. Raises Refused."""
        while True:
            size_and_data_at = self._next_chunk(data)
            if size_and_data_at is None:
                return None
            size, data_at = size_and_data_at
            if len(data) < data_at + size + len(_LINE_END):
                return None
            if not data.startswith(_LINE_END, data_at + size):
                raise _malformed()
            self._at = data_at + size + len(_LINE_END)
            if size == 0:
                return self._at

    def _next_chunk(self, data: bytearray) -> tuple[int, int] | None:
        line_end = data.find(_LINE_END, self._at, self._at + LONGEST_CHUNK_LINE)
        if line_end < 0:
            if len(data) - self._at >= LONGEST_CHUNK_LINE:
                raise _malformed()
            return None
        return _chunk_size(data[self._at : line_end]), line_end + len(_LINE_END)


def _chunk_size(digits: bytearray) -> int:
    if not 1 <= len(digits) <= 8 or any(digit not in _HEX_DIGITS for digit in digits):
        raise _malformed()
    return int(digits, 16)
