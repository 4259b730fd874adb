"""One connection to one broker, from its opening to its end: reply queue, publishing, replies, blocking.

Owns: the pika objects; all but ``wake`` and ``request_stop`` runs in the I/O thread that called ``run``.
Must not know: what comes after its end (see link), nor what a call means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pika
from pika.adapters.select_connection import IOLoop

from gateway.rpc.pending import Call, PendingCalls
from gateway.rpc.wire import CONTENT_TYPE, EXCHANGE
from shared.identity import HEADER
from shared.logs import get_logger
from shared.tracing import HEADER as TRACE_HEADER

log = get_logger(__name__)

CLOSING_TIMEOUT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SessionEvents:
    """What a session tells its owner, in the I/O thread."""

    on_ready: Callable[[], None]
    on_unready: Callable[[str], None]


class Session:
    """A single life of the connection. ``run`` returns when that life is over, for whatever reason."""

    def __init__(
        self,
        parameters: pika.URLParameters,
        pending: PendingCalls,
        outbox: deque[Call],
        events: SessionEvents,
        *,
        with_confirms: bool = False,
    ) -> None:
        self._parameters = parameters
        self._pending = pending
        self._outbox = outbox
        self._events = events
        self._with_confirms = with_confirms
        self._reply_key = uuid4().hex
        self._loop = IOLoop()
        self._connection: Any = None
        self._channel: Any = None
        self._wake_requested = False
        self._own_reason = ""
        self.end_reason = "never connected"

    def run(self) -> None:
        """Connect and serve until the connection ends; ``end_reason`` then says why."""
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._on_connected,
            on_open_error_callback=self._on_ended,
            on_close_callback=self._on_ended,
            custom_ioloop=self._loop,
        )
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        try:
            self._loop.start()
        finally:
            self._loop.close()

    def wake(self) -> None:
        """Have the outbox sent soon; from any thread. Many wishes at once cost one wake-up."""
        # The flag falls before the outbox is emptied, so whoever saw it up was in time.
        if not self._wake_requested:
            self._wake_requested = True
            self._loop.add_callback_threadsafe(self._send_outbox)

    def request_stop(self) -> None:
        """End the session; from any thread."""
        self._loop.add_callback_threadsafe(self._close)

    # Opening, step by step; each step's answer from the broker starts the next one.

    def _on_connected(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        if self._with_confirms:
            channel.confirm_delivery(self._on_confirm)
        # A fresh name each time: after a half-open break the broker still holds the old exclusive queue.
        channel.queue_declare(self._reply_queue, exclusive=True, auto_delete=True, callback=self._on_queue_declared)

    @property
    def _reply_queue(self) -> str:
        return f"rpc.reply-gateway-{self._reply_key}"

    def _on_queue_declared(self, _frame: Any) -> None:
        self._channel.queue_bind(
            self._reply_queue, EXCHANGE, routing_key=self._reply_key, callback=self._on_queue_bound
        )

    def _on_queue_bound(self, _frame: Any) -> None:
        self._channel.basic_consume(
            self._reply_queue, self._on_reply, auto_ack=True, exclusive=True, callback=self._on_consuming
        )
        self._channel.add_on_cancel_callback(self._on_cancelled)

    def _on_consuming(self, _frame: Any) -> None:
        self._events.on_ready()
        self._send_outbox()

    # Serving

    def _send_outbox(self) -> None:
        self._wake_requested = False
        while self._channel is not None and self._channel.is_open and self._outbox:
            call = self._outbox.popleft()
            if self._pending.claim_for_sending(call):
                self._publish(call)

    def _publish(self, call: Call) -> None:
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE,
            content_encoding="utf-8",
            delivery_mode=1,
            correlation_id=call.correlation_id,
            reply_to=self._reply_key,
            headers=_headers(call),
            # A call whose caller has given up should not be worked on.
            expiration=str(max(1, int(call.remaining_s() * 1000))),
        )
        self._channel.basic_publish(EXCHANGE, call.routing_key, call.body, properties, mandatory=True)

    def _on_reply(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        self._pending.resolve(properties.correlation_id, body)

    def _on_returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        self._pending.refuse(properties.correlation_id, "The service is not running")

    def _on_confirm(self, frame: Any) -> None:
        """A refusal ends the session; what was asked in it may still be answered, but nobody waits for that.

        A channel of RabbitMQ 3.10 that was opened while another node of its cluster died was seen to refuse all that is
        for queues that were led there, until that node came back. A new channel asks who leads them now.
        """
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._close("the broker refused a call")

    def _on_blocked(self, _connection: Any, _frame: Any) -> None:
        """A memory or disk alarm: the broker reads nothing more, from us or from the services' replies."""
        log.warning("rpc_blocked")
        self._events.on_unready("The message broker accepts nothing at the moment")

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        log.info("rpc_unblocked")
        if self._channel is not None and self._channel.is_open:
            self._on_consuming(None)

    # Ending

    def _on_channel_closed(self, _channel: Any, reason: Any) -> None:
        self._close(str(reason))

    def _on_cancelled(self, _frame: Any) -> None:
        self._close("the reply queue was deleted")

    def _close(self, reason: str = "") -> None:
        self._own_reason = self._own_reason or reason
        # A frozen broker never answers the closing handshake, hence the timer.
        self._loop.call_later(CLOSING_TIMEOUT_S, self._loop.stop)
        if self._connection is not None and not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()

    def _on_ended(self, _connection: Any, reason: Any) -> None:
        self.end_reason = self._own_reason or str(reason) or type(reason).__name__
        self._loop.stop()


def _headers(call: Call) -> dict[str, Any]:
    headers: dict[str, Any] = {"nameko.call_id_stack": [f"gateway.{call.correlation_id}"]}
    if call.identity is not None:
        headers[HEADER] = call.identity
    if call.traceparent is not None:
        headers[TRACE_HEADER] = call.traceparent
    return headers
