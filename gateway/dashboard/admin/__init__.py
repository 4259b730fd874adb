"""The operators' pages.

Owns: which there are, and what all of them show while trouble is made on purpose. Must not know: how anything is
decided; they call what the endpoints under /api/v1/admin call.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from gateway.auth.sessions import identity_if_any
from gateway.dashboard.admin import audit, chaos, dead_letters, finance, health, overview, reconcile, redrives, sagas
from gateway.dashboard.charts import sparkline
from gateway.dashboard.settings import DashboardSettings
from gateway.health import known_chaos
from shared.identity import Role

PAGES = (overview, sagas, dead_letters, redrives, reconcile, finance, chaos, audit, health)


def install_admin(app: Flask, settings: DashboardSettings) -> None:
    app.jinja_env.globals.update(sparkline=sparkline, management_url=settings.management_url)
    app.context_processor(_values)


def _values() -> dict[str, Any]:
    viewer = identity_if_any()
    is_operator = viewer is not None and Role.ADMIN in viewer.roles
    # Nobody is asked for it here: a page waits for nothing that it does not show.
    return {"is_operator": is_operator, "chaos_marks": known_chaos() if is_operator else []}
