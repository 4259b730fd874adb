"""Stock by hand over HTTP: hold, release, commit, adjust.

Owns: the endpoints under /inventory. Must not know: stock rules; the inventory service is asked.
What is held for orders is moved by their sagas alone.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.documents import Product, Reservation
from gateway.openapi import ApiBlueprint
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Adjustment, HeldReservation, NewHold
from gateway.services import INVENTORY_SERVICE, services
from shared.identity import Role

blueprint = ApiBlueprint("inventory", __name__, url_prefix="/api/v1/inventory", description="Stock moved by hand")


@blueprint.route("/reserve", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(201, Reservation)
@blueprint.documented(problems=(400, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
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
@blueprint.documented(problems=(400, 404, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(HeldReservation)
def release(held: dict[str, Any]) -> Response:
    """Put what was held by hand back on the shelf"""
    released = _ask("release_reservation", reservation_id=held["reservationId"])
    return json_response(released["reservation"], 200, idempotency.replay_header(released["replayed"]))


@blueprint.route("/commit", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Reservation)
@blueprint.documented(problems=(400, 404, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(HeldReservation)
def commit(held: dict[str, Any]) -> Response:
    """Take what was held by hand out of the stock for good"""
    committed = _ask("commit_reservation", reservation_id=held["reservationId"])
    return json_response(committed["reservation"], 200, idempotency.replay_header(committed["replayed"]))


@blueprint.route("/adjust", methods=["POST"])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(200, Product)
@blueprint.documented(problems=(400, 404, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
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
