"""The events a service publishes, made from its own schemas.

Owns: from an event type and its fields to an event ready for the outbox. Must not know: any event's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from shared import tracing
from shared.envelope import Cause, Outgoing, caused_by
from shared.event_schema import EventSchema


class Publications:
    """Built once from a service's ``PUBLISHED``; asking for an event that is not in it is a KeyError."""

    def __init__(self, service: str, published: Mapping[str, type[EventSchema]]) -> None:
        self._service = service
        self._schemas = {event_type: schema() for event_type, schema in published.items()}

    def make(
        self,
        event_type: str,
        aggregate_id: object,
        fields: Mapping[str, Any],
        *,
        now: datetime,
        cause: Cause | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Outgoing:
        """The event with those of ``fields`` that its schema has; correlation and trace come from its cause.

        Without a cause that is traced it is ``traceparent``, or goes on where the trace of its order does.
        """
        schema = self._schemas[event_type]
        envelope = caused_by(
            cause,
            type=event_type,
            source=self._service,
            now=now,
            correlation_id=correlation_id,
            schema_version=schema.schema_version,
            traceparent=traceparent,
        )
        if envelope.traceparent is None and tracing.is_on():
            envelope = replace(envelope, traceparent=tracing.of_order(aggregate_id, envelope.correlation_id))
        return Outgoing(envelope=envelope, aggregate_id=str(aggregate_id), payload=schema.dump(fields))
