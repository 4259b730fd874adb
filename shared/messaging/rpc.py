"""Requests and replies: Nameko's wire protocol, on the service's one message loop.

Owns: from a request message to a method call to a reply. Must not know: what a method does.

Own entrypoint instead of ``nameko.rpc``: there a request without reply_to, or with a malformed header, kills the
container again and again, an undecodable one is lost silently, and the reply goes out on a second connection.
Any Nameko client works with it (`nameko shell`, ClusterRpcProxy).
"""

from __future__ import annotations

import sys
import time
from typing import Any
from uuid import uuid4

from amqp.basic_message import Message
from nameko.exceptions import ContainerBeingKilled, IncorrectSignature, serialize
from nameko.extensions import Entrypoint, SharedExtension

from shared import tracing
from shared.caller import CONTEXT_KEY
from shared.choreography import rpc_queue
from shared.choreography.model import RPC_EXCHANGE
from shared.envelope import decode, encode
from shared.errors import InvalidRequest, MethodNotFound, OrderSagaError
from shared.identity import HEADER, Identity, read_identity
from shared.logs import get_logger
from shared.messaging import figures
from shared.messaging.arrivals import Arrivals
from shared.messaging.delivery import Delivery
from shared.messaging.message_loop import MessageLoop
from shared.trace_provider import ASKED_KEY

log = get_logger(__name__)

CONCURRENT_REQUESTS = 32


class RpcLane(SharedExtension):
    """The queue of requests to one service; each runs in a worker of its own and is answered as it finishes."""

    loop = MessageLoop()
    prefetch = CONCURRENT_REQUESTS
    takes_requests = True

    def __init__(self) -> None:
        self._methods: dict[str, Rpc] = {}
        self._arrivals = Arrivals()
        self._in_hand = 0
        super().__init__()

    def setup(self) -> None:
        self.queue = rpc_queue(self.container.service_name)
        self.loop.register(self)

    def add_method(self, entrypoint: Rpc) -> None:
        self._methods[entrypoint.method_name] = entrypoint

    def arrived(self, delivery: Delivery) -> None:
        self._arrivals.add(delivery)

    def finish(self) -> None:
        self._arrivals.close()

    def is_idle(self) -> bool:
        return self._in_hand == 0

    def run(self) -> None:
        # One at a time: a request taken but not begun is not in hand, and draining would not wait for it.
        while (requests := self._arrivals.take(1)) is not None:
            for request in requests:
                self._begin(request)

    def _begin(self, delivery: Delivery) -> None:
        self._in_hand += 1
        began = time.perf_counter()
        # crash point: rpc.received
        try:
            caller = read_identity(delivery.headers.get(HEADER))
            entrypoint, args, kwargs = self._read(delivery)
            self._spawn(entrypoint, args, kwargs, caller, delivery, began)
        except ContainerBeingKilled:
            self._in_hand -= 1
        except Exception:
            self._answer(delivery, None, sys.exc_info(), began)

    def _read(self, delivery: Delivery) -> tuple[Rpc, list[Any], dict[str, Any]]:
        request = decode(delivery.body, delivery.properties, delivery.headers)
        args, kwargs = request.get("args"), request.get("kwargs")
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise InvalidRequest("a request holds a list `args` and an object `kwargs`")
        method = _method_of(delivery)
        if method not in self._methods:
            raise MethodNotFound(f"{self.container.service_name} has no method {method[:100]!r}")
        try:
            self._methods[method].check_signature(args, kwargs)
        except IncorrectSignature as error:
            raise InvalidRequest(str(error)) from error
        return self._methods[method], args, kwargs

    def _spawn(
        self,
        entrypoint: Rpc,
        args: list[Any],
        kwargs: dict[str, Any],
        caller: Identity,
        delivery: Delivery,
        began: float,
    ) -> None:
        traced = tracing.answering(f"{self.container.service_name}.{entrypoint.method_name}", _trace_of(delivery))

        def handle_result(_worker: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            if traced is not None:
                traced.end(exc_info[1] if exc_info else None)
            self._answer(delivery, result, exc_info, began)
            return result, exc_info

        self.container.spawn_worker(
            entrypoint,
            args,
            kwargs,
            # Nameko would crash on a foreign call_id_stack of the wrong type: always our own.
            context_data={
                "call_id_stack": [f"rpc.{uuid4()}"],
                CONTEXT_KEY: caller,
                tracing.WORK_KEY: traced,
                ASKED_KEY: _asked(entrypoint.method_name, kwargs.get("correlation_id")),
            },
            handle_result=handle_result,
        )

    def _answer(self, delivery: Delivery, result: Any, exc_info: Any, began: float) -> None:
        try:
            # crash point: rpc.handled
            error = _error_of(exc_info[1]) if exc_info else None
            self._reply(delivery, _body(result, error))
            # crash point: rpc.replied
        finally:
            delivery.acknowledge()
            self._in_hand -= 1
            self._count(delivery, exc_info, time.perf_counter() - began)

    def _count(self, delivery: Delivery, exc_info: Any, seconds: float) -> None:
        method = _method_of(delivery)
        # Anybody may ask for a method that does not exist, under any name.
        method = method if method in self._methods else "unknown"
        figures.REQUESTS.labels(method, figures.code_of(exc_info[1]) if exc_info else "answered").inc()
        figures.REQUEST_SECONDS.labels(method).observe(seconds)

    def _reply(self, delivery: Delivery, body: bytes) -> None:
        """Not confirmed and not persistent: a caller that misses its reply asks again."""
        reply_to = delivery.properties.get("reply_to")
        if not isinstance(reply_to, str) or not reply_to:
            return
        correlation_id = str(delivery.properties.get("correlation_id", ""))[:255]
        message = Message(
            body,
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=correlation_id,
            delivery_mode=1,
        )
        try:
            delivery.message.channel.basic_publish(message, exchange=RPC_EXCHANGE, routing_key=reply_to)
        except Exception as error:
            # A dead connection, or a reply address that no frame can hold: either way nobody is waiting there.
            log.warning("reply_not_sent", error=f"{type(error).__name__}: {error}"[:300])


class Rpc(Entrypoint):
    """``@rpc`` on a method whose arguments and result are plain JSON. OrderSagaErrors reach the caller by name."""

    lane = RpcLane()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(expected_exceptions=OrderSagaError, **kwargs)

    def setup(self) -> None:
        self.lane.add_method(self)

    def stop(self) -> None:
        self.lane.loop.drain()


rpc = Rpc.decorator


def _method_of(delivery: Delivery) -> str:
    return str(delivery.message.delivery_info.get("routing_key", "")).rpartition(".")[2]


def _asked(method: str, correlation_id: Any) -> dict[str, str]:
    """For the log: whoever looks for a request has its correlation id."""
    return {"method": method, **({} if correlation_id is None else {"correlation_id": str(correlation_id)[:64]})}


def _trace_of(delivery: Delivery) -> Any:
    return delivery.headers.get(tracing.HEADER)


def _body(result: Any, error: Any) -> bytes:
    try:
        return encode({"result": result, "error": error})
    except TypeError as unserializable:
        return encode({"result": None, "error": _error_of(unserializable)})


def _error_of(error: BaseException) -> Any:
    """Nameko's form. What is not ours may hold secrets or SQL: its caller gets the type, the log gets the rest."""
    if isinstance(error, OrderSagaError):
        # Nameko would make texts of the details' numbers.
        return {**serialize(error), "exc_args": [error.message, error.details]}
    log.error("request_failed", exc_info=error)
    name = type(error).__name__
    return {
        "exc_type": "InternalError",
        "exc_path": "",
        "exc_args": [f"unexpected {name}", {}],
        "value": name,
    }
