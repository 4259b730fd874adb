"""The saga board, and what an operator does with one saga.

Owns: /admin/sagas; one saga is looked at on its order's page. Must not know: how an order tells, or what helps it.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.admin.schemas import SAGA_ACTORS, SAGA_STATES, SAGA_STEPS
from gateway.dashboard.admin.asking import asked, given, in_utc
from gateway.dashboard.pages import PageBlueprint, done, posted_key, refused, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from gateway.paths import as_order_id
from gateway.request_id import request_id
from gateway.schemas import ORDER_STATUSES
from gateway.services import ORDER_SERVICE, services
from shared.identity import Role

blueprint = PageBlueprint("saga_board", __name__, url_prefix="/admin/sagas")

_AT_ONCE, _FOR_A_FILE = 50, 100
_FILTERS = ("state", "step", "waitsFor", "status", "userId", "sellerId", "text", "since", "until")
_ARGUMENTS = {"waitsFor": "waits_for", "userId": "user_id", "sellerId": "seller_id"}
_COLUMNS = (
    "orderId",
    "status",
    "reason",
    "step",
    "waitsFor",
    "since",
    "until",
    "flag",
    "userId",
    "sellerId",
    "startedAt",
    "correlationId",
)
_SAID = {
    "nudge": "The event that waits for an answer is published once more",
    "cancel": "Cancelled: stock and money are on their way back",
    "resolve": "The flag is taken away",
}


@blueprint.page("", Role.ADMIN)
def board() -> Response:
    wanted = given(request.args, *_FILTERS)
    if wants_csv():
        return csv_of_all("sagas", _COLUMNS, lambda cursor: _rows_and_next(wanted, cursor))
    found = asked(lambda: _page(wanted, request.args.get("cursor"), _AT_ONCE))
    page = found.value or {"sagas": [], "nextCursor": None}
    return render(
        "admin/sagas.html",
        sagas=page["sagas"],
        trouble=found.trouble,
        wanted=wanted,
        states=SAGA_STATES,
        steps=SAGA_STEPS,
        actors=SAGA_ACTORS,
        statuses=ORDER_STATUSES,
        more=url_for(".board", **wanted, cursor=page["nextCursor"]) if page["nextCursor"] else None,
        csv=url_for(".board", **wanted, format="csv"),
    )


@blueprint.page("/<order_id>/expected", Role.ADMIN)
def expected(order_id: str) -> Response:
    """A part of the order's page: whose turn it is, and what may still come."""
    found = asked(lambda: services().call(ORDER_SERVICE, "get_saga", order_id=as_order_id(order_id)))
    return render("admin/_expected.html", saga=found.value, trouble=found.trouble)


@blueprint.action("/<order_id>/help", Role.ADMIN)
def help_on(order_id: str) -> Response:
    """The button that was pressed says what is done: nudge, cancel or resolve."""
    what = request.form.get("what", "")
    if what not in _SAID:
        return refused("Nothing was done", url_for("order.show", order_id=order_id))
    services().call(
        ORDER_SERVICE,
        f"{what}_saga",
        order_id=as_order_id(order_id),
        note=request.form.get("note", "").strip(),
        idempotency_key=f"{what}:{posted_key()}",
        correlation_id=request_id(),
    )
    return done(_SAID[what], url_for("order.show", order_id=order_id))


def _page(wanted: dict[str, Any], cursor: str | None, limit: int) -> Any:
    said = {_ARGUMENTS.get(name, name): value for name, value in in_utc(wanted).items()}
    return services().call(ORDER_SERVICE, "list_sagas", limit=limit, cursor=cursor, **said)


def _rows_and_next(wanted: dict[str, Any], cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    page = _page(wanted, cursor, _FOR_A_FILE)
    return page["sagas"], page["nextCursor"]
