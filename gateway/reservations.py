"""Reservations over HTTP: look at, list; those of orders and those made by hand.

Owns: the endpoints under /reservations. Must not know: stock rules; the inventory service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.access import EVERY_ROLE
from gateway.documents import Reservation, ReservationPage
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.responses import json_response
from gateway.schemas import ReservationQuery
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import ReservationNotFound

blueprint = ApiBlueprint(
    "reservations", __name__, url_prefix="/api/v1/reservations", description="What stock is held for"
)


@blueprint.route("", methods=["GET"])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, ReservationPage)
@blueprint.documented(problems=(504,))
@blueprint.arguments(ReservationQuery, location="query")
def list_reservations(query: dict[str, Any]) -> Response:
    """List reservations, newest first, page by page

    A customer's own, those of a seller's shop, or all of them.
    """
    page = services().call(
        INVENTORY_SERVICE,
        "list_reservations",
        limit=query["limit"],
        cursor=query.get("cursor"),
        status=query.get("status"),
        seller_id=query.get("sellerId"),
    )
    return json_response(page)


@blueprint.route("/<reservation_id>", methods=["GET"], parameters=[uuid_parameter("reservation_id")])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Reservation)
@blueprint.documented(problems=(504,))
def get_reservation(reservation_id: str) -> Response:
    """A reservation by its own id or by that of its order"""
    id_ = as_uuid(reservation_id, ReservationNotFound("There is no reservation with this id"))
    return json_response(services().call(INVENTORY_SERVICE, "get_reservation", reservation_id=id_))
