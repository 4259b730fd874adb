"""Before each request: who sends it, and may they use this endpoint at all?

Owns: the Authorization header, 401 and 403. Must not know: keys or claims, or whose things somebody may see.
"""

from __future__ import annotations

import re

from flask import Flask, Response, current_app, request

from gateway.access import ANYBODY, access_of, is_page, set_caller
from gateway.auth import sessions
from gateway.auth.verifier import Verifier
from gateway.problems import problem
from gateway.request_errors import InvalidCredentials, IssuerUnavailable, Unauthenticated
from gateway.request_id import request_id
from shared.errors import Forbidden
from shared.identity import Identity, Role
from shared.logs import get_logger

log = get_logger(__name__)

_BEARER = re.compile(r"bearer +([^\s,]+)", re.IGNORECASE | re.ASCII)
_CHALLENGE = 'Bearer realm="ordersaga"'


def install_guard(app: Flask, verifier: Verifier) -> None:
    def guard() -> None:
        # Without a rule there is nothing to guard: Flask answers 404 or 405.
        if request.url_rule is None or _is_asking_for_methods():
            return
        view = current_app.view_functions[request.url_rule.endpoint]
        allowed = access_of(view)
        if allowed is None:
            log.error("view_without_declaration", endpoint=request.endpoint)
            raise Forbidden("This endpoint is closed")
        if allowed == ANYBODY:
            _recognise(verifier)
        else:
            _require(sessions.identity() if is_page(view) else _identify(verifier), allowed)

    app.before_request(guard)
    app.register_error_handler(Unauthenticated, _on_unauthenticated)
    app.register_error_handler(InvalidCredentials, _on_unauthenticated)


def _is_asking_for_methods() -> bool:
    """Flask answers OPTIONS by itself, with the methods alone."""
    return request.method == "OPTIONS" and bool(getattr(request.url_rule, "provide_automatic_options", False))


def _identify(verifier: Verifier) -> Identity:
    """Raises Unauthenticated or IssuerUnavailable."""
    header = request.headers.get("Authorization", "")
    if not header:
        raise Unauthenticated("Send a token: Authorization: Bearer …")
    # Two headers arrive as one with a comma, which no token contains.
    sent = _BEARER.fullmatch(header)
    if sent is None:
        raise Unauthenticated("The Authorization header is not: Bearer and one token")
    return verifier.identity_of(sent[1])


def _recognise(verifier: Verifier) -> None:
    """On a public endpoint a good token says who asks, and a bad one nothing."""
    if "Authorization" not in request.headers:
        return
    try:
        set_caller(_identify(verifier))
    except (Unauthenticated, IssuerUnavailable):
        log.debug("token_ignored")


def _require(identity: Identity, allowed: frozenset[Role]) -> None:
    set_caller(identity)
    if not identity.has(*allowed):
        roles = sorted(allowed)
        raise Forbidden(f"This needs the role {' or '.join(roles)}", {"roles": roles})


def _on_unauthenticated(error: Unauthenticated | InvalidCredentials) -> Response:
    challenge = _CHALLENGE
    if isinstance(error, Unauthenticated) and request.headers.get("Authorization"):
        description = error.message.encode("ascii", "replace").decode()
        challenge += f', error="invalid_token", error_description="{description}"'
    return problem(error.code, detail=error.message, request_id=request_id(), headers={"WWW-Authenticate": challenge})
