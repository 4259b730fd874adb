"""The simulated provider's own process: HTTP for cards and for whoever controls the simulator, and the webhooks.

Owns: HTTP, threads, signals, settings. Must not know: what is answered (psp_desk), how webhooks are sent (psp_sender).

POST /tokens      {"number", "expMonth", "expYear", "cvc"} → {"token"}; for browsers, hence CORS
GET /cards        the test cards; CORS too
GET /behaviour, PATCH /behaviour {name: value}, DELETE /behaviour
GET /book?last=20
GET /health

Nothing that was sent is ever logged: no body, no query, no header. It may hold a card number.
"""

from __future__ import annotations

import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from payment_service.psp_book import create_book
from payment_service.psp_desk import MOST_SHOWN, SHOWN, Answer, Desk
from payment_service.psp_sender import Receiver, WebhookSender
from shared.config import Source
from shared.database import ENGINE_OPTIONS
from shared.errors import Misconfigured
from shared.logs import configure_logs, get_logger
from shared.metrics import counter
from shared.probes import Probes, Report, serve_probes
from shared.process import limit_the_end

log = get_logger(__name__)

LONGEST_BODY = 4096
_DRAINED_BODY = 1_000_000
_REQUEST_TIMEOUT_S = 10.0
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
}
_FOR_BROWSERS = ("/tokens", "/cards")
_REQUESTS = counter("psp_http_requests", "Requests the simulated provider answered", ("page", "method", "status"))


@dataclass(frozen=True, kw_only=True)
class PspSettings:
    """What the psp process reads from its environment; nothing of ours is in it."""

    database_url: str
    host: str
    port: int
    receiver: Receiver
    log_level: str
    log_format: str

    @classmethod
    def read(cls, source: Source) -> PspSettings:
        port = source.count("PSP_PORT", 8001)
        if port > 65_535:
            raise Misconfigured(f"PSP_PORT is out of range: {port}")
        return cls(
            database_url=source.text("PSP_DATABASE_URL"),
            host=source.text("PSP_HOST", "127.0.0.1"),
            port=port,
            receiver=Receiver(url=_http_address(source.text("PSP_WEBHOOK_URL")), secret=_webhook_secret(source)),
            log_level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
            log_format=source.choice("LOG_FORMAT", ("json", "console"), "json"),
        )


def _webhook_secret(source: Source) -> str:
    secret = source.secret("PSP_WEBHOOK_SECRET")
    if secret is None:
        raise Misconfigured("neither PSP_WEBHOOK_SECRET nor PSP_WEBHOOK_SECRET_FILE is set")
    return secret


def _http_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise Misconfigured("PSP_WEBHOOK_URL should be an http address")
    return url


def run(environment: Mapping[str, str]) -> None:
    """Serve and send until SIGTERM."""
    source = Source(values=environment)
    settings = PspSettings.read(source)
    configure_logs(process="psp", level=settings.log_level, style=settings.log_format)
    create_book(settings.database_url)
    engine = create_engine(settings.database_url, **ENGINE_OPTIONS)
    sender = WebhookSender(engine, settings.receiver, utc_now)
    limit_the_end()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sender.stop())
    desk = Desk(engine=engine, clock=utc_now)
    serve_probes(source, "psp", Probes(live=lambda: Report(is_good=True, parts={}), ready=partial(_ready, desk)))
    with PspServer((settings.host, settings.port), desk) as server:
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
        log.info("psp_listening", host=settings.host, port=settings.port)
        sender.run()
        server.shutdown()
    engine.dispose()


def _ready(desk: Desk) -> Report:
    try:
        desk.health()
    except SQLAlchemyError:
        return Report(is_good=False, parts={"database": "down"})
    return Report(is_good=True, parts={"database": "up"})


def utc_now() -> datetime:
    return datetime.now(UTC)


class PspServer(ThreadingHTTPServer):
    """One thread per connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        super().__init__(address, _Request)
        self.desk = desk

    def server_bind(self) -> None:
        """Without asking a name server what the address is called, which may take its time."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Without the traceback that the standard library prints."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | socket.timeout):
            log.error("psp_request_failed", error=type(error).__name__)


class _Request(BaseHTTPRequestHandler):
    """One request per connection."""

    server: PspServer
    path = ""
    timeout = _REQUEST_TIMEOUT_S
    server_version, sys_version = "psp", ""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def do_OPTIONS(self) -> None:
        self._send(204 if self._page in _FOR_BROWSERS else 405, {})

    @property
    def _page(self) -> str:
        return self.path.partition("?")[0]

    def _serve(self, method: str) -> None:
        began = time.monotonic()
        body = self._body()
        work = self._work(method, self._page) if isinstance(body, bytes) else None
        if not isinstance(body, bytes):
            status, document = body
        elif work is None:
            status, document = _problem(404, "not_found", "there is no such page")
        else:
            status, document = _answer(partial(work, body))
        self._send(status, document)
        # The path of a request that we do not know may hold anything.
        page = self._page if work else "unknown"
        _REQUESTS.labels(page, method, str(status)).inc()
        if page != "/health":
            took_ms = round((time.monotonic() - began) * 1000)
            log.info("psp_request", method=method, page=page, status=status, took_ms=took_ms)

    def _work(self, method: str, path: str) -> Callable[[bytes], Answer] | None:
        desk = self.server.desk
        works: dict[tuple[str, str], Callable[[bytes], Answer]] = {
            ("GET", "/health"): lambda _: desk.health(),
            ("GET", "/cards"): lambda _: desk.cards(),
            ("POST", "/tokens"): lambda body: self._with_fields(desk.tokenise, body),
            ("GET", "/behaviour"): lambda _: desk.behaviour(),
            ("PATCH", "/behaviour"): lambda body: self._with_fields(desk.change_behaviour, body),
            ("DELETE", "/behaviour"): lambda _: desk.reset_behaviour(),
            ("GET", "/book"): lambda _: self._book(),
        }
        return works.get((method, path))

    def _book(self) -> Answer:
        wish = parse_qs(self.path.partition("?")[2]).get("last", [str(SHOWN)])[0]
        if not re.fullmatch(r"[0-9]{1,9}", wish) or not 1 <= int(wish) <= MOST_SHOWN:
            return _problem(422, "invalid_request", f"last should be 1 to {MOST_SHOWN}")
        return self.server.desk.book(int(wish))

    def _with_fields(self, work: Callable[[Mapping[str, Any]], Answer], body: bytes) -> Answer:
        # A page of any origin may send forms and plain text to us; JSON only after it has asked (CORS).
        if self.headers.get_content_type() != "application/json":
            return _problem(415, "unsupported_media_type", "the body should be application/json")
        try:
            fields = orjson.loads(body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return _problem(400, "invalid_request", "the body should be a JSON object")
        return work(fields)

    def _body(self) -> bytes | Answer:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            return _problem(411, "length_required", "the body needs a Content-Length")
        if len(length) > 9 or int(length) > LONGEST_BODY:
            # Read all the same: otherwise the answer is lost with the connection.
            self.rfile.read(min(int(length[:9]), _DRAINED_BODY))
            return _problem(413, "too_large", f"the body should have at most {LONGEST_BODY} bytes")
        return self.rfile.read(int(length))

    def _send(self, status: int, document: dict[str, Any]) -> None:
        content = b"" if status == 204 else orjson.dumps(document)
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Cache-Control": "no-store"}
        for name, value in {**headers, **(_CORS if self._page in _FOR_BROWSERS else {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """For what is no HTTP: the standard library would quote it in its answer and in its log."""
        self._send(int(code), _problem(int(code), "bad_request", "not understood")[1])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: its lines hold the request line."""


def _answer(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except SQLAlchemyError as error:
        log.warning("psp_book_away", error=type(error).__name__)
        return _problem(503, "unavailable", "the book cannot be reached")


def _problem(status: int, code: str, title: str) -> Answer:
    return status, {"code": code, "title": title}
