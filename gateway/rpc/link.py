"""Keeps a connection to the broker up for ever: one I/O thread, one session after another.

Owns: which broker is tried next, when, and whether calls can be sent right now.
Must not know: the AMQP steps (see session) nor who waits for what (see pending).
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

import pika

from gateway.rpc.pending import Call, PendingCalls
from gateway.rpc.session import CLOSING_TIMEOUT_S, Session, SessionEvents
from shared.logs import get_logger

log = get_logger(__name__)

HEARTBEAT_S = 10
CONNECT_TIMEOUT_S = 2.0
HANDSHAKE_TIMEOUT_S = 4.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def connection_parameters(address: str) -> pika.URLParameters:
    """Raises ValueError or TypeError if the address is not an AMQP URI."""
    parameters = pika.URLParameters(address)
    parameters.heartbeat = HEARTBEAT_S
    parameters.socket_timeout = CONNECT_TIMEOUT_S
    parameters.stack_timeout = HANDSHAKE_TIMEOUT_S
    parameters.client_properties = {"connection_name": "gateway rpc"}
    return parameters


class Link:
    """Sends calls over whatever session is up. ``start`` once, ``stop`` once."""

    def __init__(self, brokers: Sequence[pika.URLParameters], pending: PendingCalls) -> None:
        self._brokers = brokers
        self._pending = pending
        self._outbox: deque[Call] = deque()
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._state = threading.Condition()
        self._ready = False
        self._served = False
        self._unready_since_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="rpc-link", daemon=True)

    def start(self) -> None:
        # Not since __init__: that may have run long ago, before a fork.
        self._unready_since_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Fail what is under way and close the connection; returns when the thread has ended."""
        self._stopping.set()
        session = self._session
        if session is not None:
            session.request_stop()
        self._thread.join(timeout=CLOSING_TIMEOUT_S + 1.0)

    @property
    def ready(self) -> bool:
        return self._ready

    def wait_until_ready(self, patience_s: float) -> bool:
        """Wait until calls can be sent, but not once the link has been down longer than ``patience_s``."""
        if self._ready:
            return True
        with self._state:
            remaining_s = self._unready_since_s + patience_s - time.monotonic()
            self._state.wait_for(lambda: self._ready or self._stopping.is_set(), max(0.0, remaining_s))
            return self._ready

    def send(self, call: Call) -> None:
        """Queue the call, which must already be pending; its answer, or its loss, arrives there."""
        self._outbox.append(call)
        session = self._session
        if session is not None:
            session.wake()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        for number, broker in enumerate(itertools.cycle(self._brokers), start=1):
            was_ready = self._serve(broker)
            if self._stopping.is_set():
                return
            if was_ready:
                pause_s = FIRST_PAUSE_S
            elif number % len(self._brokers) == 0:
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            self._stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter, not a secret

    def _serve(self, broker: pika.URLParameters) -> bool:
        """One session from start to end; whether calls could be sent in it."""
        events = SessionEvents(on_ready=self._on_ready, on_unready=self._on_unready)
        self._served = False
        # On a single node a refused call is a full queue, which helps nobody to hear of; each confirm costs something.
        session = Session(broker, self._pending, self._outbox, events, with_confirms=len(self._brokers) > 1)
        self._session = session
        if not self._stopping.is_set():
            self._run_session(session, broker)
        self._session = None
        self._on_unready("The connection to the message broker is lost")
        self._outbox.clear()
        return self._served

    def _run_session(self, session: Session, broker: pika.URLParameters) -> None:
        try:
            session.run()
        except Exception:
            # Whatever breaks one session must not end the thread: without it every call would fail for ever.
            log.exception("rpc_session_broke", host=broker.host, port=broker.port)
        else:
            reason = session.end_reason[:300]
            log.warning("rpc_disconnected", host=broker.host, port=broker.port, reason=reason)

    def _on_ready(self) -> None:
        self._served = True
        with self._state:
            self._ready = True
            self._state.notify_all()
        log.info("rpc_ready")

    def _on_unready(self, message: str) -> None:
        # First close the gate, then fail those inside: a call added in between sees the closed gate.
        with self._state:
            if self._ready:
                self._unready_since_s = time.monotonic()
            self._ready = False
            self._state.notify_all()
        self._pending.fail_all(message)
