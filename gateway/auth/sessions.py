"""Who is logged in to the dashboard, kept in a signed cookie for a working day.

Owns: the cookie's name, flags, content and lifetime. Must not know: passwords, pages.

Like a token, a session cannot be taken back before it ends; logging out makes the browser forget it.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, session

from gateway.request_errors import LoginRequired
from shared.errors import InvalidRequest
from shared.identity import Identity, read_identity

COOKIE = "ordersaga_session"
LIFETIME = timedelta(hours=8)
_IDENTITY = "identity"


def install_sessions(app: Flask, secret: bytes, *, is_secure: bool) -> None:
    """``is_secure``: the cookie goes over HTTPS only."""
    app.secret_key = secret
    app.config.update(
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=is_secure,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def begin(identity: Identity) -> None:
    """Whatever the cookie held before is gone: nobody can hand a session of theirs to somebody else."""
    session.clear()
    session.permanent = True
    session[_IDENTITY] = identity.header()


def end() -> None:
    session.clear()


def identity() -> Identity:
    """Raises LoginRequired."""
    found = identity_if_any()
    if found is None:
        raise LoginRequired("Log in first")
    return found


def identity_if_any() -> Identity | None:
    said = session.get(_IDENTITY)
    if said is None:
        return None
    try:
        return read_identity(said)
    except InvalidRequest:
        # Signed by us, but by another release.
        return None
