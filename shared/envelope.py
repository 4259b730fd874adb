"""What travels around an event's payload, and the strict way in and out of bytes.

Owns: envelope fields, ids for events that came without one, JSON encoding, what is refused and why.
Must not know: kombu or pika (properties come as plain mappings), nor any event's payload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeGuard, TypeVar
from uuid import UUID, uuid5

import orjson
from uuid_utils.compat import uuid7

from shared.errors import InvalidEnvelope, UndecodableMessage

T = TypeVar("T")

MAX_ID_LENGTH = 200
MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 100
_SHORT_STRING_BYTES = 255  # AMQP's limit for a property
_DERIVED_IDS = UUID("6f0a4d52-9f2e-5d0b-8f55-0c6a5e1f7a11")


def new_id() -> UUID:
    """A time-ordered id (UUIDv7): rows made together lie together in their indexes."""
    return uuid7()


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """Metadata of one event. ``causation_id`` is the event that made this one happen; None for a first one."""

    event_id: UUID
    type: str
    source: str
    correlation_id: str
    causation_id: UUID | None
    occurred_at: datetime
    schema_version: int
    traceparent: str | None = None


class Cause(Protocol):
    """What a new event inherits from the one that made it happen; every Envelope is one."""

    @property
    def event_id(self) -> UUID: ...

    @property
    def correlation_id(self) -> str: ...

    @property
    def traceparent(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCause:
    """A cause kept in a row, for work that is finished later by another transaction."""

    event_id: UUID
    correlation_id: str
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Received(Generic[T]):
    """An event as a handler gets it: envelope, the payload as it came, and the consumer's own typed view of it."""

    envelope: Envelope
    payload: Mapping[str, Any]
    body: T


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """An event to be recorded in the outbox. Rows of one ``aggregate_id`` are published in the order recorded."""

    envelope: Envelope
    aggregate_id: str
    payload: Mapping[str, Any]


def caused_by(
    cause: Cause | None,
    *,
    type: str,
    source: str,
    now: datetime,
    correlation_id: str | None = None,
    schema_version: int = 1,
    traceparent: str | None = None,
) -> Envelope:
    """The envelope of a new event; correlation and trace are inherited from its cause where there is one.

    ``traceparent``: the trace of what has no cause among the events.
    """
    event_id = new_id()
    return Envelope(
        event_id=event_id,
        type=type,
        source=source,
        correlation_id=correlation_id or (cause.correlation_id if cause else str(event_id)),
        causation_id=cause.event_id if cause else None,
        occurred_at=now,
        schema_version=schema_version,
        traceparent=cause.traceparent if cause else traceparent,
    )


def encode(payload: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON. Everything in it must already be plain (schemas dump money and times as strings)."""
    return orjson.dumps(payload)


def decode(body: bytes | str, properties: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object in ``body``. Raises UndecodableMessage for anything else than strict, plain UTF-8 JSON.

    A missing content type is accepted (the management UI publishes without one); NaN, NUL characters, compression,
    bodies over MAX_BODY_BYTES and more than MAX_DEPTH levels (which could be read but not be written again) are not.
    """
    _refuse_foreign_encodings(properties, headers)
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    if len(raw) > MAX_BODY_BYTES:
        raise UndecodableMessage(f"the body has {len(raw)} bytes; {MAX_BODY_BYTES} are allowed")
    try:
        payload = orjson.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise UndecodableMessage(f"not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise UndecodableMessage(f"the body must be a JSON object, not {type(payload).__name__}")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(payload) > MAX_DEPTH:
        raise UndecodableMessage(f"the body is nested deeper than {MAX_DEPTH} levels")
    if b"\\u0000" in raw and _has_nul(payload):
        raise UndecodableMessage("a text contains the NUL character, which PostgreSQL cannot store")
    return payload


def _refuse_foreign_encodings(properties: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
    content_type = properties.get("content_type")
    if isinstance(content_type, str):
        content_type = content_type.partition(";")[0].strip()
    if content_type not in (None, "", "application/json", "application/data"):
        raise UndecodableMessage(f"content type {str(content_type)[:100]!r} is not JSON")
    encoding = properties.get("content_encoding")
    if encoding not in (None, "", "utf-8", "UTF-8", "utf8", "binary"):
        raise UndecodableMessage(f"content encoding {str(encoding)[:100]!r} is not UTF-8")
    if headers.get("compression"):
        raise UndecodableMessage("compressed bodies are not accepted")


def _depth(payload: dict[str, Any]) -> int:
    depth = 0
    level: list[Any] = [payload]
    while level:
        depth += 1
        inside = (value for c in level for value in (c.values() if isinstance(c, dict) else c))
        level = [value for value in inside if isinstance(value, dict | list)]
    return depth


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(k) or _has_nul(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_has_nul(v) for v in value)
    return False


def read_envelope(
    *, type: str, publisher: str, body: bytes | str, properties: Mapping[str, Any], headers: Mapping[str, Any]
) -> Envelope:
    """The envelope of a delivered message, tolerant of what is absent and strict on what is wrong.

    Without message_id (dispatched by hand) the id is derived from type and body, so a repeated delivery of the same
    message has the same id. Raises InvalidEnvelope.
    """
    said_type = properties.get("type")
    if said_type not in (None, "", type):
        raise InvalidEnvelope(f"a message of type {str(said_type)[:100]!r} in the queue of {type}")
    event_id = _event_id(properties.get("message_id"), type, body)
    return Envelope(
        event_id=event_id,
        type=type,
        source=_short(properties.get("app_id"), "app_id") or publisher,
        correlation_id=_short(properties.get("correlation_id"), "correlation_id") or str(event_id),
        causation_id=_uuid_or_none(headers.get("causation_id")),
        occurred_at=_moment(headers.get("occurred_at"), properties.get("timestamp")),
        schema_version=_version(headers.get("schema_version", 1)),
        traceparent=_short(headers.get("traceparent"), "traceparent"),
    )


def _event_id(message_id: object, type: str, body: bytes | str) -> UUID:
    text = _short(message_id, "message_id")
    if text is None:
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
        return uuid5(_DERIVED_IDS, f"{type} {hashlib.sha256(raw).hexdigest()}")
    try:
        return UUID(text)
    except ValueError:
        return uuid5(_DERIVED_IDS, text)


def _short(value: object, name: str) -> str | None:
    if value is None or value == "":
        return None
    if not is_short_text(value):
        raise InvalidEnvelope(f"{name} must be a text of at most {MAX_ID_LENGTH} characters")
    return value


def is_short_text(value: object) -> TypeGuard[str]:
    """Whether ``value`` can travel as an id: in an AMQP property, and past every consumer's :func:`read_envelope`."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_LENGTH or "\x00" in value:
        return False
    try:
        return len(value.encode()) <= _SHORT_STRING_BYTES
    except UnicodeEncodeError:  # lone surrogates: py-amqp lets them through, nothing else can write them
        return False


def _uuid_or_none(value: object) -> UUID | None:
    text = _short(value, "causation_id")
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidEnvelope(f"causation_id {text!r} is no UUID") from error


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 32_767:
        raise InvalidEnvelope(f"schema_version must be a small positive integer, not {str(value)[:100]!r}")
    return value


def _moment(header: object, timestamp: object) -> datetime:
    """The header has microseconds, AMQP's timestamp whole seconds; by hand there is neither."""
    try:
        if isinstance(header, str):
            return _in_utc(datetime.fromisoformat(header))
        if isinstance(timestamp, datetime):
            return _in_utc(timestamp)
        if isinstance(timestamp, int | float):
            return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidEnvelope(f"occurred_at is no moment in time: {error}") from error
    return datetime.now(UTC)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def properties_of(envelope: Envelope) -> tuple[dict[str, Any], dict[str, Any]]:
    """(AMQP properties, headers) under which ``envelope`` travels; the inverse of :func:`read_envelope`."""
    headers: dict[str, Any] = {
        "schema_version": envelope.schema_version,
        "occurred_at": envelope.occurred_at.isoformat(),
    }
    if envelope.causation_id:
        headers["causation_id"] = str(envelope.causation_id)
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    properties = {
        "message_id": str(envelope.event_id),
        "correlation_id": envelope.correlation_id,
        "type": envelope.type,
        "timestamp": int(envelope.occurred_at.timestamp()),
        "app_id": envelope.source,
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }
    return properties, headers
