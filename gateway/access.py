"""Who may use which endpoint: said beside each view, read before each request.

Owns: the decorators, and who the current request comes from. Must not know: how somebody proves who they are (auth/),
or whose things they may see (the services decide that again).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import g

from shared.identity import ANONYMOUS, Identity, Role

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE = "ordersaga_access"
_PAGE = "ordersaga_page"

ANYBODY: frozenset[Role] = frozenset()
EVERY_ROLE = (Role.USER, Role.SELLER, Role.ADMIN)


def public(view: View) -> View:
    """Nobody has to log in for this view."""
    setattr(view, _ATTRIBUTE, ANYBODY)
    return view


def allow(*roles: Role) -> Callable[[View], View]:
    """Only for callers with at least one of ``roles``."""

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, frozenset(roles))
        return view

    return declare


def page(*roles: Role) -> Callable[[View], View]:
    """The same for a page of the dashboard: its callers have a session, and no token."""

    def declare(view: View) -> View:
        setattr(view, _PAGE, True)
        return allow(*roles)(view)

    return declare


def is_page(view: object) -> bool:
    return getattr(view, _PAGE, False)


def access_of(view: object) -> frozenset[Role] | None:
    """The roles that may use ``view``; ANYBODY for public ones; None where nothing was said: closed to everybody."""
    roles: frozenset[Role] | None = getattr(view, _ATTRIBUTE, None)
    return roles


def caller() -> Identity:
    """Who the current request comes from; ANONYMOUS on public endpoints without a token."""
    identity: Identity = g.get("caller", ANONYMOUS)
    return identity


def set_caller(identity: Identity) -> None:
    g.caller = identity
