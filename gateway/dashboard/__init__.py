"""The dashboard: pages for customers, sellers and operators, made on the server, live through htmx and SSE.

Owns: which pages there are. Must not know: how services decide; pages ask them as the API's endpoints do.
"""

from __future__ import annotations

from flask import Flask
from flask_wtf.csrf import CSRFProtect

from gateway.auth.composition import Authentication
from gateway.auth.sessions import install_sessions
from gateway.dashboard import (
    admin,
    card_form,
    cart,
    checkout,
    files,
    formats,
    home,
    login,
    navigation,
    order_page,
    orders,
    pages,
    paying,
    seller_orders,
    seller_products,
    shop,
)
from gateway.dashboard.settings import DashboardSettings

PAGES = (home, shop, cart, checkout, orders, order_page, paying, seller_products, seller_orders, *admin.PAGES)
"""Modules with a ``blueprint`` each."""


def install_dashboard(app: Flask, auth: Authentication, settings: DashboardSettings) -> None:
    """After the guard: pages are declared to it like endpoints."""
    install_sessions(app, auth.session_secret, auth.mark_of, is_secure=settings.is_secure)
    # Only pages are checked (see pages): the API's callers send a token, which no browser adds by itself.
    app.config.update(WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_TIME_LIMIT=None)
    CSRFProtect(app)
    formats.install_formats(app)
    navigation.install_navigation(app)
    admin.install_admin(app, settings)
    login.install_login(app, auth, settings)
    card_form.install_card_form(app, settings)
    pages.install_lost_page(app)
    for module in (files, login, *PAGES):
        app.register_blueprint(module.blueprint)
