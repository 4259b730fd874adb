"""Which way leads where, for whom; and who is looking.

Owns: the navigation's entries by role. Must not know: what is on a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask, request, url_for

from gateway.auth.sessions import identity_if_any
from gateway.dashboard.files import FILES
from shared.identity import Role


@dataclass(frozen=True, kw_only=True)
class Entry:
    """``endpoint`` is the page that it leads to."""

    title: str
    endpoint: str
    role: Role


ENTRIES = (
    Entry(title="Shop", endpoint="shop.show", role=Role.USER),
    Entry(title="Cart", endpoint="cart.show", role=Role.USER),
    Entry(title="My orders", endpoint="my_orders.list_orders", role=Role.USER),
)


def install_navigation(app: Flask) -> None:
    app.context_processor(_values)


def _values() -> dict[str, Any]:
    viewer = identity_if_any()
    shown = [entry for entry in ENTRIES if viewer is not None and entry.role in viewer.roles]
    return {
        "viewer": viewer,
        "navigation": [
            {"title": entry.title, "url": url_for(entry.endpoint), "is_here": request.endpoint == entry.endpoint}
            for entry in shown
        ],
        "files": f"/static/{FILES.version}",
    }
