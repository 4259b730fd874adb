"""What operators tell a connector: pause, resume, snapshot.

Owns: the queue of commands, reading one at a time. Must not know: what a command does.

A command is a JSON object in `cdc.<database>.commands`: {"command": "pause"}. It is acknowledged once it is carried
out, so that it outlives a kill; each of them may be carried out twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import orjson

from shared.errors import BrokerUnavailable
from shared.logs import get_logger
from shared.messaging.addresses import split_addresses
from shared.messaging.brief_connection import BriefConnection, brief_connection

log = get_logger(__name__)

COMMANDS = ("pause", "resume", "snapshot")
_LOOK_EVERY_S = 0.5
_AGAIN_AFTER_S = 2.0
_LIMIT_S = 10.0


class Listener:
    """A thread that hands each command to ``carry_out``, until it is stopped."""

    def __init__(self, amqp_uri: str, queue: str, carry_out: Callable[[str], None]) -> None:
        self._addresses = split_addresses(amqp_uri)
        self._queue = queue
        self._carry_out = carry_out
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_LIMIT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with brief_connection(self._addresses, limit_s=_LIMIT_S, name=self._queue) as connection:
                    self._listen(connection)
            except BrokerUnavailable as error:
                log.warning("commands_unheard", queue=self._queue, error=str(error)[:300])
                self._stopping.wait(_AGAIN_AFTER_S)

    def _listen(self, connection: BriefConnection) -> None:
        def arrived(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            command = read_command(body)
            if command is None:
                log.error("command_unknown", queue=self._queue, body=body[:100].decode("utf-8", errors="replace"))
            else:
                self._carry_out(command)
                log.info("command_done", queue=self._queue, command=command)
            channel.basic_ack(method.delivery_tag)

        connection.channel.basic_qos(prefetch_count=1)
        connection.channel.basic_consume(self._queue, arrived)
        while not self._stopping.is_set():
            connection.read(_LOOK_EVERY_S)
            connection.go_on()


def read_command(body: bytes) -> str | None:
    """None for what is none of COMMANDS."""
    try:
        said = orjson.loads(body)
    except ValueError:
        return None
    command = said.get("command") if isinstance(said, dict) else None
    return command if command in COMMANDS else None
