"""The application factory: puts blueprints, errors and limits together.

Owns: the order in which things are installed. Must not know: the environment, gunicorn, or how calls travel.
"""

from __future__ import annotations

from flask import Flask

from gateway import admin, health, inventory, orders, payments, products, psp, reservations
from gateway.admin.desk import DeadLetterDesk, register_desk
from gateway.openapi import create_api
from gateway.request_id import install_request_ids
from gateway.services import Services, register_services
from gateway.settings import HttpSettings


def create_app(settings: HttpSettings, services: Services, *, dead_letters: DeadLetterDesk | None = None) -> Flask:
    """A Flask application that asks ``services`` for everything; starts nothing and connects to nothing."""
    app = Flask("gateway", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config[health.TIMEOUT_SETTING] = settings.health_timeout_s
    register_services(app, services)
    register_desk(app, dead_letters)
    install_request_ids(app)
    api = create_api(app)
    for noun in (orders, payments, products, inventory, reservations, psp, health, *admin.NOUNS):
        api.register_blueprint(noun.blueprint)
    # Probes and load balancers look at the root: they should not change with the API's version.
    api.register_blueprint(health.blueprint, name="probes", url_prefix="/health")
    return app
