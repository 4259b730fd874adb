"""Orders of different customers placed in one call: what arrives while calls are under way goes with the next one.

Owns: who waits, what goes together, and what each one is told. Must not know: HTTP, or how an order is placed.
There is no thread and no clock behind it: whoever finds the way free carries all who wait along, so an idle gateway
adds no delay and a busy one asks once for many (decision 17).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Flask, current_app

from gateway.access import caller
from gateway.entry_errors import entry_error
from gateway.services import ORDER_SERVICE, CallTimedOut, ServiceFailed, Services, ServiceUnavailable
from shared.errors import OrderSagaError, PermanentError
from shared.identity import Identity
from shared.tracing import current_traceparent

MOST_ORDERS = 100
# An order with a hundred lines takes as long as a hundred small ones.
MOST_LINES = 1_000
MOST_CALLS = 2
TIMEOUT_S = 5.0

_EXTENSION = "ordersaga.placer"

Batch = list["_Waiting"]


@dataclass(kw_only=True, slots=True, eq=False)
class _Waiting:
    """One caller; ``told`` gets its answer, or the batch that it has to send for everybody in it."""

    entry: dict[str, Any]
    key: tuple[str, str] | None
    lines: int
    deadline_s: float
    is_sent: bool = False
    told: Future[dict[str, Any] | Batch] = field(default_factory=Future)

    def remaining_s(self) -> float:
        return self.deadline_s - time.monotonic()


class OrderPlacer:
    """Any number of threads may place at the same time; each waits for its own order only."""

    def __init__(
        self, client: Services, *, timeout_s: float = TIMEOUT_S, on_batch: Callable[[int], None] = lambda _orders: None
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._calls = 0
        self._keys: set[tuple[str, str]] = set()

    @property
    def waiting(self) -> int:
        """How many orders no call has taken along yet."""
        return len(self._queue)

    def place(
        self, order: dict[str, Any], *, idempotency_key: str | None, correlation_id: str, caller: Identity
    ) -> dict[str, Any]:
        """{"order", "replayed"}.

        Raises the order service's refusal of this order, ServiceUnavailable if it was not sent, OutcomeUnknown if it
        was but no answer came, ServiceFailed if the service broke.
        """
        me = _Waiting(
            entry=_entry(order, idempotency_key, correlation_id, caller),
            key=None if idempotency_key is None else (caller.subject, idempotency_key),
            lines=len(order["items"]),
            deadline_s=time.monotonic() + self._timeout_s,
        )
        with self._lock:
            self._queue.append(me)
            self._start_calls()
        told = self._wait(me)
        if isinstance(told, list):
            self._send(told)
            told = cast("dict[str, Any]", me.told.result(timeout=0))
        return told

    def _wait(self, me: _Waiting) -> dict[str, Any] | Batch:
        try:
            return me.told.result(timeout=max(0.0, me.remaining_s()))
        except FutureTimeoutError:
            with self._lock:
                if me.told.done():
                    # At the last moment. It may be a batch, which nobody else would send.
                    return me.told.result()
                if me.is_sent:
                    raise CallTimedOut("The service did not answer in time") from None
                self._queue.remove(me)
            raise ServiceUnavailable("The order could not be sent in time") from None

    # With the lock held

    def _start_calls(self) -> None:
        while self._calls < MOST_CALLS and (batch := self._next_batch()):
            self._calls += 1
            self._keys.update(waiting.key for waiting in batch if waiting.key is not None)
            # Who came last can wait longest: the call may take as long as anybody in it has time.
            batch[-1].told.set_result(batch)

    def _next_batch(self) -> Batch:
        """What goes together; a key under way waits for the next call, as the service would refuse it twice at once."""
        batch: Batch = []
        left: deque[_Waiting] = deque()
        lines, keys = 0, set(self._keys)
        for waiting in self._queue:
            fits = len(batch) < MOST_ORDERS and (not batch or lines + waiting.lines <= MOST_LINES)
            if not fits or waiting.key in keys:
                left.append(waiting)
                continue
            batch.append(waiting)
            lines += waiting.lines
            waiting.is_sent = True
            if waiting.key is not None:
                keys.add(waiting.key)
        self._queue = left
        return batch

    # In the thread of one of the batch

    def _send(self, batch: Batch) -> None:
        batch[-1].told = Future()
        try:
            self._on_batch(len(batch))
            self._ask(batch)
        finally:
            with self._lock:
                self._calls -= 1
                self._keys.difference_update(waiting.key for waiting in batch if waiting.key is not None)
                self._start_calls()

    def _ask(self, batch: Batch) -> None:
        try:
            answers = self._client.call(
                ORDER_SERVICE,
                "place_orders",
                timeout_s=max(waiting.remaining_s() for waiting in batch),
                orders=[waiting.entry for waiting in batch],
            )
            if not isinstance(answers, list) or len(answers) != len(batch):
                raise ServiceFailed("The service's answer does not fit the question", {"orders": len(batch)})
        except (ServiceFailed, PermanentError) as error:
            self._ask_one_by_one(batch, error)
        except OrderSagaError as error:
            _fail(batch, error)
        except Exception:
            _fail(batch, ServiceFailed("The orders could not be sent"))
            raise
        else:
            # crash point: gateway.answered
            for waiting, answer in zip(batch, answers, strict=True):
                _tell(waiting, answer)

    def _ask_one_by_one(self, batch: Batch, error: OrderSagaError) -> None:
        """One order that breaks the service must not harm those beside it; with its key it is safe to ask again."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        for waiting in batch:
            if waiting.key is None:
                _fail([waiting], error)
            elif waiting.remaining_s() <= 0:
                _fail([waiting], CallTimedOut("The service did not answer in time"))
            else:
                self._ask([waiting])


def _entry(order: dict[str, Any], key: str | None, correlation_id: str, caller: Identity) -> dict[str, Any]:
    entry: dict[str, Any] = {"order": order, "idempotencyKey": key, "correlationId": correlation_id}
    if (traceparent := current_traceparent()) is not None:
        entry["traceparent"] = traceparent
    return entry if caller.is_trusted else {**entry, "identity": caller.header()}


def _tell(waiting: _Waiting, answer: Any) -> None:
    if not isinstance(answer, dict):
        _fail([waiting], ServiceFailed("The service's answer is not one"))
    elif "error" in answer:
        _fail([waiting], entry_error(answer["error"]))
    else:
        waiting.told.set_result(answer)


def _fail(batch: Batch, error: OrderSagaError) -> None:
    for waiting in batch:
        # An error of its own for each: raised in several threads at once, one would gather all their tracebacks.
        waiting.told.set_exception(type(error)(error.message, error.details))


def register_placer(app: Flask, placer: OrderPlacer) -> None:
    app.extensions[_EXTENSION] = placer


def place_order_together(order: dict[str, Any], *, idempotency_key: str, correlation_id: str) -> dict[str, Any]:
    """Place in the name of whoever sent the current request; see :meth:`OrderPlacer.place`."""
    placer = cast(OrderPlacer, current_app.extensions[_EXTENSION])
    return placer.place(order, idempotency_key=idempotency_key, correlation_id=correlation_id, caller=caller())
