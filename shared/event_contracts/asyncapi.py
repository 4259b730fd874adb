"""docs/asyncapi.json: the contract and the newest schemas as an AsyncAPI 3 document.

Owns: how exchanges, queues, events, publishers and consumers are said in AsyncAPI. Must not know: services' code,
released files, web pages.

An event has a channel for the exchange that its publisher sends it to, and one for the queue of each consumer. The
document tells of all services, so each operation bears the name of its own as a tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.choreography import Choreography, Event, event_exchange, work_queue
from shared.choreography.model import Consumer
from shared.event_contracts.json_schema import Json
from shared.event_contracts.releases import Releases
from shared.event_contracts.samples import example

ASYNCAPI = "3.0.0"
_BINDING = "0.3.0"
_VHOST = "/"
_DESCRIPTION = (
    "Who tells whom what while an order becomes whole. Each service publishes to a topic exchange of its own, by an "
    "outbox, at least once; each consumer has a queue for each event. The body is the payload alone. AMQP properties "
    "carry the envelope: message_id (the event's id), correlation_id (one for each request), type, timestamp, app_id "
    "(the publisher). Readers ignore fields that they do not know."
)
_KNOWN: Mapping[str, Any] = {
    "userId": "ann",
    "sellerId": "tea-shop",
    "item": "green-tea",
    "name": "Green tea",
    "quantity": 2,
    "status": "PENDING",
    "paymentMethod": "tok_success",
    "pspReference": "psp_7c1f",
    "tracking": "TRACK-1",
    "short": "green-tea",
    "delta": -2,
    "onHand": 40,
}
_REASONS = {
    "ORDER_CANCELLED": "payment_failed",
    "INVENTORY_REJECTED": "out_of_stock",
    "INVENTORY_REFUNDED": "payment_failed",
    "INVENTORY_ADJUSTED": "counted",
    "PAYMENT_FAILED": "card_declined",
    "PAYMENT_REFUNDED": "cancelled",
    "PAYMENT_REFUND_FAILED": "refund_refused",
}


def asyncapi(choreography: Choreography, releases: Releases) -> Json:
    """Only released events are in it: the others have no schema yet."""
    events = [event for event in choreography.events.values() if releases.get(event.type)]
    return {
        "asyncapi": ASYNCAPI,
        "id": "urn:ordersaga:events",
        "info": {
            "title": "OrderSaga events",
            "version": "1.0.0",
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
            "tags": [{"name": name, "description": f"Owns {owns}."} for name, owns in choreography.services.items()],
        },
        "defaultContentType": "application/json",
        "servers": {"rabbitmq": _server()},
        "channels": dict(pair for event in events for pair in _channels(event)),
        "operations": dict(pair for event in events for pair in _operations(event)),
        "components": {
            "messages": {event.type: _message(event, releases) for event in events},
            "schemas": {event.type: _payload(releases[event.type][-1].schema) for event in events},
        },
    }


def _server() -> Json:
    return {
        "host": "localhost:5672",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ; where it is, each installation says with AMQP_URI.",
    }


def _channels(event: Event) -> Iterator[tuple[str, Json]]:
    messages = {event.type: {"$ref": f"#/components/messages/{event.type}"}}
    exchange = {"name": event_exchange(event.publisher), "type": "topic", "durable": True, "autoDelete": False}
    binding = {"is": "routingKey", "exchange": {**exchange, "vhost": _VHOST}, "bindingVersion": _BINDING}
    yield (
        event.type,
        {
            "address": event.type,
            "title": f"{event.type} in {exchange['name']}",
            "description": event.meaning,
            "messages": messages,
            "bindings": {"amqp": binding},
        },
    )
    for consumer in event.consumers:
        yield _queue_channel(event, consumer, messages)


def _queue_channel(event: Event, consumer: Consumer, messages: Json) -> tuple[str, Json]:
    name = work_queue(consumer.service, event.type)
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": _VHOST}
    return name, {
        "address": name,
        "title": f"{event.type} for {consumer.service}",
        "messages": messages,
        "bindings": {"amqp": {"is": "queue", "queue": queue, "bindingVersion": _BINDING}},
    }


def _operations(event: Event) -> Iterator[tuple[str, Json]]:
    sends = _operation("send", event.type, event.type, event.publisher)
    sends["summary"] = event.meaning
    if event.unconsumed_because:
        sends["x-unconsumed-because"] = event.unconsumed_because
    sends["bindings"] = {"amqp": {"deliveryMode": 2, "mandatory": bool(event.consumers), "bindingVersion": _BINDING}}
    yield f"{event.publisher}.publishes.{event.type}", sends
    for consumer in event.consumers:
        receives = _operation("receive", work_queue(consumer.service, event.type), event.type, consumer.service)
        receives["summary"] = consumer.does
        receives["x-answers"] = list(consumer.answers)
        receives["bindings"] = {"amqp": {"ack": True, "bindingVersion": _BINDING}}
        yield f"{consumer.service}.consumes.{event.type}", receives


def _operation(action: str, channel: str, event_type: str, service: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{event_type}"}],
        "tags": [{"name": service}],
    }


def _message(event: Event, releases: Releases) -> Json:
    newest = releases[event.type][-1]
    major = newest.version.major
    known = {**_KNOWN, "reason": _REASONS.get(event.type, "text")}
    return {
        "name": event.type,
        "title": event.type,
        "summary": event.meaning,
        "contentType": "application/json",
        "headers": _headers(major),
        "payload": {"$ref": f"#/components/schemas/{event.type}"},
        "bindings": {
            "amqp": {"contentEncoding": "utf-8", "messageType": event.type, "bindingVersion": _BINDING},
        },
        "examples": [
            {
                "name": f"{event.type} {newest.version}",
                "headers": {"schema_version": major, "occurred_at": "2026-01-01T12:00:00.000000+00:00"},
                "payload": example(newest.schema, known),
            }
        ],
        "x-versions": [str(release.version) for release in releases[event.type]],
        "x-kind": event.kind,
    }


def _headers(major: int) -> Json:
    return {
        "type": "object",
        "properties": {
            "schema_version": {"type": "integer", "const": major, "description": "The payload's major version"},
            "occurred_at": {"type": "string", "format": "date-time"},
            "causation_id": {"type": "string", "format": "uuid", "description": "The event that made this one happen"},
            "traceparent": {"type": "string", "description": "W3C Trace Context"},
        },
        "required": ["schema_version", "occurred_at"],
    }


def _payload(schema: Json) -> Json:
    """Without what only a document of its own needs; the rest is what AsyncAPI's own schemas may say too."""
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
