"""From a message to the typed event that a handler gets, or the reason why it is none.

Owns: what makes a message readable for its consumer. Must not know: queues, or with which library it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from shared.envelope import Envelope, Received, decode, read_envelope
from shared.errors import InvalidEnvelope, InvalidPayload, UnknownSchemaVersion
from shared.event_schema import EventSchema
from shared.messaging.headers import UNREADABLE_HEADER


def load_event(
    event_type: str,
    publisher: str,
    schema: EventSchema,
    *,
    body: bytes | str,
    properties: Mapping[str, Any],
    headers: Mapping[str, Any],
) -> Received[Any]:
    """Raises InvalidEnvelope, UnknownSchemaVersion, UndecodableMessage, InvalidPayload."""
    if UNREADABLE_HEADER in headers:
        raise InvalidEnvelope(f"properties cannot be read: {headers[UNREADABLE_HEADER]}")
    envelope = read_envelope(type=event_type, publisher=publisher, body=body, properties=properties, headers=headers)
    if envelope.schema_version not in schema.readable_versions:
        raise UnknownSchemaVersion(
            f"{envelope.type} version {envelope.schema_version}; readable: {schema.readable_versions}"
        )
    payload = decode(body, properties, headers)
    current = _upcast(schema, payload, envelope)
    try:
        return Received(envelope=envelope, payload=payload, body=schema.load(current))
    except ValidationError as error:
        raise InvalidPayload(f"{envelope.type}: {error.messages}", {"errors": error.messages}) from error


def _upcast(schema: EventSchema, payload: dict[str, Any], envelope: Envelope) -> dict[str, Any]:
    try:
        return schema.upcast(payload, envelope.schema_version)
    except Exception as error:
        # An upcaster takes what it needs without asking whether it is there: then the payload is not what it says.
        said = f"version {envelope.schema_version} does not become {schema.schema_version}"
        raise InvalidPayload(f"{envelope.type}: {said}: {type(error).__name__}: {error}") from error
