"""Where a trace goes on when nobody has handed its name on: by ids that are in every row anyway.

Owns: the form of a traceparent (W3C), and the ids that follow from a correlation id and an order's id.
Must not know: OpenTelemetry.

A saga that was begun by a request without a traceparent is the trace of its correlation id. So timers, operators and
whoever takes over from a dead worker find it without a column for it; so does a person with nothing but a request id.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A span by name, wherever it was made."""

    trace_id: int
    span_id: int
    is_sampled: bool

    def __str__(self) -> str:
        """As a traceparent."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def read_traceparent(text: object) -> Place | None:
    """None for whatever is not one: a trace is not worth refusing anything for."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return None
    return Place(trace_id=int(found[1], 16), span_id=int(found[2], 16), is_sampled=bool(int(found[3], 16) & 1))


def trace_id_of(correlation_id: str) -> int:
    """A hash and not the id itself: samplers look at a few bits, which are the same in all UUIDs."""
    return _number(correlation_id, 16)


def span_id_of(order_id: object) -> int:
    """Of the span in which this order was placed."""
    return _number(str(order_id), 8)


def _number(text: str, size: int) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    # Nought is no id.
    return int.from_bytes(digest) or 1
