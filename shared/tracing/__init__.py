"""Traces: one for each saga, from the HTTP request through outbox, broker, services, SQL and provider.

Owns: the questions that the rest of the code asks, and that each costs one look at ``None`` while nothing is traced.
Must not know: OpenTelemetry, which is not even imported then (``spans``, ``export``, ``sql`` are for when it is).

On is a process with OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) set; OpenTelemetry's other
variables (OTEL_TRACES_SAMPLER, OTEL_BSP_…, OTEL_RESOURCE_ATTRIBUTES) mean what they mean everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shared.tracing.spans import Tracer
    from shared.tracing.work import Work

HEADER = "traceparent"
WORK_KEY = "ordersaga.trace"
"""Where Nameko's contexts hold the Work that a worker is doing."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class _On:
    """``tracer`` is None while nothing is traced."""

    tracer: Tracer | None = None


_on = _On()
_work: ContextVar[Work | None] = ContextVar("ordersaga_trace", default=None)

Concerned = Sequence[tuple[object, str | None]]
"""(order id, correlation id of what is done) of several orders."""


def configure_tracing(process: str, environment: Mapping[str, str], *, with_statements: bool = False) -> None:
    """Trace this process, if its environment says where spans go. After the fork, and after eventlet's patching."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or (
        environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none"
    )
    if is_off or not any(environment.get(name) for name in _ENDPOINTS):
        return
    # Not at the top: a process that does not trace pays nothing, not even the import.
    _on.tracer = import_module("shared.tracing.export").make_tracer(process, _work)
    if with_statements:
        import_module("shared.tracing.sql").listen(_work)


def trace_with(tracer: Tracer | None) -> None:
    """Use this one from now on (tests)."""
    _on.tracer = tracer


def close_tracing() -> None:
    """Send what is left, for a few seconds at most."""
    if _on.tracer is not None:
        _on.tracer.close()


def is_on() -> bool:
    return _on.tracer is not None


def current_traceparent() -> str | None:
    """Of what is being done here; None if that is not traced."""
    if _on.tracer is None or (work := _work.get()) is None:
        return None
    return work.traceparent


def current_trace_id() -> str | None:
    """For log lines."""
    return None if (traceparent := current_traceparent()) is None else traceparent[3:35]


# Gateway and requests


def serving(name: str, traceparent: str | None, request_id: str, attributes: Mapping[str, Any]) -> Work | None:
    """An HTTP request, current until :func:`leave`."""
    return None if _on.tracer is None else _entered(_on.tracer.serving(name, traceparent, request_id, attributes))


@contextmanager
def asking(method: str) -> Iterator[None]:
    """A call of a service, from within a request that is traced."""
    if _on.tracer is None or (outer := _work.get()) is None or outer.traceparent is None:
        yield
        return
    with _current(_on.tracer.asking(method, outer.traceparent)):
        yield


def answering(method: str, traceparent: object) -> Work | None:
    """A call that arrived. Hand it to the worker under WORK_KEY, and end it."""
    return None if _on.tracer is None else _on.tracer.answering(method, traceparent)


def enter(work: Work | None) -> None:
    """What the current worker does belongs to ``work``; to nothing that was begun elsewhere if it is None."""
    if _on.tracer is not None:
        _entered(work or _on.tracer.own_work())


def leave(*, is_done: bool) -> None:
    """Nothing more is done here; with ``is_done`` nowhere else either, and the work ends."""
    if _on.tracer is None:
        return
    work = _work.get()
    _work.set(None)
    if is_done and work is not None:
        work.end()


def _entered(work: Work) -> Work:
    _work.set(work)
    return work


@contextmanager
def _current(work: Work) -> Iterator[Work]:
    token = _work.set(work)
    try:
        yield work
    except BaseException as error:
        work.end(error)
        raise
    else:
        work.end()
    finally:
        _work.reset(token)


# Events


def consuming(queue: str, events: Sequence[Any]) -> Work | None:
    """A batch: each event in its own trace. ``events`` of the result are to be handled in place of ``events``.

    They bear the name of the span that handles them, and so does whatever they cause. Hand it to the worker under
    WORK_KEY, and end it.
    """
    return None if _on.tracer is None else _on.tracer.consuming(queue, events)


class Window(Protocol):
    """What the relay sends at once: publish ``rows``, then say what became of them."""

    rows: list[Any]

    def settled(self, refused: Mapping[int, str]) -> None:
        """Which rows the broker did not take."""


class Untraced:
    """A window while nothing is traced."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def settled(self, refused: Mapping[int, str]) -> None:
        return None


@contextmanager
def publishing(rows: list[Any]) -> Iterator[Window]:
    """A window on its way to the broker: its ``rows`` are to be published in place of ``rows``."""
    if _on.tracer is None:
        yield Untraced(rows)
        return
    window = _on.tracer.publishing(rows)
    try:
        yield window
    except BaseException as error:
        window.lost(error)
        raise


# Orders


def order_placed(order_id: object, correlation_id: str, traceparent: object) -> str | None:
    """The span in which an order came to be, under whoever asked for it; its traceparent, for ORDER_CREATED."""
    return None if _on.tracer is None else _on.tracer.order_placed(order_id, correlation_id, traceparent)


def happened(name: str, order_id: object, correlation_id: str) -> str | None:
    """Something that a clock or a person did to an order: a span in its saga's trace, linked to the request's.

    ``correlation_id`` is the one under which the order was placed.
    """
    return None if _on.tracer is None else _on.tracer.happened(name, order_id, correlation_id)


def of_order(order_id: object, correlation_id: str) -> str | None:
    """Where the trace of this order goes on, for events without a traced cause."""
    return None if _on.tracer is None else _on.tracer.of_order(order_id, correlation_id)


@contextmanager
def calling(name: str, order_id: object, correlation_id: str | None) -> Iterator[None]:
    """Something done for one order elsewhere, such as a call of the provider."""
    if _on.tracer is None:
        yield
        return
    work = _on.tracer.calling(name, order_id, correlation_id)
    try:
        yield
    except BaseException as error:
        work.end(error)
        raise
    work.end()


@contextmanager
def together(name: str, orders: Concerned) -> Iterator[None]:
    """One transaction for several orders that no message asked for."""
    if _on.tracer is None:
        yield
        return
    with _current(_on.tracer.together(name, orders)):
        yield
