"""``python -m gateway``: the composition root of the HTTP gateway.

Owns: reading the environment and putting the parts together. Must not know: what the parts do.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from flask import Flask

from gateway.app import create_app
from gateway.auth.composition import authentication
from gateway.metrics_folder import MetricsFolder
from gateway.rpc import RpcClient
from gateway.server import GatewayServer, bind
from gateway.settings import GatewaySettings
from shared.choreography import load_choreography
from shared.config import Source
from shared.errors import Misconfigured
from shared.logs import configure_logs
from shared.messaging.dead_letters import DeadLetters
from shared.tracing import close_tracing, configure_tracing


def main() -> int:
    try:
        settings = GatewaySettings.read(Source(values=os.environ))
        # Before the fork: a key made here is the same in all workers.
        auth = authentication(settings.auth)
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
        return create_app(settings.http, client, auth, dead_letters=dead_letters, is_stopping=is_stopping)

    try:
        listener = bind(settings.host, settings.port, exactly=settings.port_is_named)
        figures = MetricsFolder.prepare(os.environ)
    except OSError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1

    def end_worker() -> None:
        client.close()
        close_tracing()

    GatewayServer(settings, listener, load_app, end_worker, figures).run()
    return 0


def _dead_letters(settings: GatewaySettings) -> DeadLetters:
    queues = [name for name, _ in load_choreography().work_queues()]
    return DeadLetters(settings.process.amqp_uri, queues, limit_s=settings.rpc_timeout_s)


if __name__ == "__main__":
    sys.exit(main())
