"""A seller's work: orders to approve or decline, orders to ship, several at once, and what is held for whom.

Owns: /seller/orders and /seller/reservations. Must not know: whose order it is; the order service decides.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.dashboard.pages import PageBlueprint, done, posted_key, refused, render
from gateway.dashboard.tables import csv_of_all, csv_response, wants_csv
from gateway.paths import as_order_id
from gateway.request_id import request_id
from gateway.services import INVENTORY_SERVICE, ORDER_SERVICE, services
from shared.errors import OrderSagaError
from shared.identity import Role

blueprint = PageBlueprint("seller_orders", __name__, url_prefix="/seller")

MOST_AT_ONCE = 50
_STATUSES = ("RESERVED", "COMMITTED", "RELEASED", "EXPIRED")
_COLUMNS = (
    "id",
    "kind",
    "reference",
    "userId",
    "sellerId",
    "status",
    "generation",
    "expiresAt",
    "createdAt",
    "endedAt",
)
_ORDER_COLUMNS = ("id", "createdAt", "updatedAt", "status", "price", "currency", "userId", "deadlineAt")
_DONE = {"approve_order": "approved", "decline_order": "declined", "fulfil_order": "shipped"}


@blueprint.page("/orders", Role.SELLER)
def work() -> Response:
    """What waits for the seller, oldest first."""
    to_approve = [order for order in _orders("PENDING") if order.get("awaitsApproval")]
    to_ship = [order for order in _orders("CONFIRMED") if not order.get("fulfilRequestedAt")]
    if wants_csv():
        wanted = to_approve if request.args.get("list") == "approve" else to_ship
        return csv_response("orders-to-work-on", _ORDER_COLUMNS, wanted)
    return render(
        "seller/orders.html",
        to_approve=to_approve,
        to_ship=to_ship,
        most=MOST_AT_ONCE,
        csv={name: url_for(".work", list=name, format="csv") for name in ("approve", "ship")},
    )


@blueprint.action("/orders/approve", Role.SELLER)
def approve() -> Response:
    method = "decline_order" if request.form.get("verdict") == "decline" else "approve_order"
    return _for_each(method, lambda _id: {})


@blueprint.action("/orders/ship", Role.SELLER)
def ship() -> Response:
    """Fields named order (several) and tracking:ID."""
    return _for_each("fulfil_order", lambda id_: {"tracking": request.form.get(f"tracking:{id_}", "").strip() or None})


@blueprint.page("/reservations", Role.SELLER, Role.ADMIN)
def reservations() -> Response:
    status = request.args.get("status", "RESERVED") or None
    if wants_csv():
        return csv_of_all("reservations", _COLUMNS, lambda cursor: _reservations(status, cursor, 100))
    rows, cursor = _reservations(status, request.args.get("cursor"), 25)
    return render(
        "seller/reservations.html",
        reservations=rows,
        status=status or "",
        statuses=_STATUSES,
        more=url_for(".reservations", status=status or "", cursor=cursor) if cursor else None,
        csv=url_for(".reservations", status=status or "", format="csv"),
    )


def _orders(status: str) -> list[dict[str, Any]]:
    page = services().call(ORDER_SERVICE, "list_orders", limit=MOST_AT_ONCE, status=status)
    return list(reversed(page["orders"]))


def _reservations(status: str | None, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    page = services().call(INVENTORY_SERVICE, "list_reservations", limit=limit, cursor=cursor, status=status)
    return page["reservations"], page["nextCursor"]


def _for_each(method: str, extra: Any) -> Response:
    """Each order by itself: one that is refused keeps no other back. A key for each, made of the form's."""
    back = url_for(".work")
    wanted = [as_order_id(id_) for id_ in request.form.getlist("order")]
    if not wanted:
        return refused("Choose at least one order", back)
    problems = []
    for id_ in wanted[:MOST_AT_ONCE]:
        ids: dict[str, Any] = {"idempotency_key": f"{posted_key()}:{id_}", "correlation_id": request_id()}
        try:
            services().call(ORDER_SERVICE, method, order_id=id_, **extra(id_), **ids)
        except OrderSagaError as error:
            problems.append(f"{id_[-8:]}: {error.message}")
    went_well = len(wanted[:MOST_AT_ONCE]) - len(problems)
    said = f"{went_well} {_DONE[method]}"
    return refused(f"{said}; not so {'; '.join(problems)}", back) if problems else done(said, back)
