"""gunicorn as this gateway runs it: a socket on a free port, workers with one RPC client each, JSON logs.

Owns: processes, threads and the listening socket. Must not know: the environment or any endpoint.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from gateway.metrics_folder import MetricsFolder
from gateway.settings import GatewaySettings
from shared.errors import Misconfigured
from shared.logs import get_logger

log = get_logger(__name__)

# A call of a service may take RPC_TIMEOUT_S, five seconds.
LONGEST_REQUEST_LINE = 8_190
GRACE_S = 8
PORTS_TRIED = 20
# More than wait for a request (see serving.worker) and are worked on; fewer than a process may usually have open.
MOST_CONNECTIONS = 700


def listening_socket(settings: GatewaySettings) -> socket.socket:
    """The one that was handed down, or a new one on the wanted port. Raises OSError."""
    if settings.socket_fd is not None:
        return socket.socket(fileno=settings.socket_fd)
    return bind(settings.host, settings.port, exactly=settings.port_is_named)


def bind(host: str, wanted_port: int, *, exactly: bool) -> socket.socket:
    """A bound socket on the wanted port, or, unless ``exactly``, on the next free one, or on any. Raises OSError.

    Whoever names a port tells others of it: a gateway on another one would leave them talking to a stranger.
    """
    candidates = [wanted_port] if exactly else [*range(wanted_port, min(wanted_port + PORTS_TRIED, 65_536)), 0]
    for port in candidates:
        try:
            return _bind_exactly(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"port {wanted_port} of {host} is taken")


def _bind_exactly(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's messages go where all others go, instead of to handlers of its own."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class GatewayServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Runs ``load_app`` in each worker after its fork, so that threads and sockets belong to the worker.

    It is given a question: is this worker about to stop?
    """

    def __init__(
        self,
        settings: GatewaySettings,
        listener: socket.socket,
        load_app: Callable[[Callable[[], bool]], Flask],
        on_worker_exit: Callable[[], None],
        figures: MetricsFolder,
        read_again: Callable[[], GatewaySettings],
    ) -> None:
        self._settings = settings
        # By descriptor: between a check for a free port and its use, somebody else could take it. gunicorn keeps it
        # while workers come and go.
        self._address = f"fd://{listener.detach()}"
        self._read_again = read_again
        self._load_app = load_app
        self._on_worker_exit = on_worker_exit
        self._figures = figures
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._gunicorn_settings().items():
            self.cfg.set(name, value)

    def _gunicorn_settings(self) -> dict[str, Any]:
        return {
            "bind": self._address,
            "worker_class": "gateway.serving.worker.BufferingWorker",
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "graceful_timeout": GRACE_S,
            # The longest query that the API allows, every character of it escaped, needs more than the usual 4,094.
            "limit_request_line": LONGEST_REQUEST_LINE,
            "timeout": 30,
            "worker_connections": MOST_CONNECTIONS,
            "accesslog": None,
            "logger_class": PlainLogger,
            "control_socket_disable": True,
            "proc_name": "ordersaga-gateway",
            "when_ready": _announce,
            "post_fork": lambda _server, worker: self._begin_worker(worker),
            "child_exit": lambda _server, worker: self._figures.forget_worker(worker.pid),
            "on_exit": lambda _server: self._figures.remove(),
            "worker_exit": lambda _server, _worker: self._on_worker_exit(),
        }

    def reload(self) -> None:
        """On SIGHUP: settings, accounts and keys are read again, and new workers take over from the old ones.

        What is wrong with them is logged, and the workers that come go on with what was right before.
        """
        try:
            self._settings = self._read_again()
        except Misconfigured as error:
            log.error("reload_refused", error=str(error))
        super().reload()

    def load(self) -> Flask:
        return self._load_app(lambda: not self._worker.alive)

    def _begin_worker(self, worker: Any) -> None:
        self._worker = worker


def _announce(server: Any) -> None:
    host, port = server.LISTENERS[0].sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"gateway listening on http://{shown}:{port}\n")
    sys.stdout.flush()
