"""Health over HTTP: is this process alive, and can it serve?

Owns: the endpoints under /health. Must not know: what a service checks about itself.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Response, current_app

from gateway.documents import Liveness, Readiness
from gateway.openapi import ApiBlueprint
from gateway.request_errors import NotReady
from gateway.responses import json_response
from gateway.services import ALL_SERVICES, Services, trusted_services
from shared.errors import OrderSagaError

TIMEOUT_SETTING = "ORDERSAGA_HEALTH_TIMEOUT_S"

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
    reports = ask_all(trusted_services(), current_app.config[TIMEOUT_SETTING])
    if not all(report["status"] == "up" for report in reports.values()):
        down = [name for name, report in reports.items() if report["status"] != "up"]
        raise NotReady(f"Not ready: {', '.join(down)}", {"services": reports})
    return json_response({"status": "ready", "services": reports})


def ask_all(client: Services, timeout_s: float) -> dict[str, dict[str, Any]]:
    """How each service says it is, asked at the same time; ``status`` is up or down."""
    with ThreadPoolExecutor(max_workers=len(ALL_SERVICES)) as pool:
        reports = pool.map(lambda name: _ask(client, name, timeout_s), ALL_SERVICES)
        return dict(zip(ALL_SERVICES, reports, strict=True))


def _ask(client: Services, name: str, timeout_s: float) -> dict[str, Any]:
    try:
        report = client.call(name, "health", timeout_s=timeout_s)
    except OrderSagaError as error:
        return {"status": "down", "code": error.code}
    if not isinstance(report, dict):
        return {"status": "down", "code": "internal_error"}
    parts = {part: report.get(part) for part in ("database", "broker")}
    # A provider out of reach is worth seeing, but the services go on without it: payments wait.
    circuit = {"pspCircuit": report["pspCircuit"]} if "pspCircuit" in report else {}
    return {"status": "up" if set(parts.values()) == {"up"} else "down", **parts, **circuit}
