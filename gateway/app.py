"""The application factory: puts blueprints, errors and limits together.

Owns: the order in which things are installed. Must not know: the environment, gunicorn, or how calls travel.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import (
    admin,
    carts,
    event_pages,
    health,
    inventory,
    live,
    metrics,
    orders,
    payments,
    products,
    psp,
    reservations,
)
from gateway.admin.desk import DeadLetterDesk, register_desk
from gateway.admin.finance.asking import FINANCE_SETTING
from gateway.auth.composition import Authentication, nobody
from gateway.auth.guard import install_guard
from gateway.auth.limits import install_limits
from gateway.auth.views import register_login
from gateway.dashboard import install_dashboard
from gateway.feed import Feed
from gateway.metrics import MeasuredServices, Metrics, install_metrics
from gateway.openapi import create_api
from gateway.placing import OrderPlacer, register_placer
from gateway.request_id import install_request_ids
from gateway.request_log import install_request_log
from gateway.security_headers import install_security_headers
from gateway.services import Services, register_services
from gateway.settings import HttpSettings
from gateway.traces import install_traces, traced


def create_app(
    settings: HttpSettings,
    services: Services,
    auth: Authentication | None = None,
    *,
    dead_letters: DeadLetterDesk | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Flask:
    """A Flask application that asks ``services`` for everything; starts nothing and connects to nothing.

    Without ``auth`` nobody can log in: what is not public is closed. Once ``is_stopping`` holds, streams end, so that
    their process can.
    """
    auth = auth or nobody()
    app = Flask("gateway", static_folder=None, template_folder="dashboard/templates")
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config[health.TIMEOUT_SETTING] = settings.health_timeout_s
    app.config[FINANCE_SETTING] = settings.has_finance_view
    install_request_log(app)
    figures = Metrics()
    install_metrics(app, figures)
    measured = traced(MeasuredServices(services, figures))
    register_services(app, measured)
    health.register_health(app)
    register_placer(app, OrderPlacer(measured, timeout_s=settings.place_timeout_s, on_batch=figures.batch))
    live.register_feed(app, Feed(measured, is_stopping=is_stopping, on_change=figures.streams_open))
    register_desk(app, dead_letters)
    install_security_headers(app)
    install_request_ids(app)
    install_traces(app)
    api = create_api(app)
    install_guard(app, auth.verifier)
    install_limits(app, settings.rate_limits)
    for noun in (orders, live, carts, payments, products, inventory, reservations, psp, health, metrics, *admin.NOUNS):
        api.register_blueprint(noun.blueprint)
    # Probes and load balancers look at the root: they should not change with the API's version.
    api.register_blueprint(health.blueprint, name="probes", url_prefix="/health")
    if auth.login is not None:
        register_login(app, api, auth.login)
    install_dashboard(app, auth, settings.dashboard)
    app.register_blueprint(event_pages.blueprint)
    if settings.trusted_proxies:
        _believe_proxies(app, settings.trusted_proxies)
    return app


def _believe_proxies(app: Flask, number: int) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=number, x_proto=number, x_host=0)  # type: ignore[method-assign]
