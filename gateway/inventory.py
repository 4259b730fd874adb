"""Stock over HTTP: what there is, why it moved; hold, release, commit, adjust by hand.

Owns: the endpoints under /inventory. Must not know: stock rules; the inventory service is asked.
What is held for orders is moved by their sagas alone.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.documents import MovementPage, Product, Reservation, StockPage
from gateway.openapi import ApiBlueprint
from gateway.paths import ITEM_PARAMETER, as_item
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Adjustment, HeldReservation, MovementQuery, NewHold, StockQuery
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import ProductNotFound
from shared.identity import Role

blueprint = ApiBlueprint("inventory", __name__, url_prefix="/api/v1/inventory", description="Stock, and moving it")


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, StockPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(StockQuery, location="query")
def list_stock(query: dict[str, Any]) -> Response:
    """What is on hand, held and available: a seller's own, an operator's all"""
    page = services().call(
        INVENTORY_SERVICE,
        "list_stock",
        limit=query["limit"],
        cursor=query.get("cursor"),
        seller_id=query.get("sellerId"),
        item=query.get("item"),
    )
    return json_response(page)


@blueprint.route("/<item>/movements", methods=["GET"], parameters=[ITEM_PARAMETER])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, MovementPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(MovementQuery, location="query")
def list_movements(query: dict[str, Any], item: str) -> Response:
    """Why each unit moved, newest first, page by page"""
    page = services().call(
        INVENTORY_SERVICE,
        "list_movements",
        item=as_item(item, ProductNotFound("There is no product with this id")),
        limit=query["limit"],
        cursor=query.get("cursor"),
    )
    return json_response(page)


@blueprint.route("/reserve", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(201, Reservation)
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewHold)
def reserve(hold: dict[str, Any]) -> Response:
    """Hold stock by hand, all lines or none, until it is released, committed or expires"""
    held = _ask("reserve_stock", reservation=hold)
    body = held["reservation"]
    location = url_for("reservations.get_reservation", reservation_id=body["id"])
    return json_response(body, 201, {"Location": location} | idempotency.replay_header(held["replayed"]))


@blueprint.route("/release", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Reservation)
@blueprint.documented(problems=(404, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(HeldReservation)
def release(held: dict[str, Any]) -> Response:
    """Put what was held by hand back on the shelf"""
    released = _ask("release_reservation", reservation_id=held["reservationId"])
    return json_response(released["reservation"], 200, idempotency.replay_header(released["replayed"]))


@blueprint.route("/commit", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Reservation)
@blueprint.documented(problems=(404, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(HeldReservation)
def commit(held: dict[str, Any]) -> Response:
    """Take what was held by hand out of the stock for good"""
    committed = _ask("commit_reservation", reservation_id=held["reservationId"])
    return json_response(committed["reservation"], 200, idempotency.replay_header(committed["replayed"]))


@blueprint.route("/adjust", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Product)
@blueprint.documented(problems=(404, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Adjustment)
def adjust(adjustment: dict[str, Any]) -> Response:
    """Correct what is on hand: a delivery, a loss, a count"""
    adjusted = _ask("adjust_stock", adjustment=adjustment)
    return json_response(adjusted["product"], 200, idempotency.replay_header(adjusted["replayed"]))


def _ask(method: str, **wanted: Any) -> Any:
    return services().call(
        INVENTORY_SERVICE,
        method,
        **wanted,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
