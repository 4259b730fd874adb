"""Publishes many messages at once and says which of them the broker has safe.

Owns: one pika connection with publisher confirms, a whole window in flight, returns and nacks.
Must not know: what the messages are. Runs in a plain process, without eventlet.

pika's SelectConnection is driven step by step from here, so that the caller reads like a blocking program while
hundreds of messages are unconfirmed (confirming one by one was measured at a tenth of the speed).
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.exceptions import AMQPError, ShortStringTooLong, UnsupportedAMQPFieldException

from shared.errors import BrokerUnavailable
from shared.messaging.addresses import split_addresses
from shared.messaging.connection import HEARTBEAT_S

CONNECT_TIMEOUT_S = 10
CONFIRM_TIMEOUT_S = 60
# Shorter than a process has to end: what is not confirmed by then is published again by whoever comes next.
ENDING_S = 8.0
# How soon a wait takes notice that it has to be short (a signal does not interrupt it).
LOOK_EVERY_S = 1.0
# pika encodes a whole message before it sends any of it, so these leave the connection as it was.
_CANNOT_BE_ENCODED = (ShortStringTooLong, UnsupportedAMQPFieldException, struct.error, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """``id`` is the sender's own name for it; ``properties`` have a message_id when it is mandatory."""

    id: int
    exchange: str
    routing_key: str
    body: bytes
    properties: pika.BasicProperties
    mandatory: bool


@dataclass(frozen=True, kw_only=True)
class Window:
    """What became of a window: ids of confirmed messages, and of refused ones with the reason."""

    confirmed: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


class PipelinedChannel:
    """One connection. Every error leaves it closed; :meth:`connect` opens it again."""

    def __init__(self, amqp_uri: str) -> None:
        self._amqp_uri = amqp_uri
        self._connection: Any = None
        self._channel: Any = None
        self._failure: BaseException | None = None
        self._next_tag = 1
        self._was_nacked = False
        self._in_flight: dict[int, int] = {}
        self._ids: dict[str, int] = {}
        self._window = Window()
        self._latest = math.inf

    def hurry(self, seconds: float = ENDING_S) -> None:
        """Whoever waits is to end: no wait lasts longer than so long from now. Safe in a signal handler."""
        self._latest = time.monotonic() + seconds

    def connect(self) -> None:
        """Raises BrokerUnavailable when no node of the broker is ready within CONNECT_TIMEOUT_S each."""
        errors = []
        for node in split_addresses(self._amqp_uri):
            try:
                self._connect_to(node)
                return
            except BrokerUnavailable as error:
                errors.append(str(error))
                self.close()
        raise BrokerUnavailable("; ".join(errors) or "AMQP_URI names no broker")

    def _connect_to(self, node: str) -> None:
        parameters = pika.URLParameters(node)
        parameters.heartbeat = HEARTBEAT_S
        parameters.socket_timeout = 5
        self._failure = None
        self._next_tag = 1
        self._was_nacked = False
        self._in_flight.clear()
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=lambda _connection, error: self._failed(error),
            on_close_callback=lambda _connection, error: self._failed(error),
        )
        self._connection.ioloop.activate_poller()
        self._run_until(lambda: self._channel is not None, CONNECT_TIMEOUT_S)

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(lambda _channel, error: self._failed(error))
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._settled, callback=lambda _frame: self._confirms_on(channel))

    def _confirms_on(self, channel: Any) -> None:
        self._channel = channel

    def publish_all(self, messages: Iterable[Message]) -> Window:
        """Publish all of them, wait until each is settled. Raises BrokerUnavailable: then any may be published."""
        self._window = Window()
        self._ids = {}
        try:
            for message in messages:
                self._send_or_refuse(message)
        except AMQPError as error:
            raise self._broken(error) from error
        self._run_until(lambda: not self._in_flight, CONFIRM_TIMEOUT_S)
        if self._was_nacked:
            # In a cluster whose queue's leader has just died, a channel was seen to refuse all for that queue until the
            # dead node came back (RabbitMQ 3.10); a new channel asks who leads it now.
            self.close()
        return self._window

    def _send_or_refuse(self, message: Message) -> None:
        """One that cannot be sent at all must not hold up all others for ever."""
        try:
            self._send(message)
        except _CANNOT_BE_ENCODED as error:
            self._window.refused[message.id] = f"cannot be encoded: {type(error).__name__}: {error}"[:300]

    def _send(self, message: Message) -> None:
        if message.mandatory:
            self._ids[message.properties.message_id] = message.id
        self._channel.basic_publish(
            message.exchange, message.routing_key, message.body, message.properties, mandatory=message.mandatory
        )
        self._in_flight[self._next_tag] = message.id
        self._next_tag += 1

    def _settled(self, frame: Any) -> None:
        """basic.ack or basic.nack, for one tag or (multiple) for all up to it."""
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        tags = [t for t in self._in_flight if t <= tag] if multiple else [tag]
        accepted = isinstance(frame.method, pika.spec.Basic.Ack)
        for settled in tags:
            id_ = self._in_flight.pop(settled, None)
            if id_ is None or id_ in self._window.refused:
                continue
            if accepted:
                self._window.confirmed.append(id_)
            else:
                self._was_nacked = True
                self._window.refused[id_] = "the broker refused it (queue full or unavailable)"

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """Comes before the message's own ack, which then does not count."""
        id_ = self._ids.get(properties.message_id)
        if id_ is not None:
            self._window.refused[id_] = f"unroutable: {method.reply_text}"

    def wait(self, seconds: float, wake_up: Any = None) -> None:
        """Keep the connection alive for up to ``seconds``, or until the socket ``wake_up`` can be read."""
        woken: list[bool] = []
        loop = self._connection.ioloop
        if wake_up is not None:
            loop.add_handler(wake_up.fileno(), lambda _fd, _events: woken.append(True), loop.READ)
        try:
            self._run_until(lambda: bool(woken), seconds, timeout_is_error=False)
        finally:
            # A connection lost meanwhile has taken its loop with it.
            if wake_up is not None and self._connection is not None:
                loop.remove_handler(wake_up.fileno())

    def _run_until(self, done: Callable[[], bool], seconds: float, *, timeout_is_error: bool = True) -> None:
        loop = self._connection.ioloop
        deadline = time.monotonic() + seconds
        # poll() waits as long as its next timer.
        look_up = _Regularly(loop, min(seconds, LOOK_EVERY_S))
        try:
            while not done():
                if self._failure is not None:
                    raise self._broken(self._failure)
                if time.monotonic() >= min(deadline, self._latest):
                    if timeout_is_error:
                        raise self._broken(TimeoutError(f"no answer in {seconds} s, or until this process ends"))
                    return
                loop.poll()
                loop.process_timeouts()
        finally:
            if self._connection is not None:
                look_up.end()

    def _failed(self, error: BaseException) -> None:
        self._failure = error

    def _broken(self, error: BaseException) -> BrokerUnavailable:
        self.close()
        return BrokerUnavailable(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Drop the connection without waiting for the broker; what was not confirmed will be published again."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        # pika would close its socket in a later turn of the loop, which there will not be.
        sock = getattr(getattr(connection, "_transport", None), "_sock", None)
        with contextlib.suppress(Exception):
            connection.close()
            connection.ioloop.process_timeouts()
        with contextlib.suppress(Exception):
            connection._transport.abort()
        with contextlib.suppress(Exception):
            connection.ioloop.close()
        if sock is not None:
            sock.close()

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._failure is None


class _Regularly:
    """A timer of pika's loop that comes again and does nothing, until :meth:`end`."""

    def __init__(self, loop: Any, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds
        self._begin()

    def _begin(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._begin)

    def end(self) -> None:
        self._loop.remove_timeout(self._timer)
