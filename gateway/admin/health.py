"""How everything is, in detail, for people: whatever is down is said, never answered with an error.

Owns: GET /admin/health. Must not know: what a service checks about itself. Probes use /health/ready.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Response, current_app

from gateway.admin.desk import DeadLetterDesk, desk_if_any
from gateway.admin.documents import SystemHealth
from gateway.health import TIMEOUT_SETTING, ask_all, chaos_in
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from gateway.services import PAYMENT_SERVICE, trusted_services
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_health", __name__, url_prefix="/api/v1/admin/health", description="Operators: health in detail"
)


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, SystemHealth)
def look() -> Response:
    """Health of services, broker, payment provider and this gateway

    200 whatever is down; for probes there is /health/ready.
    """
    return json_response(system_health())


def system_health() -> dict[str, Any]:
    """Of every part; raises nothing."""
    desk = desk_if_any()
    with ThreadPoolExecutor(max_workers=1) as pool:
        broker = pool.submit(_broker_status, desk)
        services = ask_all(trusted_services(), current_app.config[TIMEOUT_SETTING])
        broker_status = broker.result()
    parts = [broker_status, *(report["status"] for report in services.values())]
    return {
        "status": "down" if "down" in parts else "up",
        "gateway": {"status": "up", "process": os.getpid()},
        "broker": {"status": broker_status},
        "services": services,
        "provider": {"circuit": services[PAYMENT_SERVICE].get("pspCircuit")},
        **chaos_in(services),
    }


def _broker_status(desk: DeadLetterDesk | None) -> str:
    if desk is None:
        return "unknown"
    return "up" if desk.is_reachable() else "down"
