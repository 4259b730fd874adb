"""How every part is: services, their databases, the broker, the provider.

Owns: /admin/health. Must not know: what a service checks about itself.
"""

from __future__ import annotations

from flask import Response

from gateway.admin.health import system_health
from gateway.dashboard.pages import PageBlueprint, render
from shared.identity import Role

blueprint = PageBlueprint("admin_state", __name__, url_prefix="/admin/health")


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    return render("admin/health.html", health=system_health())


@blueprint.page("/live", Role.ADMIN)
def live() -> Response:
    return render("admin/_health.html", health=system_health())
