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
    """``endpoint`` is the page that it leads to. ``group``: under which word it is folded away; empty: it is not."""

    title: str
    endpoint: str
    role: Role
    group: str = ""


_MORE = "More"
ENTRIES = (
    Entry(title="Shop", endpoint="shop.show", role=Role.USER),
    Entry(title="Cart", endpoint="cart.show", role=Role.USER),
    Entry(title="My orders", endpoint="my_orders.list_orders", role=Role.USER),
    Entry(title="Overview", endpoint="admin_overview.show", role=Role.ADMIN),
    Entry(title="Sagas", endpoint="saga_board.board", role=Role.ADMIN),
    Entry(title="All orders", endpoint="my_orders.list_orders", role=Role.ADMIN),
    Entry(title="Dead letters", endpoint="admin_letters.list_groups", role=Role.ADMIN),
    Entry(title="Redrives", endpoint="admin_runs.list_runs", role=Role.ADMIN, group=_MORE),
    Entry(title="Compare the books", endpoint="admin_books.show", role=Role.ADMIN, group=_MORE),
    Entry(title="Finance", endpoint="admin_money.show", role=Role.ADMIN, group=_MORE),
    Entry(title="Chaos", endpoint="admin_trouble.show", role=Role.ADMIN, group=_MORE),
    Entry(title="Audit log", endpoint="admin_log.list_entries", role=Role.ADMIN, group=_MORE),
    Entry(title="Health", endpoint="admin_state.show", role=Role.ADMIN, group=_MORE),
    Entry(title="All products", endpoint="seller_products.list_products", role=Role.ADMIN, group=_MORE),
    Entry(title="All reservations", endpoint="seller_orders.reservations", role=Role.ADMIN, group=_MORE),
)


def install_navigation(app: Flask) -> None:
    app.context_processor(_values)


def _values() -> dict[str, Any]:
    viewer = identity_if_any()
    shown = [entry for entry in ENTRIES if viewer is not None and entry.role in viewer.roles]
    return {
        "viewer": viewer,
        "navigation": [
            {
                "title": entry.title,
                "url": url_for(entry.endpoint),
                "is_here": request.endpoint == entry.endpoint,
                "group": entry.group,
            }
            for entry in shown
        ],
        "files": f"/static/{FILES.version}",
    }
