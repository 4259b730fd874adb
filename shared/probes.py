"""GET /metrics, /health/live and /health/ready of a process that serves no HTTP otherwise.

Owns: the little server, its settings, its answers' form. Must not know: what a process checks about itself.

``live`` says whether the process should be left running, ``ready`` whether it can work just now: a database that is
away makes a process not ready, and is no reason to end it.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from shared import metrics
from shared.config import Source
from shared.errors import Misconfigured
from shared.logs import get_logger

log = get_logger(__name__)

PORT_SETTING, HOST_SETTING = "METRICS_PORT", "METRICS_HOST"
_REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """``parts``: what it was judged by, such as {"database": "up"}."""

    is_good: bool
    parts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Both are asked often, from threads of their own, and answer within seconds."""

    live: Callable[[], Report]
    ready: Callable[[], Report]


def serve_probes(source: Source, process: str, probes: Probes) -> ThreadingHTTPServer | None:
    """Serve beside whatever the process does; None without METRICS_PORT. Raises Misconfigured."""
    port = source.count(PORT_SETTING, 0) if source.values.get(PORT_SETTING) != "0" else 0
    if not port:
        return None
    host = source.text(HOST_SETTING, "127.0.0.1")
    try:
        server = _Server((host, port), process, probes)
    except (OSError, OverflowError) as error:
        raise Misconfigured(f"{PORT_SETTING}: cannot listen on {host}:{port}: {error}") from error
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], process: str, probes: Probes) -> None:
        super().__init__(address, _Request)
        self.process, self.probes = process, probes

    def server_bind(self) -> None:
        """Without asking a name server what the address is called, which may take its time."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asks goes away when they like."""


class _Request(BaseHTTPRequestHandler):
    """One request per connection."""

    server: _Server
    timeout = _REQUEST_TIMEOUT_S
    server_version, sys_version = "ordersaga", ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._send(200, metrics.CONTENT_TYPE, metrics.text())
            case "/health/live":
                self._report("alive", "hung", self.server.probes.live)
            case "/health/ready":
                self._report("ready", "not ready", self.server.probes.ready)
            case _:
                self._json(404, {"code": "not_found", "title": "there are /metrics, /health/live and /health/ready"})

    def _report(self, good: str, bad: str, probe: Callable[[], Report]) -> None:
        try:
            report = probe()
        except Exception as error:
            log.error("probe_failed", exc_info=error)
            report = Report(is_good=False, parts={"error": type(error).__name__})
        document = {"status": good if report.is_good else bad, "process": self.server.process, **report.parts}
        self._json(200 if report.is_good else 503, document)

    def _json(self, status: int, document: Mapping[str, Any]) -> None:
        self._send(status, "application/json", orjson.dumps(document))

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: somebody asks every few seconds."""
