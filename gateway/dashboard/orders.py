"""Orders as their parties see them: a list with filters.

Owns: /orders. Must not know: whose order is whose; the order service shows everybody their own.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.access import EVERY_ROLE
from gateway.dashboard.pages import PageBlueprint, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from gateway.services import ORDER_SERVICE, services

blueprint = PageBlueprint("my_orders", __name__)

_FILTERS = ("status", "item", "text", "since", "until")
_STATUSES = ("PENDING", "RESERVED", "CONFIRMED", "FULFILLED", "CANCELLED")
_AT_ONCE = 25
_COLUMNS = ("id", "createdAt", "status", "price", "currency", "userId", "sellerId", "reason")


@blueprint.page("/orders", *EVERY_ROLE)
def list_orders() -> Response:
    wanted: dict[str, Any] = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    if wants_csv():
        return csv_of_all("orders", _COLUMNS, lambda cursor: _rows_and_next(wanted, cursor))
    page = _page(wanted, request.args.get("cursor"), _AT_ONCE)
    cursor = page["nextCursor"]
    return render(
        "orders.html",
        orders=page["orders"],
        wanted=wanted,
        statuses=_STATUSES,
        more=url_for(".list_orders", **wanted, cursor=cursor) if cursor else None,
        csv=url_for(".list_orders", **wanted, format="csv"),
    )


def _page(wanted: dict[str, Any], cursor: str | None, limit: int) -> Any:
    return services().call(ORDER_SERVICE, "list_orders", limit=limit, cursor=cursor, **wanted)


def _rows_and_next(wanted: dict[str, Any], cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    page = _page(wanted, cursor, 100)
    return page["orders"], page["nextCursor"]
