"""Logging in and out of the dashboard.

Owns: /login and /logout. Must not know: how a password or a token is checked, or what the session's cookie holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request, url_for

from gateway.access import EVERY_ROLE
from gateway.auth import sessions
from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_PASSWORDS
from gateway.auth.composition import Authentication
from gateway.dashboard.pages import PageBlueprint, done, render
from gateway.dashboard.settings import DashboardSettings
from gateway.request_errors import InvalidCredentials, Unauthenticated
from shared.errors import OrderSagaError
from shared.identity import Identity

blueprint = PageBlueprint("login", __name__)

_EXTENSION = "ordersaga.dashboard_login"
_LONGEST_ADDRESS = 500
_WRONG = (InvalidCredentials, Unauthenticated)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    auth: Authentication
    settings: DashboardSettings


def install_login(app: Flask, auth: Authentication, settings: DashboardSettings) -> None:
    app.extensions[_EXTENSION] = _Parts(auth=auth, settings=settings)


@blueprint.public_page("/login")
def show() -> Response:
    return _form(200)


@blueprint.public_page("/login", "POST")
def log_in() -> Response:
    try:
        identity = _proven()
    except OrderSagaError as error:
        return _form(401 if isinstance(error, _WRONG) else 503, error.message)
    sessions.begin(identity)
    return done(f"Welcome, {identity.subject}", _inside(request.form.get("next")) or url_for("home.home"))


@blueprint.action("/logout", *EVERY_ROLE)
def log_out() -> Response:
    sessions.end()
    return done("You have logged out", url_for("login.show"))


def _parts() -> _Parts:
    return cast(_Parts, current_app.extensions[_EXTENSION])


def _proven() -> Identity:
    """With a password where we log people in, with a token of the issuer who does elsewhere."""
    auth, form = _parts().auth, request.form
    if auth.login is None:
        return auth.verifier.identity_of(form.get("token", "").strip())
    return auth.login.identity_of(form.get("username", ""), form.get("password", ""))


def _form(status: int, error: str = "") -> Response:
    parts = _parts()
    accounts = DEVELOPMENT_ACCOUNTS if parts.settings.shows_accounts and parts.auth.login else ()
    return render(
        "login.html",
        status,
        error=error,
        has_own_login=parts.auth.login is not None,
        accounts=[
            {"name": account.name, "password": DEVELOPMENT_PASSWORDS[account.identity.subject]} for account in accounts
        ],
        username=request.form.get("username", ""),
        next=_inside(request.values.get("next")) or "",
    )


def _inside(address: str | None) -> str | None:
    """A path of ours, or None: a link to our login must not lead to somebody else's."""
    if not address or len(address) > _LONGEST_ADDRESS or not address.startswith("/") or "\\" in address:
        return None
    parts = urlsplit(address)
    is_ours = not parts.scheme and not parts.netloc and not address.startswith("//")
    return address if is_ours and address.isprintable() else None
