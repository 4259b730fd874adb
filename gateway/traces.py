"""The gateway's part of a trace: a span for each request, and one for each call of a service.

Owns: what a request is called in traces. Must not know: OpenTelemetry, or where spans go.
Nothing of this is installed in a gateway that does not trace.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, request

from gateway.request_id import request_id
from gateway.request_log import is_worth_a_line
from gateway.services import Services
from shared import tracing
from shared.identity import Identity


def traced(services: Services) -> Services:
    """The same services, with each call in the trace of the request that makes it."""
    return TracedServices(services) if tracing.is_on() else services


class TracedServices:
    """A span for each call, and the transport finds its name where it looks for it."""

    def __init__(self, client: Services) -> None:
        self._client = client

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        with tracing.asking(f"{service}.{method}"):
            return self._client.call(service, method, timeout_s, caller=caller, **kwargs)


def install_traces(app: Flask) -> None:
    """After the request's id is known: a trace that nobody began before bears its name."""
    if tracing.is_on():
        app.before_request(_begin)
        app.after_request(_answered)
        app.teardown_request(_end)


def _begin() -> None:
    if not is_worth_a_line(request.path):
        return
    route = request.url_rule.rule if request.url_rule else None
    attributes = {"http.request.method": request.method, "url.path": request.path[:200]}
    if route:
        attributes["http.route"] = route
    name = f"{request.method} {route}" if route else request.method
    header = request.headers.get(tracing.HEADER)
    g.trace = tracing.serving(name, header, request_id(), attributes)


def _answered(response: Response) -> Response:
    if g.get("trace") is not None:
        g.trace.set(http__response__status_code=response.status_code)
    return response


def _end(error: BaseException | None) -> None:
    if (work := g.pop("trace", None)) is not None:
        work.end(error)
        tracing.leave(is_done=False)
