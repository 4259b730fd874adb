"""Figures of this gateway for Prometheus.

Owns: which figures there are, and GET /metrics. Must not know: what is counted, beyond its name.
Labels have few values: an endpoint's rule, never a path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from flask import Flask, Response, current_app, g, request

from gateway.openapi import ApiBlueprint
from gateway.services import OutcomeUnknown, Services
from shared.errors import OrderSagaError
from shared.identity import Identity

_EXTENSION = "ordersaga.metrics"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100)

blueprint = ApiBlueprint("metrics", __name__, description="For Prometheus")


class Metrics:
    """Safe from any thread. In a gunicorn worker the figures are written where every worker can read them."""

    def __init__(self) -> None:
        # Not with the module: see metrics_folder.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        mine: dict[str, Any] = {"registry": self._registry}
        place = ("endpoint", "method")
        self._requests = Counter("ordersaga_http_requests", "Requests answered", (*place, "status"), **mine)
        self._duration = Histogram(
            "ordersaga_http_request_seconds", "Until the answer begins", place, buckets=_SECONDS, **mine
        )
        now: dict[str, Any] = {**mine, "multiprocess_mode": "livesum"}
        self._in_progress = Gauge("ordersaga_http_requests_in_progress", "Requests under way", **now)
        self._streams = Gauge("ordersaga_streams_open", "Live streams of orders", **now)
        self._calls = Gauge("ordersaga_rpc_calls_in_progress", "Calls of services under way", **now)
        self._call_duration = Histogram(
            "ordersaga_rpc_call_seconds", "Calls of services", ("method", "outcome"), buckets=_SECONDS, **mine
        )
        self._batches = Histogram(
            "ordersaga_place_batch_orders", "Orders placed in one call", buckets=_BATCH_SIZES, **mine
        )

    def request_began(self) -> None:
        self._in_progress.inc()

    def request_ended(self) -> None:
        self._in_progress.dec()

    def answered(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(endpoint, method, str(status)).inc()
        self._duration.labels(endpoint, method).observe(seconds)

    def streams_open(self, change: int) -> None:
        self._streams.inc(change)

    def batch(self, orders: int) -> None:
        self._batches.observe(orders)

    @contextmanager
    def calling(self, method: str) -> Iterator[None]:
        """``method`` with its service's name."""
        began = time.perf_counter()
        outcome = "failed"
        self._calls.inc()
        try:
            yield
            outcome = "answered"
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        except OrderSagaError as error:
            outcome = error.code
            raise
        finally:
            self._calls.dec()
            self._call_duration.labels(method, outcome).observe(time.perf_counter() - began)

    def text(self) -> bytes:
        """Of all workers, in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        everybody = CollectorRegistry()
        try:
            MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        except ValueError:
            # No folder to share: this process is all there is.
            return generate_latest(self._registry)
        return generate_latest(everybody)


class MeasuredServices:
    """The same services, with each call counted."""

    def __init__(self, client: Services, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        with self._metrics.calling(f"{service}.{method}"):
            return self._client.call(service, method, timeout_s, caller=caller, **kwargs)


def install_metrics(app: Flask, metrics: Metrics) -> None:
    """Before anything else is installed: what others refuse is counted too."""
    app.extensions[_EXTENSION] = metrics
    app.before_request(_begin)
    app.after_request(_count)
    app.teardown_request(_end)


def _metrics() -> Metrics:
    return cast(Metrics, current_app.extensions[_EXTENSION])


def _begin() -> None:
    g.began = time.perf_counter()
    _metrics().request_began()


def _count(response: Response) -> Response:
    endpoint = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    _metrics().answered(endpoint, method, response.status_code, time.perf_counter() - g.began)
    return response


def _end(_error: BaseException | None) -> None:
    if "began" in g:
        _metrics().request_ended()


@blueprint.route("/metrics", methods=["GET"])
@blueprint.public
@blueprint.response(200, {"type": "string"}, content_type="text/plain", description="Prometheus' text format")
def metrics() -> Response:
    """Figures of this gateway, of all its workers together"""
    from prometheus_client import CONTENT_TYPE_LATEST

    return Response(_metrics().text(), content_type=CONTENT_TYPE_LATEST)
