"""A gunicorn worker whose threads never wait for a client's request: the main loop reads it, as much as there is.

Owns: connections between requests, from accepting to closing. Must not know: what is asked, or by whom.
gunicorn's own threaded worker gives each connection a thread as soon as it is there: as many clients as threads that
send a byte now and then, or nothing, and nobody else is served.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http import get_parser  # type: ignore[import-untyped]
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker  # type: ignore[import-untyped]

from gateway.serving.incoming import Incoming, Refused
from gateway.serving.patience import Patience
from gateway.serving.refusals import failure_bytes, refusal_bytes, refusal_of
from shared.logs import get_logger

log = get_logger(__name__)

IDLE_S = 15.0
REQUEST_S = 15.0
"""From a request's first byte to its last one."""
SENDING_S = 10.0
"""For one piece of an answer."""
LEAVING_S = 2.0
MOST_WAITING = 300
_READ_BYTES = 64 * 1024
_MOST_DRAINED_BYTES = 4 * 1024 * 1024
_GO_AHEAD = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_SLOW = Refused(
    HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The request was not complete within {REQUEST_S:g} s"
)
_NOTHING_THERE = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK)


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A client, and what has arrived of its next request."""

    incoming: Incoming
    drained_bytes = 0
    is_told_to_go_ahead = False

    def begin_request(self) -> None:
        self.incoming = Incoming()
        self.is_told_to_go_ahead = False
        self.sock.setblocking(False)

    def become_request(self, cfg: Any) -> None:
        """Given whole to gunicorn's parser, which therefore never reads from the socket."""
        self.parser = get_parser(cfg, [self.incoming.take()], self.client)
        self.initialized = True


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """All but ``handle...`` runs in the main thread, which therefore never waits for one client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: Patience[Connection] = Patience(IDLE_S)
        self._reading: Patience[Connection] = Patience(REQUEST_S)
        self._leaving: Patience[Connection] = Patience(LEAVING_S)

    # Arriving

    def accept(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
            return
        self._make_room()
        self.nr_conns += 1
        self._await_request(Connection(self.cfg, client, address, listener.getsockname()), b"")

    def _make_room(self) -> None:
        """The oldest silent client goes first, then the slowest one."""
        while len(self._idle) + len(self._reading) >= MOST_WAITING:
            victim = self._idle.oldest() or self._reading.oldest()
            if victim is not None:
                self._drop(victim)

    def _await_request(self, conn: Connection, begun: bytes) -> None:
        """``begun``: what came together with the request before."""
        conn.begin_request()
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_readable, conn))
        self._idle.add(conn, time.monotonic())
        if not self.alive:
            self._cap_keepalive(time.monotonic() + STOP_KEEPALIVE_LINGER)
        if begun:
            self._take(conn, begun)

    def _on_readable(self, conn: Connection, _socket: Any) -> None:
        data = _received(conn.sock)
        if data:
            self._take(conn, data)
        elif data is not None:
            self._drop(conn)

    def _take(self, conn: Connection, data: bytes) -> None:
        if conn in self._idle:
            self._idle.discard(conn)
            self._reading.add(conn, time.monotonic())
        try:
            if conn.incoming.add(data):
                self._carry_out(conn)
            elif conn.incoming.take_go_ahead():
                conn.is_told_to_go_ahead = True
                conn.sock.send(_GO_AHEAD)
        except Refused as refused:
            self._refuse(conn, refused)
        except OSError:
            self._drop(conn)

    def _carry_out(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        conn.become_request(self.cfg)
        self.enqueue_req(conn)

    # In a thread

    def handle_request(self, req: Any, conn: Connection) -> Any:
        conn.sock.settimeout(SENDING_S)
        if conn.is_told_to_go_ahead:
            req._expected_100_continue = False
        try:
            return super().handle_request(req, conn)
        except TimeoutError as error:
            # gunicorn knows this as a client that is gone.
            raise BrokenPipeError(errno.EPIPE, "the client does not read its answer") from error

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        refused = refusal_of(exc)
        if refused is None:
            log.error("request_broke", exc_info=exc)
        else:
            log.info("request_refused", status=refused.status.value, detail=refused.detail[:200])
        _send_last(client, failure_bytes() if refused is None else refusal_bytes(refused))

    # Leaving

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        keeps = not done.cancelled() and done.exception() is None and done.result() is True
        try:
            if keeps:
                self._await_request(conn, conn.parser.unreader.take_buffered())
            else:
                self._leave(conn)
        except (OSError, ValueError, KeyError):
            self._drop(conn)

    def _refuse(self, conn: Connection, refused: Refused) -> None:
        log.info("request_refused", status=refused.status.value, detail=refused.detail)
        self._stop_waiting(conn)
        _send_last(conn.sock, refusal_bytes(refused))
        self._leave(conn)

    def _leave(self, conn: Connection) -> None:
        """Read on for a moment: closed with something unread, the client may lose the answer before it is read."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError, KeyError):
            self._drop(conn)
            return
        self._leaving.add(conn, time.monotonic())

    def _drain(self, conn: Connection, _socket: Any) -> None:
        data = _received(conn.sock)
        if data is None:
            return
        conn.drained_bytes += len(data)
        if not data or conn.drained_bytes > _MOST_DRAINED_BYTES:
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        self.nr_conns -= 1
        conn.close()

    def _stop_waiting(self, conn: Connection) -> None:
        for waiting in (self._idle, self._reading, self._leaving):
            waiting.discard(conn)
        try:
            self.poller.unregister(conn.sock)
        except (KeyError, ValueError, OSError):
            return

    # What gunicorn's loop calls between events

    def murder_pending(self) -> None:
        now = time.monotonic()
        for conn in (*self._idle.over(now), *self._leaving.over(now)):
            self._drop(conn)
        for conn in self._reading.over(now):
            self._refuse(conn, _TOO_SLOW)

    def murder_keepalived(self, force: bool = False) -> None:
        if force:
            for conn in (*self._idle, *self._reading, *self._leaving):
                self._drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """The worker stops: who has asked for nothing yet is not waited for."""
        self._idle.end_by(deadline)


def _received(client: socket.socket) -> bytes | None:
    """Empty at its end, however that came; None if nothing is there after all."""
    try:
        return client.recv(_READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _send_last(client: socket.socket, answer: bytes) -> None:
    """As far as the client takes it at once; whoever is refused is not waited for."""
    try:
        client.setblocking(False)
        client.send(answer)
    except OSError:
        return
