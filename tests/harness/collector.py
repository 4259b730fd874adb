"""A collector of traces: takes OTLP over HTTP as any other, and keeps the spans to be looked at.

Owns: the endpoint, and the ways in which it can be unwell. Must not know: what a test promises.
"""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, kw_only=True)
class Span:
    """Ids in hex, "" for no parent; ``process`` is the service's name."""

    process: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    is_error: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    linked: tuple[str, ...] = ()


class Collector:
    """Listens from its making on. ``stop`` and ``start`` keep the port; while ``hangs`` it answers nobody."""

    def __init__(self) -> None:
        self.hangs = False
        self._goes_on = threading.Event()
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._goes_on.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="collector", daemon=True).start()

    def stop(self) -> None:
        """Whoever sends is refused from now on."""
        server, self._server = self._server, None
        self._goes_on.set()
        if server is not None:
            server.shutdown()
            server.server_close()

    def spans(self) -> list[Span]:
        with self._lock:
            return list(self._spans)

    def trace(self, trace_id: str) -> list[Span]:
        """In the order in which they began."""
        return sorted((s for s in self.spans() if s.trace_id == trace_id), key=lambda s: s.began_ns)

    def traces_of(self, order_id: str) -> set[str]:
        """Ids of the traces with a span that says it is about this order."""
        named = ("ordersaga.order_id", "ordersaga.aggregate_id")
        return {s.trace_id for s in self.spans() if order_id in [s.attributes.get(name) for name in named]}

    def forget(self) -> None:
        with self._lock:
            self._spans.clear()

    def take(self, body: bytes) -> None:
        spans = _spans_in(body)
        with self._lock:
            self._spans += spans

    def wait_while_hanging(self) -> None:
        if self.hangs:
            self._goes_on.wait(60)


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.wait_while_hanging()
            if self.path == "/v1/traces":
                is_zipped = self.headers.get("Content-Encoding") == "gzip"
                collector.take(gzip.decompress(body) if is_zipped else body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


def _spans_in(body: bytes) -> list[Span]:
    message = ExportTraceServiceRequest.FromString(body)
    return [
        _span(_attributes(sent.resource.attributes)["service.name"], span)
        for sent in message.resource_spans
        for scope in sent.scope_spans
        for span in scope.spans
    ]


def _span(process: str, span: Any) -> Span:
    return Span(
        process=process,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        is_error=span.status.code == 2,
        attributes=_attributes(span.attributes),
        linked=tuple(link.trace_id.hex() for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
