"""Revenue by day and seller, how old it is, and whether the ledger agrees.

Owns: /admin/finance. Must not know: how any figure comes about.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.admin.finance.asking import rows_of_page, whole_view
from gateway.admin.finance.documents import FinanceQuery
from gateway.dashboard.admin.asking import asked, checked, given
from gateway.dashboard.pages import PageBlueprint, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from shared.identity import Role

blueprint = PageBlueprint("admin_money", __name__, url_prefix="/admin/finance")

_AT_ONCE, _FOR_A_FILE = 50, 100
_FILTERS = ("from", "to", "seller", "currency")
_COLUMNS = (
    "day",
    "sellerId",
    "currency",
    "placedOrders",
    "placed",
    "standingOrders",
    "ordered",
    "orderedCaptured",
    "notCaptured",
    "payments",
    "captured",
    "refunds",
    "refunded",
    "net",
)


@blueprint.page("", Role.ADMIN)
def show() -> Response:
    wanted = given(request.args, *_FILTERS)
    if wants_csv():
        return csv_of_all("finance", _COLUMNS, lambda cursor: rows_of_page(_query(wanted, cursor, _FOR_A_FILE)))
    found = asked(lambda: whole_view(_query(wanted, request.args.get("cursor"), _AT_ONCE)))
    cursor = found.value["nextCursor"] if found.value else None
    return render(
        "admin/finance.html",
        view=found.value,
        trouble=found.trouble,
        wanted=wanted,
        more=url_for(".show", **wanted, cursor=cursor) if cursor else None,
        csv=url_for(".show", **wanted, format="csv"),
    )


def _query(wanted: dict[str, Any], cursor: str | None, limit: int) -> dict[str, Any]:
    return checked(FinanceQuery(), {**wanted, "limit": str(limit), **({"cursor": cursor} if cursor else {})})
