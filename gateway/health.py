"""Health over HTTP: is this process alive, and can it serve?

Owns: the endpoints under /health. Must not know: what a service checks about itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, cast

from flask import Flask, Response, current_app

from gateway.at_once import ask_at_once
from gateway.documents import Liveness, Readiness
from gateway.openapi import ApiBlueprint
from gateway.request_errors import NotReady
from gateway.responses import json_response
from gateway.services import ALL_SERVICES, Services, trusted_services
from shared.errors import OrderSagaError

TIMEOUT_SETTING = "ORDERSAGA_HEALTH_TIMEOUT_S"
REMEMBERED_S = 1.0
_EXTENSION = "ordersaga.health"

blueprint = ApiBlueprint("health", __name__, url_prefix="/api/v1/health", description="For probes")


@blueprint.route("/live", methods=["GET"])
@blueprint.public
@blueprint.response(200, Liveness)
def live() -> Response:
    """Alive: this process answers, whatever it depends on"""
    return json_response({"status": "alive"})


@blueprint.route("/ready", methods=["GET"])
@blueprint.public
@blueprint.response(200, Readiness)
@blueprint.documented(problems=(503,))
def ready() -> Response:
    """Ready: every service answers and reaches its database"""
    reports = _remembered().ask(trusted_services(), current_app.config[TIMEOUT_SETTING])
    if not all(report["status"] == "up" for report in reports.values()):
        down = [name for name, report in reports.items() if report["status"] != "up"]
        raise NotReady(f"Not ready: {', '.join(down)}", {"services": reports})
    return json_response({"status": "ready", "services": reports, **chaos_in(reports)})


class _Remembered:
    """What the services said a moment ago: anybody may ask, and many at once must not cost many questions."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._reports: dict[str, dict[str, Any]] = {}
        self._asked_s = float("-inf")

    def ask(self, client: Services, timeout_s: float) -> dict[str, dict[str, Any]]:
        """Not older than REMEMBERED_S, or what was known before while somebody else is asking."""
        if self._is_fresh() or not self._asking.acquire(blocking=not self._reports):
            return self._reports
        try:
            if not self._is_fresh():
                self._reports = ask_all(client, timeout_s)
                self._asked_s = time.monotonic()
            return self._reports
        finally:
            self._asking.release()

    def known(self) -> dict[str, dict[str, Any]]:
        return self._reports

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked_s < REMEMBERED_S


def register_health(app: Flask) -> None:
    app.extensions[_EXTENSION] = _Remembered()


def _remembered() -> _Remembered:
    return cast(_Remembered, current_app.extensions[_EXTENSION])


def known_chaos() -> list[dict[str, Any]]:
    """The trouble made on purpose as it was known last; nobody is asked."""
    marks: list[dict[str, Any]] = chaos_in(_remembered().known()).get("chaos", [])
    return marks


def chaos_of_late() -> list[dict[str, Any]]:
    """The same, not older than REMEMBERED_S."""
    _remembered().ask(trusted_services(), current_app.config[TIMEOUT_SETTING])
    return known_chaos()


def ask_all(client: Services, timeout_s: float) -> dict[str, dict[str, Any]]:
    """How each service says it is, asked at the same time; ``status`` is up or down."""
    return ask_at_once(ALL_SERVICES, lambda name: _ask(client, name, timeout_s))


def _ask(client: Services, name: str, timeout_s: float) -> dict[str, Any]:
    try:
        report = client.call(name, "health", timeout_s=timeout_s)
    except OrderSagaError as error:
        return {"status": "down", "code": error.code}
    if not isinstance(report, dict):
        return {"status": "down", "code": "internal_error"}
    parts = {part: report.get(part) for part in ("database", "broker")}
    # A provider out of reach is worth seeing, but the services go on without it: payments wait.
    further = {part: report[part] for part in ("pspCircuit", "chaos") if part in report}
    return {"status": "up" if set(parts.values()) == {"up"} else "down", **parts, **further}


def chaos_in(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The trouble made on purpose, of all services; said only while there is any."""
    marks = [mark for report in reports.values() for mark in report.get("chaos", ())]
    return {"chaos": marks} if marks else {}
