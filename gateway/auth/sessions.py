"""Who is logged in to the dashboard, kept in a signed cookie for a working day.

Owns: the cookie's name, flags, content and lifetime. Must not know: passwords, pages.

A session is also over once its account has other roles or another password, or is gone. There is no list of sessions:
logging out makes the browser forget its own, and a copy of the cookie stays good until one of these ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hmac import compare_digest
from typing import cast

from flask import Flask, current_app, session

from gateway.request_errors import LoginRequired
from shared.errors import InvalidRequest
from shared.identity import Identity, read_identity

COOKIE = "ordersaga_session"
LIFETIME = timedelta(hours=8)
_IDENTITY, _MARK = "identity", "mark"
_EXTENSION = "ordersaga.session_marks"

MarkOf = Callable[[str], str | None]


def install_sessions(app: Flask, secret: bytes, mark_of: MarkOf, *, is_secure: bool) -> None:
    """``mark_of``: see Authentication. ``is_secure``: the cookie goes over HTTPS only."""
    app.secret_key = secret
    app.extensions[_EXTENSION] = mark_of
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
    session[_MARK] = _mark_of(identity)


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
        found = read_identity(said)
    except InvalidRequest:
        # Signed by us, but by another release.
        return None
    return found if _still_holds(found) else None


def _still_holds(identity: Identity) -> bool:
    mark = _mark_of(identity)
    return mark is not None and compare_digest(mark, str(session.get(_MARK)))


def _mark_of(identity: Identity) -> str | None:
    return cast(MarkOf, current_app.extensions[_EXTENSION])(identity.subject)
