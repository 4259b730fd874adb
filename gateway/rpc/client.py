"""The gateway's side of a call: a deadline, a wait, an answer or an error that says what is certain.

Owns: the order of steps of one call. Must not know: AMQP, nor which methods exist.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from gateway.rpc.link import Link, connection_parameters
from gateway.rpc.pending import Call, PendingCalls
from gateway.rpc.wire import decode_reply, encode_call
from gateway.services import ServiceUnavailable
from shared.errors import Misconfigured
from shared.identity import Identity
from shared.messaging.addresses import split_addresses
from shared.tracing import current_traceparent

CONNECT_PATIENCE_S = 1.0


class RpcClient:
    """Implements ``Services`` over one connection; any number of threads may call at the same time.

    ``start`` begins connecting in the background and goes on for ever; ``close`` fails what is under way.
    Start it in the process that uses it: its thread and socket do not survive a fork.
    """

    def __init__(self, amqp_uri: str, *, timeout_s: float = 5.0, max_pending: int = 2_000) -> None:
        try:
            brokers = [connection_parameters(address) for address in split_addresses(amqp_uri)]
        except (ValueError, TypeError) as error:
            # The URI holds a password, and pika's message may quote it.
            raise Misconfigured("AMQP_URI is not a list of AMQP URIs") from error
        if not brokers:
            raise Misconfigured("AMQP_URI names no broker")
        self._timeout_s = timeout_s
        self._pending = PendingCalls(max_pending)
        self._link = Link(brokers, self._pending)

    def start(self) -> None:
        self._link.start()

    def close(self) -> None:
        self._link.stop()

    @property
    def pending_calls(self) -> int:
        return len(self._pending)

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        """See ``Services.call``; ``timeout_s`` bounds connecting, sending and waiting together."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = Call(
            correlation_id=uuid4().hex,
            routing_key=f"{service}.{method}",
            body=encode_call(kwargs),
            identity=caller.header() if caller else None,
            traceparent=current_traceparent(),
            deadline_s=time.monotonic() + limit_s,
        )
        self._require_link(min(CONNECT_PATIENCE_S, limit_s))
        # crash point: gateway.asking
        self._submit(call)
        # crash point: gateway.asked
        return decode_reply(self._wait(call))

    def _require_link(self, patience_s: float) -> None:
        if not self._link.wait_until_ready(patience_s):
            raise ServiceUnavailable("The message broker cannot be reached")

    def _submit(self, call: Call) -> None:
        self._pending.add(call)
        # Looked at again after adding: had the link gone down before that, nobody would fail this call.
        if not self._link.ready:
            self._pending.discard(call)
            raise ServiceUnavailable("The connection to the message broker is lost")
        self._link.send(call)

    def _wait(self, call: Call) -> bytes:
        try:
            return call.answer.result(timeout=max(0.0, call.remaining_s()))
        except TimeoutError:
            error = self._pending.expire(call)
            if error is not None:
                raise error from None
            # Taken out by the I/O thread just now: its answer is set within a moment.
            return call.answer.result(timeout=1.0)
