"""One order: its saga as it runs, what it holds, what may be asked of it now and by whom.

Owns: /orders/<id> and its actions. Must not know: how anything is decided; a service refuses what is not allowed, and
the page offers only what the service says may be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import uuid4

from flask import Response, copy_current_request_context, render_template, request, url_for

from gateway.access import EVERY_ROLE, caller
from gateway.dashboard.diagram import draw
from gateway.dashboard.pages import PageBlueprint, done, posted_key, render
from gateway.dashboard.saga_stream import Piece, saga_stream
from gateway.dashboard.tables import csv_response, wants_csv
from gateway.expansion import expanded_if_possible
from gateway.paths import as_order_id
from gateway.request_id import request_id
from gateway.services import ORDER_SERVICE, services, trusted_services
from shared.choreography import load_choreography
from shared.identity import Identity, Party, Role

blueprint = PageBlueprint("order", __name__)

_ACTORS = {
    "cancel": tuple(Party),
    "approve": (Party.SELLER,),
    "decline": (Party.SELLER,),
    "fulfil": (Party.SELLER,),
    "return": (Party.SELLER,),
}
_ITEM_COLUMNS = ("item", "quantity", "price")
_EVENT_COLUMNS = ("at", "type", "source", "decision", "note", "eventId", "causationId")
# A service that is away must not take the page with it.
_PATIENCE_S = 1.0
_contract = cache(load_choreography)


@blueprint.page("/orders/<order_id>", *EVERY_ROLE)
def show(order_id: str) -> Response:
    order = _order(as_order_id(order_id), caller())
    if wants_csv():
        return csv_response(f"items-{order['id']}", _ITEM_COLUMNS, order["items"])
    return render("order.html", **_values(order, caller()))


@blueprint.page("/orders/<order_id>/live", *EVERY_ROLE)
def follow(order_id: str) -> Response:
    """The live part of the page, drawn anew whenever something happened (text/event-stream)."""
    id_, who = as_order_id(order_id), caller()

    @copy_current_request_context
    def piece() -> Piece:
        order = _order(id_, who)
        html = render_template("_order_live.html", idempotency_key=str(uuid4()), **_values(order, who))
        return Piece(html=html, silent=order["silent"])

    return saga_stream(id_, piece)


@blueprint.page("/orders/<order_id>/events", *EVERY_ROLE)
def raw_events(order_id: str) -> Response:
    """The timeline as it is recorded, asked for by the page when somebody wants to see it."""
    order = services().call(ORDER_SERVICE, "get_order", order_id=as_order_id(order_id))
    if wants_csv():
        return csv_response(f"events-{order['id']}", _EVENT_COLUMNS, order["timeline"])
    return render("_raw_events.html", order=order, csv=url_for(".raw_events", order_id=order["id"], format="csv"))


@blueprint.action("/orders/<order_id>/cancel", *EVERY_ROLE)
def cancel(order_id: str) -> Response:
    return _ask("cancel_order", order_id, "Cancelled: stock and money are on their way back")


@blueprint.action("/orders/<order_id>/approve", Role.SELLER)
def approve(order_id: str) -> Response:
    return _ask("approve_order", order_id, "Approved: its stock is reserved next")


@blueprint.action("/orders/<order_id>/decline", Role.SELLER)
def decline(order_id: str) -> Response:
    return _ask("decline_order", order_id, "Declined")


@blueprint.action("/orders/<order_id>/fulfil", Role.SELLER)
def fulfil(order_id: str) -> Response:
    tracking = request.form.get("tracking", "").strip() or None
    return _ask("fulfil_order", order_id, "Shipped: it is fulfilled once its stock is off the shelf", tracking=tracking)


@blueprint.action("/orders/<order_id>/returns", Role.SELLER)
def take_back(order_id: str) -> Response:
    """Fields named quantity:ITEM, and whether the goods go back on the shelf."""
    wanted = {name.partition(":")[2]: number for name, number in request.form.items() if name.startswith("quantity:")}
    lines = [{"item": item, "quantity": int(number)} for item, number in wanted.items() if _is_count(number)]
    goods = {"items": lines, "restock": request.form.get("restock") == "yes"}
    return _ask("return_order", order_id, "Taken back: the refund is on its way", goods=goods)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 1_000_000


def _ask(method: str, order_id: str, message: str, **wanted: Any) -> Response:
    ids: dict[str, Any] = {"idempotency_key": posted_key(), "correlation_id": request_id()}
    services().call(ORDER_SERVICE, method, order_id=as_order_id(order_id), **wanted, **ids)
    return done(message, url_for(".show", order_id=order_id))


def _order(id_: str, who: Identity) -> Mapping[str, Any]:
    order = trusted_services().call(ORDER_SERVICE, "get_order", caller=who, order_id=id_)
    shown, silent = expanded_if_possible(order, who, timeout_s=_PATIENCE_S)
    return {**shown, "silent": silent}


def _values(order: Mapping[str, Any], who: Identity) -> dict[str, Any]:
    parties = who.parties_to(user_id=order["userId"], seller_id=order.get("sellerId"))
    return {
        "order": order,
        "diagram": draw(order, _contract()),
        "parties": parties,
        "may": [name for name in order["allowedActions"] if set(_ACTORS.get(name, ())) & set(parties)],
        "may_pay": Party.CUSTOMER in parties and _is_payable(order),
        "is_over": bool(order.get("settledAt")) or order["status"] == "FULFILLED",
    }


def _is_payable(order: Mapping[str, Any]) -> bool:
    payment = order.get("payment") or {}
    is_open = payment.get("status") == "PENDING" and payment.get("mode") == "manual" and not payment.get("charging")
    return is_open and order["status"] in ("PENDING", "RESERVED")
