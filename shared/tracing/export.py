"""Sending spans away, by OTLP over HTTP, without ever being in the way.

Owns: OpenTelemetry's SDK: provider, queue, exporter, and their end. Must not know: what is traced.
Spans wait in a bounded queue (OTEL_BSP_MAX_QUEUE_SIZE) that one thread, a green one under eventlet, empties. With the
collector away or slow the queue fills and the oldest spans are dropped; nobody waits for it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.logs import get_logger
from shared.tracing.spans import ChosenIds, Tracer
from shared.tracing.work import Work

log = get_logger(__name__)

CLOSING_S = 3.0
EXPORT_TIMEOUT_S = 5.0
_NAMESPACE = "ordersaga"


def make_tracer(process: str, current: ContextVar[Work | None]) -> Tracer:
    """A tracer whose spans go where the environment says."""
    # Each failed export would be a traceback; QuietExporter says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    ids = ChosenIds()
    provider = TracerProvider(resource=_resource(process), id_generator=ids, shutdown_on_exit=False)
    timeout_s = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else EXPORT_TIMEOUT_S
    provider.add_span_processor(BatchSpanProcessor(QuietExporter(OTLPSpanExporter(timeout=timeout_s))))
    log.info("tracing")
    return Tracer(provider, ids, current, partial(close, provider))


def _resource(process: str) -> Resource:
    return Resource.create(
        {
            "service.name": process,
            "service.namespace": _NAMESPACE,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )


def close(provider: TracerProvider) -> None:
    """Send what waits. A collector that does not answer is left behind after CLOSING_S."""
    closing = threading.Thread(target=provider.shutdown, name="trace export ends", daemon=True)
    closing.start()
    closing.join(CLOSING_S)


class QuietExporter(SpanExporter):
    """Says once that spans are lost, and once that they arrive again. No error of it reaches anybody."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            return self._lose(spans, type(error).__name__)
        if result is not SpanExportResult.SUCCESS:
            return self._lose(spans, "the collector did not take them")
        if self._lost:
            log.info("traces_exported_again", lost=self._lost)
            self._lost = 0
        return result

    def _lose(self, spans: Sequence[ReadableSpan], why: str) -> SpanExportResult:
        if not self._lost:
            log.warning("traces_not_exported", error=why)
        self._lost += len(spans)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
