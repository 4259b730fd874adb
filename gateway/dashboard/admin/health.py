"""How every part is: services, their databases, the broker, the provider.

Owns: /admin/health. Must not know: what a service checks about itself.
"""

from __future__ import annotations

from flask import Response

from gateway.admin.health import system_health
from gateway.dashboard.pages import PageBlueprint, render
from gateway.dashboard.tables import csv_response, wants_csv
from shared.identity import Role

blueprint = PageBlueprint("admin_state", __name__, url_prefix="/admin/health")

_COLUMNS = ("service", "status", "code", "database", "broker")


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    health = system_health()
    if wants_csv():
        rows = [{"service": name, **report} for name, report in health["services"].items()]
        return csv_response("health", _COLUMNS, rows)
    return render("admin/health.html", health=health)


@blueprint.page("/live", Role.ADMIN)
def live() -> Response:
    return render("admin/_health.html", health=system_health())
