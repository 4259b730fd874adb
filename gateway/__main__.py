"""``python -m gateway``: the composition root of the HTTP gateway.

Owns: reading the environment and putting the parts together. Must not know: what the parts do.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping

from flask import Flask

from gateway.app import create_app
from gateway.auth.composition import authentication
from gateway.metrics_folder import MetricsFolder
from gateway.rpc import RpcClient
from gateway.server import GatewayServer, listening_socket
from gateway.settings import GatewaySettings
from shared.choreography import load_choreography
from shared.config import Source
from shared.errors import Misconfigured
from shared.logs import configure_logs
from shared.messaging.dead_letters import DeadLetters
from shared.tracing import close_tracing, configure_tracing


class Changeable:
    """What is read at the start and, on SIGHUP, once more: settings, accounts and keys. Raises Misconfigured.

    In the master, before a fork: all workers have the same. A key that was made here stays, for there are tokens of it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._source = Source(values=environment)
        self.settings = GatewaySettings.read(self._source)
        self.auth = authentication(self.settings.auth)

    def read_again(self) -> GatewaySettings:
        settings = GatewaySettings.read(self._source)
        if not settings.auth.makes_its_key:
            self.auth = authentication(settings.auth)
        self.settings = settings
        return settings


def main() -> int:
    try:
        changeable = Changeable(os.environ)
        settings = changeable.settings
        client = RpcClient(settings.process.amqp_uri, timeout_s=settings.rpc_timeout_s)
        dead_letters = _dead_letters(settings)
    except Misconfigured as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    configure_logs(process="gateway", level=settings.process.log_level, style=settings.process.log_format)
    # pika says the same lost connection five times; the link says it once, with the reason.
    logging.getLogger("pika").setLevel(logging.CRITICAL)

    def load_app(is_stopping: Callable[[], bool]) -> Flask:
        # In the worker, after the fork: each has its own copy of the client and starts its own thread.
        client.start()
        configure_tracing("gateway", os.environ)
        return create_app(
            changeable.settings.http, client, changeable.auth, dead_letters=dead_letters, is_stopping=is_stopping
        )

    try:
        listener = listening_socket(settings)
        figures = MetricsFolder.prepare(os.environ)
    except OSError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1

    def end_worker() -> None:
        client.close()
        close_tracing()

    GatewayServer(settings, listener, load_app, end_worker, figures, changeable.read_again).run()
    return 0


def _dead_letters(settings: GatewaySettings) -> DeadLetters:
    queues = [name for name, _ in load_choreography().work_queues()]
    return DeadLetters(settings.process.amqp_uri, queues, limit_s=settings.rpc_timeout_s)


if __name__ == "__main__":
    sys.exit(main())
