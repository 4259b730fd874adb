"""What every page has in common: who may see it, its headers, and errors as a page instead of a problem document.

Owns: the blueprint's kind, forms' protection, how an action ends. Must not know: any single page.

An action is a form that is posted. It ends with a redirect and a message, whether it went well (:func:`done`) or a
service refused it, so that a reload repeats nothing. Each form bears an idempotency key, so that a double click does
not either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, NotFound

from gateway import access
from gateway.errors import on_http_error
from gateway.problems import STATUS_BY_CODE
from gateway.request_errors import LoginRequired
from gateway.request_id import request_id
from shared.errors import OrderSagaError
from shared.identity import Role
from shared.logs import get_logger

log = get_logger(__name__)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{also}; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    # Where an action was asked for is where its refusal is shown; other hosts learn nothing.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
_NO_PAGES = ("/api/", "/health", "/metrics", "/static/")
_GENERIC = "Something went wrong on our side; it is logged."

Result = str | Response


class PageBlueprint(Blueprint):
    """A blueprint of pages: each says which roles may see it, or that everybody may."""

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self.before_request(_check_form)
        self.after_request(_add_headers)
        self.register_error_handler(LoginRequired, _to_login)
        self.register_error_handler(CSRFError, _on_forged_form)
        self.register_error_handler(OrderSagaError, _on_known_error)
        self.register_error_handler(HTTPException, _on_http_error)
        self.register_error_handler(Exception, _on_bug)

    def page(self, rule: str, *roles: Role) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """A page to look at; ``roles``: who may."""
        return self._declare(rule, "GET", access.page(*roles))

    def action(self, rule: str, *roles: Role) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """A form's target."""
        return self._declare(rule, "POST", access.page(*roles))

    def public_page(self, rule: str, method: str = "GET") -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        return self._declare(rule, method, access.public)

    def _declare(
        self, rule: str, method: str, declare: Callable[[Callable[..., Result]], Callable[..., Result]]
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        def register(view: Callable[..., Result]) -> Callable[..., Result]:
            self.add_url_rule(rule, view_func=declare(view), methods=[method])
            return view

        return register


def install_lost_page(app: Flask) -> None:
    """Whoever looks for a page where there is none sees one all the same; programs get a problem document."""
    app.register_error_handler(NotFound, _on_lost)


def render(template: str, http_status: int = 200, /, **values: Any) -> Response:
    """A page. Its forms find a fresh ``idempotency_key`` among the values."""
    return make_response(render_template(template, idempotency_key=str(uuid4()), **values), http_status)


def posted_key() -> str:
    """The idempotency key of the form that was posted."""
    return request.form.get("idempotency_key") or str(uuid4())


def done(message: str, to: str) -> Response:
    """An action's good end."""
    flash(message, "success")
    return _see(to)


def refused(message: str, to: str) -> Response:
    """An action's other end."""
    flash(message, "danger")
    return _see(to)


def may_talk_to(origin: str) -> None:
    """This page's scripts may ask ``origin`` too (scheme, host and port)."""
    request.environ["ordersaga.also"] = f" {origin}"


def is_htmx() -> bool:
    return request.headers.get("HX-Request") == "true"


def _see(to: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": to})
    response: Any = redirect(to, 303)
    return make_response(response)


def _check_form() -> None:
    if request.method in _UNSAFE:
        current_app.extensions["csrf"].protect()


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    also = request.environ.get("ordersaga.also", "")
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY.format(also=also))
    return response


def _to_login(_error: LoginRequired) -> Response:
    wanted = request.full_path.rstrip("?") if request.method == "GET" and not is_htmx() else None
    return _see(url_for("login.show", next=wanted))


def _on_forged_form(_error: CSRFError) -> Response:
    log.warning("form_without_its_token", endpoint=request.endpoint)
    return _failed("The form was too old, or not ours", "Nothing was done. Load the page again and repeat it.", 400)


def _on_known_error(error: OrderSagaError) -> Response:
    status, title = STATUS_BY_CODE.get(error.code, STATUS_BY_CODE["internal_error"])
    if status >= 500:
        log.warning("page_met_trouble", code=error.code, error=error.message[:300])
    detail = _GENERIC if status == 500 else error.message
    return _failed(title, detail, int(status))


def _on_http_error(error: HTTPException) -> Response:
    return _failed(error.name, error.description or "", error.code or 500)


def _on_lost(error: NotFound) -> Response:
    wanted = request.accept_mimetypes.best_match(("application/json", "text/html"))
    if wanted != "text/html" or request.path.startswith(_NO_PAGES):
        return on_http_error(error)
    return _add_headers(_failed("There is no such page", "It may have moved, or the address is mistyped.", 404))


def _on_bug(error: Exception) -> Response:
    log.error("page_broke", exc_info=error, endpoint=request.endpoint)
    return _failed("Internal error", _GENERIC, 500)


def _failed(title: str, detail: str, status: int) -> Response:
    """An action that was refused is said where it was asked for; anything else is a page of its own."""
    back = _came_from() if request.method == "POST" else None
    if back is not None:
        return refused(f"{title}: {detail}" if detail else title, back)
    return render("error.html", status, title=title, detail=detail, status=status, request_id=request_id())


def _came_from() -> str | None:
    """The page with the form, if it is one of ours: never an address that somebody else wrote."""
    parts = urlsplit(request.referrer or "")
    if parts.netloc != request.host or parts.scheme not in ("http", "https") or parts.path == request.path:
        return None
    return parts.path + (f"?{parts.query}" if parts.query else "")
