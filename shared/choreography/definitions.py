"""rabbitmq/definitions.json from the contract.

Owns: every exchange, queue, binding, policy and user of the broker.
Must not know: passwords. Users are generated without one (nobody can log in) until an installation sets its own.
"""

from __future__ import annotations

from typing import Any

from shared.change_data.captured import CAPTURED, STREAM
from shared.choreography.model import (
    RPC_EXCHANGE,
    Choreography,
    dead_letter_queue,
    event_exchange,
    retry_exchange,
    rpc_queue,
    work_queue,
)

Json = dict[str, Any]
VHOST = "/"
RPC_REQUEST_TTL_MS = 60_000
MOST_LOOKS = 1_000_000_000
# Services that are asked and take no part in a saga: they publish no event and consume none.
ASKED_ONLY = ("finance_service",)
# The stream of row changes: whoever was away for longer, or behind more, asks for a snapshot. No longer than an outbox
# keeps what was published, so that what is erased is not read here for longer than there.
STREAM_BYTES = 2_000_000_000
STREAM_SEGMENT_BYTES = 50_000_000
STREAM_AGE = "7D"
MOST_COMMANDS = 100


def definitions(choreography: Choreography) -> Json:
    """RabbitMQ's definitions, in its own import format, in a stable order."""
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user("ordersaga", []), _user("operator", ["monitoring", "policymaker"])],
        "permissions": [_all_permissions("ordersaga"), _all_permissions("operator")],
        "exchanges": _exchanges(choreography),
        "queues": _queues(choreography),
        "bindings": _bindings(choreography),
        "policies": _policies(choreography),
    }


def _user(name: str, tags: list[str]) -> Json:
    return {
        "name": name,
        "password_hash": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
        "limits": {},
    }


def _all_permissions(user: str) -> Json:
    return {"user": user, "vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"}


def _exchanges(choreography: Choreography) -> list[Json]:
    events = [_exchange(event_exchange(service), "topic") for service in choreography.services]
    retries = [
        _exchange(retry_exchange(service, delay_s), "fanout")
        for service in choreography.services
        for delay_s in choreography.retry_delays_s
    ]
    changes = [_exchange(name, "fanout") for captured in CAPTURED.values() for name in captured.exchanges]
    return [*events, _exchange(RPC_EXCHANGE, "topic"), *retries, *changes]


def _exchange(name: str, kind: str) -> Json:
    return {
        "name": name,
        "vhost": VHOST,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _queues(choreography: Choreography) -> list[Json]:
    work = [_work_queue(name, choreography) for name, _ in choreography.work_queues()]
    dead = [_queue(dead_letter_queue(name), {"x-queue-type": "quorum"}) for name, _ in choreography.work_queues()]
    retry = [
        _retry_queue(service, delay_s) for service in choreography.services for delay_s in choreography.retry_delays_s
    ]
    rpc = [_queue(rpc_queue(service), {}) for service in _asked(choreography)]
    return [*work, *dead, *retry, *rpc, *_change_queues()]


def _change_queues() -> list[Json]:
    """The stream with every row change, and what connectors are told to do: a few words that nobody may flood."""
    stream = {
        "x-queue-type": "stream",
        "x-max-length-bytes": STREAM_BYTES,
        "x-max-age": STREAM_AGE,
        "x-stream-max-segment-size-bytes": STREAM_SEGMENT_BYTES,
    }
    commands = {"x-max-length": MOST_COMMANDS, "x-overflow": "reject-publish"}
    return [_queue(STREAM, stream), *(_queue(captured.commands_queue, commands) for captured in CAPTURED.values())]


def _work_queue(name: str, choreography: Choreography) -> Json:
    """at-least-once loses nothing while the dead-letter queue is out of reach; it needs reject-publish."""
    return _queue(
        name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": choreography.delivery_limit,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letter_queue(name),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def _retry_queue(service: str, delay_s: int) -> Json:
    """No dead-letter routing key: an expired message keeps its own, which is the name of its work queue.

    So the default exchange returns it to exactly that queue; through the topic every other consumer would get a copy.
    """
    return _queue(
        retry_exchange(service, delay_s),
        {
            "x-queue-type": "quorum",
            "x-message-ttl": delay_s * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def _queue(name: str, arguments: Json) -> Json:
    return {"name": name, "vhost": VHOST, "durable": True, "auto_delete": False, "arguments": arguments}


def _bindings(choreography: Choreography) -> list[Json]:
    events = [
        _binding(event_exchange(event.publisher), work_queue(consumer.service, event.type), event.type)
        for event in choreography.events.values()
        for consumer in event.consumers
    ]
    retries = [
        _binding(retry_exchange(service, delay_s), retry_exchange(service, delay_s), "")
        for service in choreography.services
        for delay_s in choreography.retry_delays_s
    ]
    rpc = [_binding(RPC_EXCHANGE, rpc_queue(service), f"{service}.*") for service in _asked(choreography)]
    changes = [_binding(name, STREAM, "") for captured in CAPTURED.values() for name in captured.exchanges]
    return [*events, *retries, *rpc, *changes]


def _asked(choreography: Choreography) -> tuple[str, ...]:
    return (*choreography.services, *ASKED_ONLY)


def _binding(source: str, queue: str, routing_key: str) -> Json:
    return {
        "source": source,
        "vhost": VHOST,
        "destination": queue,
        "destination_type": "queue",
        "routing_key": routing_key,
        "arguments": {},
    }


def _policies(choreography: Choreography) -> list[Json]:
    services = "|".join(choreography.services)
    return [
        _policy("bounded-work", rf"^({services})\.[A-Z_]+$", {"max-length": choreography.max_length}),
        # Looking at a message counts as a delivery, and RabbitMQ 4 drops one that was delivered 20 times.
        _policy("kept-dead-letters", rf"^({services})\.[A-Z_]+\.dead$", {"delivery-limit": MOST_LOOKS}),
        # A caller has given up long before: requests to a service that is down must not pile up.
        _policy(
            "short-lived-requests",
            rf"^rpc-({'|'.join(_asked(choreography))})$",
            {"message-ttl": RPC_REQUEST_TTL_MS, "max-length": 10_000, "overflow": "reject-publish"},
        ),
    ]


def _policy(name: str, pattern: str, definition: Json) -> Json:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "definition": definition,
        "priority": 0,
    }
