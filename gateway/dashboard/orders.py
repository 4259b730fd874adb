"""Orders as their parties see them: a list with filters.

Owns: /orders. Must not know: whose order is whose; the order service shows everybody their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from flask import Response, request, url_for

from gateway.access import EVERY_ROLE
from gateway.dashboard.forms import read
from gateway.dashboard.pages import PageBlueprint, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from gateway.schemas import ORDER_STATUSES, OrderQuery
from gateway.services import ORDER_SERVICE, services
from shared.errors import InvalidRequest

blueprint = PageBlueprint("my_orders", __name__)

_FILTERS = {
    "status": "status",
    "item": "item",
    "text": "text",
    "userId": "user_id",
    "sellerId": "seller_id",
    "since": "since",
    "until": "until",
}
_AT_ONCE = 25
_COLUMNS = ("id", "createdAt", "status", "price", "currency", "userId", "sellerId", "reason")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NOTHING = {"orders": (), "nextCursor": None}


@blueprint.page("/orders", *EVERY_ROLE)
def list_orders() -> Response:
    typed: dict[str, Any] = {
        name: request.args[name].strip() for name in _FILTERS if request.args.get(name, "").strip()
    }
    wanted, wrong = read(OrderQuery(), {**_whole_days(typed), "cursor": request.args.get("cursor", "")})
    if wants_csv():
        if wrong:
            raise InvalidRequest("A filter is not valid", {"errors": wrong})
        return csv_of_all("orders", _COLUMNS, lambda cursor: _rows_and_next(wanted, cursor))
    page = _NOTHING if wrong else _page(wanted, wanted.get("cursor"), _AT_ONCE)
    cursor = page["nextCursor"]
    return render(
        "orders.html",
        422 if wrong else 200,
        orders=page["orders"],
        wanted=typed,
        wrong=wrong,
        statuses=ORDER_STATUSES,
        more=url_for(".list_orders", **typed, cursor=cursor) if cursor else None,
        csv=url_for(".list_orders", **typed, format="csv"),
    )


def _whole_days(typed: Mapping[str, str]) -> dict[str, str]:
    """Days mean all of them, in UTC; a time is left as it is."""
    return {name: _begin_of(text, later=name == "until") for name, text in typed.items()}


def _begin_of(text: str, *, later: bool) -> str:
    if not _DAY.fullmatch(text):
        return text
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
    except (ValueError, OverflowError):
        return text
    return f"{day.isoformat()}T00:00:00Z"


def _page(wanted: Mapping[str, Any], cursor: str | None, limit: int) -> Any:
    filters = {argument: wanted[name] for name, argument in _FILTERS.items() if name in wanted}
    return services().call(ORDER_SERVICE, "list_orders", limit=limit, cursor=cursor, **filters)


def _rows_and_next(wanted: Mapping[str, Any], cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    page = _page(wanted, cursor, 100)
    return page["orders"], page["nextCursor"]
