"""Spans of everything that OrderSaga does, in OpenTelemetry's words.

Owns: names, kinds, attributes, and whose child each span is. Must not know: where spans go (export.py).
An event's traceparent is the span that published it; what handles it is that one's child. Work that no message asked
for goes on where this process saw the order last, or by the ids of shared.tracing.ids.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from uuid_utils.compat import uuid7

from shared.tracing.ids import Place, read_traceparent, span_id_of, trace_id_of
from shared.tracing.statements import show_statement
from shared.tracing.work import Window, Work, place_of

ORDERS_REMEMBERED = 20_000
_NOWHERE = Context()
_SAGA = "ordersaga.order_id"
_CORRELATION = "messaging.message.conversation_id"
_BROKER = {"messaging.system": "rabbitmq"}
_RPC = {"rpc.system": "ordersaga"}


class ChosenIds(RandomIdGenerator):
    """Random ids, but for those that were chosen for the very next span of this thread."""

    def __init__(self) -> None:
        self._next = threading.local()

    def choose(self, *, trace_id: int | None = None, span_id: int | None = None) -> None:
        self._next.trace_id, self._next.span_id = trace_id, span_id

    def generate_trace_id(self) -> int:
        chosen, self._next.trace_id = getattr(self._next, "trace_id", None), None
        return chosen or super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen, self._next.span_id = getattr(self._next, "span_id", None), None
        return chosen or super().generate_span_id()


class Tracer:
    """What ``shared.tracing`` asks, while it is on. Safe from any thread."""

    def __init__(
        self, provider: TracerProvider, ids: ChosenIds, current: ContextVar[Work | None], close: Callable[[], None]
    ) -> None:
        self._provider, self._ids, self._current, self.close = provider, ids, current, close
        self._tracer = provider.get_tracer("ordersaga")
        self._seen: OrderedDict[str, str] = OrderedDict()

    # Requests

    def serving(self, name: str, traceparent: str | None, request_id: str, attributes: Mapping[str, Any]) -> Work:
        parent = read_traceparent(traceparent)
        return self._work(self._begin(name, parent, SpanKind.SERVER, attributes, trace_id=trace_id_of(request_id)))

    def asking(self, method: str, traceparent: str) -> Work:
        attributes = {**_RPC, "rpc.method": method}
        return self._work(self._begin(method, read_traceparent(traceparent), SpanKind.CLIENT, attributes))

    def answering(self, method: str, traceparent: object) -> Work:
        """Without a traceparent it is nobody's; what it does to orders is in their traces all the same."""
        parent = read_traceparent(traceparent)
        if parent is None:
            return self.own_work()
        return self._work(self._begin(method, parent, SpanKind.SERVER, {**_RPC, "rpc.method": method}))

    def own_work(self) -> Work:
        return self._work()

    def _work(self, *spans: Span) -> Work:
        return Work(lambda span, statement: show_statement(self._tracer, span, statement), spans)

    # Events

    def consuming(self, queue: str, events: Sequence[Any]) -> Work:
        batch = {
            **_BROKER,
            "messaging.operation.name": "process",
            "messaging.destination.name": queue,
            "messaging.batch.message_count": len(events),
            "ordersaga.batch.id": str(uuid7()),
        }
        spans = [self._consumed(event, batch) for event in events]
        work = self._work(*spans)
        work.events = [_handled_in(event, str(place_of(span))) for event, span in zip(events, spans, strict=True)]
        return work

    def _consumed(self, event: Any, batch: Mapping[str, Any]) -> Span:
        envelope, order_id = event.envelope, getattr(event.body, "order_id", None)
        attributes = {**batch, **_named(envelope), **({_SAGA: str(order_id)} if order_id else {})}
        parent = read_traceparent(envelope.traceparent)
        if parent is None and order_id:
            parent = self._derived(order_id, envelope.correlation_id)
        trace_id = trace_id_of(envelope.correlation_id)
        span = self._begin(f"process {envelope.type}", parent, SpanKind.CONSUMER, attributes, trace_id=trace_id)
        if order_id:
            self._remember(order_id, str(place_of(span)))
        return span

    def publishing(self, rows: Sequence[Any]) -> Window:
        spans = [self._published(row) for row in rows]
        traced = [
            replace(row, envelope=replace(row.envelope, traceparent=str(place_of(span))))
            for row, span in zip(rows, spans, strict=True)
        ]
        return Window(traced, [(row.id, span) for row, span in zip(rows, spans, strict=True)])

    def _published(self, row: Any) -> Span:
        envelope = row.envelope
        attributes = {
            **_BROKER,
            "messaging.operation.name": "publish",
            "messaging.destination.name": envelope.type,
            **_named(envelope),
            "ordersaga.aggregate_id": row.aggregate_id,
        }
        parent = read_traceparent(envelope.traceparent)
        trace_id = trace_id_of(envelope.correlation_id)
        return self._begin(f"publish {envelope.type}", parent, SpanKind.PRODUCER, attributes, trace_id=trace_id)

    # Orders

    def order_placed(self, order_id: object, correlation_id: str, traceparent: object) -> str:
        work = self._current.get()
        parent = read_traceparent(traceparent) or read_traceparent(work.traceparent if work else None)
        span = self._begin(
            "place order",
            parent,
            SpanKind.INTERNAL,
            {_SAGA: str(order_id), _CORRELATION: correlation_id},
            links=_links_to(work),
            trace_id=trace_id_of(correlation_id),
            span_id=span_id_of(order_id),
            # What was asked of the database for it came before it was known.
            began_ns=work.began_ns if work else None,
        )
        return self._noted(order_id, span, work)

    def happened(self, name: str, order_id: object, correlation_id: str) -> str:
        work = self._current.get()
        parent = self._seen_at(order_id) or self._derived(order_id, correlation_id)
        attributes = {_SAGA: str(order_id), _CORRELATION: correlation_id}
        span = self._begin(name, parent, SpanKind.INTERNAL, attributes, links=_links_to(work))
        return self._noted(order_id, span, work)

    def _noted(self, order_id: object, span: Span, work: Work | None) -> str:
        """Ends with the work in whose course it is, or at once."""
        if work is None:
            span.end()
        else:
            work.add(span)
        traceparent = str(place_of(span))
        self._remember(order_id, traceparent)
        return traceparent

    def of_order(self, order_id: object, correlation_id: str) -> str:
        work = self._current.get()
        here = work.traceparent if work else None
        return self._seen.get(str(order_id)) or here or str(self._derived(order_id, correlation_id))

    def calling(self, name: str, order_id: object, correlation_id: str | None) -> Work:
        return self._work(self._for_order(name, order_id, correlation_id, SpanKind.CLIENT))

    def together(self, name: str, orders: Sequence[tuple[object, str | None]]) -> Work:
        return self._work(*(self._for_order(name, *order, SpanKind.INTERNAL) for order in orders))

    def _for_order(self, name: str, order_id: object, correlation_id: str | None, kind: SpanKind) -> Span:
        parent = self._seen_at(order_id) or self._derived(order_id, correlation_id or str(order_id))
        span = self._begin(name, parent, kind, {_SAGA: str(order_id)})
        self._remember(order_id, str(place_of(span)))
        return span

    # Whose child

    def _begin(
        self,
        name: str,
        parent: Place | None,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        *,
        links: Sequence[Link] = (),
        trace_id: int | None = None,
        span_id: int | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """``trace_id`` counts without a parent only."""
        self._ids.choose(trace_id=None if parent else trace_id, span_id=span_id)
        context = _NOWHERE if parent is None else trace.set_span_in_context(_elsewhere(parent), _NOWHERE)
        return self._tracer.start_span(name, context, kind, attributes, links, began_ns)

    def _derived(self, order_id: object, correlation_id: str) -> Place:
        trace_id = trace_id_of(correlation_id)
        sampler = self._provider.sampler
        is_sampled = sampler.should_sample(_NOWHERE, trace_id, "saga").decision is Decision.RECORD_AND_SAMPLE
        return Place(trace_id=trace_id, span_id=span_id_of(order_id), is_sampled=is_sampled)

    def _seen_at(self, order_id: object) -> Place | None:
        return read_traceparent(self._seen.get(str(order_id)))

    def _remember(self, order_id: object, traceparent: str) -> None:
        key = str(order_id)
        self._seen[key] = traceparent
        self._seen.move_to_end(key)
        if len(self._seen) > ORDERS_REMEMBERED:
            self._seen.popitem(last=False)


def _named(envelope: Any) -> dict[str, Any]:
    return {"messaging.message.id": str(envelope.event_id), _CORRELATION: envelope.correlation_id}


def _handled_in(event: Any, traceparent: str) -> Any:
    return replace(event, envelope=replace(event.envelope, traceparent=traceparent))


def _elsewhere(place: Place) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if place.is_sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(place.trace_id, place.span_id, is_remote=True, trace_flags=flags))


def _links_to(work: Work | None) -> list[Link]:
    """To the request in whose course something happens to an order: it may be in another trace."""
    first = work.first if work else None
    return [] if first is None else [Link(first.get_span_context())]
