"""Owns: bringing rabbitmq/definitions.json onto a broker. Must not know: how the broker was started.

Through the management API everything is applied; over AMQP alone only exchanges, queues and bindings can be.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from ops.errors import StackError
from ops.folder import PROJECT_FOLDER
from ops.management import ManagementApi
from ops.rabbitmq import hashed_password, normal_uri
from shared.messaging.addresses import split_addresses

Definitions = dict[str, Any]
DEFINITIONS_FILE = PROJECT_FOLDER / "rabbitmq" / "definitions.json"
# What one vhost's definitions may hold; users and vhosts belong to the whole broker.
_VHOST_SECTIONS = ("parameters", "policies", "queues", "exchanges", "bindings")


def load_definitions(path: Path = DEFINITIONS_FILE) -> Definitions:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StackError(
            f"cannot read {path}: {error}", hint="run: python -m shared.choreography definitions"
        ) from error


def with_passwords(definitions: Definitions, passwords: Mapping[str, str]) -> Definitions:
    """The definitions with logins for the users we know; the file itself holds no secret."""
    users = [
        {
            **user,
            "password_hash": hashed_password(passwords[user["name"]]),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
        }
        if user["name"] in passwords
        else user
        for user in definitions.get("users", [])
    ]
    return {**definitions, "users": users}


def for_vhost(definitions: Definitions) -> Definitions:
    """The part that fits into a single vhost of somebody else's broker: no users, no permissions, no vhosts."""
    return {
        section: [{key: value for key, value in entry.items() if key != "vhost"} for entry in definitions[section]]
        for section in _VHOST_SECTIONS
        if section in definitions
    }


def for_nodes(definitions: Definitions, amqp_uri: str) -> Definitions:
    """What a broker of several nodes needs: every queue on several of them.

    A classic queue lives on one node, and while that node is away nobody can consume from it, declare it anew or delete
    it; on a single node it is the faster one.
    """
    if len(split_addresses(amqp_uri)) == 1:
        return definitions
    queues = [{**q, "arguments": {"x-queue-type": "quorum", **q.get("arguments", {})}} for q in definitions["queues"]]
    return {**definitions, "queues": queues}


def vhost_of(amqp_uri: str) -> str:
    """All nodes of one URI have the same vhosts: they are one broker."""
    first, *_ = split_addresses(amqp_uri)
    return unquote(urlsplit(normal_uri(first)).path[1:])


def apply_to_private_broker(api: ManagementApi, definitions: Definitions, passwords: Mapping[str, str]) -> None:
    """Import everything, users with their passwords too."""
    refuse_conflicts(definitions, api.queues(), api.exchanges())
    api.import_definitions(with_passwords(definitions, passwords))


def apply_to_vhost(api: ManagementApi, definitions: Definitions, vhost: str) -> None:
    """Import exchanges, queues, bindings and policies into a vhost of a broker that is not ours."""
    refuse_conflicts(definitions, api.queues(vhost), api.exchanges(vhost))
    api.import_definitions(for_vhost(definitions), vhost)


def refuse_conflicts(
    definitions: Definitions, queues: Iterable[Mapping[str, Any]], exchanges: Iterable[Mapping[str, Any]]
) -> None:
    """StackError for what exists under our names with other arguments: an import would silently skip it."""
    _refuse("queue", ("durable", "auto_delete", "arguments"), definitions.get("queues", []), queues)
    _refuse("exchange", ("type", "durable", "auto_delete"), definitions.get("exchanges", []), exchanges)


def _refuse(
    kind: str,
    traits: Iterable[str],
    wanted: Iterable[Mapping[str, Any]],
    existing: Iterable[Mapping[str, Any]],
) -> None:
    present = {entry["name"]: entry for entry in existing}
    for entry in wanted:
        found = present.get(entry["name"])
        different = [t for t in traits if found is not None and t in entry and found.get(t) != entry[t]]
        if found is not None and different:
            trait = different[0]
            raise _conflict(kind, entry["name"], f"{trait} is {found.get(trait)}, should be {entry[trait]}")


def _conflict(kind: str, name: str, why: str) -> StackError:
    return StackError(
        f"the {kind} {name} exists with other properties: {why}",
        hint=f"move its messages if they matter, delete the {kind}, then run `ordersaga topology`",
    )


def apply_over_amqp(amqp_uri: str, definitions: Definitions) -> None:
    """Declare exchanges, queues and bindings; policies and users cannot be declared this way."""
    try:
        nodes = [pika.URLParameters(normal_uri(address)) for address in split_addresses(amqp_uri)]
        for parameters in nodes:
            parameters.blocked_connection_timeout = 30
        connection = pika.BlockingConnection(nodes)
    except (AMQPError, OSError, ValueError) as error:
        raise StackError(f"cannot connect to the broker of AMQP_URI: {error!r}") from error
    try:
        channel = connection.channel()
        for exchange in definitions.get("exchanges", []):
            _declare_exchange(channel, exchange)
        for queue in definitions.get("queues", []):
            _declare_queue(channel, queue)
        for binding in definitions.get("bindings", []):
            _bind(channel, binding)
    except (AMQPError, OSError) as error:
        raise StackError(f"the broker of AMQP_URI broke off: {error!r}") from error
    finally:
        if connection.is_open:
            connection.close()


def _declare_exchange(channel: BlockingChannel, exchange: Mapping[str, Any]) -> None:
    try:
        channel.exchange_declare(
            exchange["name"],
            exchange_type=exchange["type"],
            durable=exchange.get("durable", True),
            auto_delete=exchange.get("auto_delete", False),
            internal=exchange.get("internal", False),
            arguments=exchange.get("arguments") or None,
        )
    except ChannelClosedByBroker as error:
        raise _conflict("exchange", exchange["name"], error.reply_text) from error


def _declare_queue(channel: BlockingChannel, queue: Mapping[str, Any]) -> None:
    try:
        channel.queue_declare(
            queue["name"],
            durable=queue.get("durable", True),
            auto_delete=queue.get("auto_delete", False),
            arguments=queue.get("arguments") or None,
        )
    except ChannelClosedByBroker as error:
        raise _conflict("queue", queue["name"], error.reply_text) from error


def _bind(channel: BlockingChannel, binding: Mapping[str, Any]) -> None:
    key, arguments = binding.get("routing_key", ""), binding.get("arguments") or None
    source, destination = binding["source"], binding["destination"]
    try:
        if binding["destination_type"] == "queue":
            channel.queue_bind(destination, source, routing_key=key, arguments=arguments)
        else:
            channel.exchange_bind(destination, source, routing_key=key, arguments=arguments)
    except ChannelClosedByBroker as error:
        raise StackError(f"cannot bind {destination} to {source}: {error.reply_text}") from error
