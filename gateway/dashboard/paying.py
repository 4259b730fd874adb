"""Paying an order that waits for its customer: the form, how long there is, and how each attempt ended.

Owns: /orders/<id>/pay. Must not know: whether a charge may begin; the payment service decides. A card's number never
comes here (card.js).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for

from gateway.access import caller
from gateway.dashboard.card_form import card_form
from gateway.dashboard.forms import read
from gateway.dashboard.pages import PageBlueprint, done, posted_key, refused, render
from gateway.paths import as_order_id, order_not_found
from gateway.request_id import request_id
from gateway.schemas import Confirmation
from gateway.services import ORDER_SERVICE, PAYMENT_SERVICE, OutcomeUnknown, services
from shared.errors import (
    PaymentExpired,
    PaymentInProgress,
    PaymentNotFound,
    PaymentNotPayable,
    TransientError,
)
from shared.identity import Party, Role

blueprint = PageBlueprint("paying", __name__)

_TAKEN = ("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED")
_REFUSALS = {
    PaymentExpired: "Too late: an attempt to pay could not end before the reservation does",
    PaymentInProgress: "An earlier attempt is still under way: wait for how it ends",
    PaymentNotPayable: "This payment does not wait for you any more",
}


@blueprint.page("/orders/<order_id>/pay", Role.USER)
def show(order_id: str) -> Response:
    order = _order(order_id)
    payment = _payment(order)
    stage = stage_of(order, payment)
    return render(
        "pay.html",
        order=order,
        payment=payment,
        stage=stage,
        attempts=_charges(payment),
        watch=url_for(".look", order_id=order["id"], seen=_mark(stage, payment)),
        **(card_form() if stage == "open" else {}),
    )


@blueprint.page("/orders/<order_id>/pay/state", Role.USER)
def look(order_id: str) -> Response:
    """Has anything changed that the page should show? Then it is loaded anew; if not, a form stays as it is."""
    try:
        order = _order(order_id)
        payment = _payment(order)
    except TransientError:
        # A service is away for a moment: what the page shows is still the best that is known.
        return Response(status=204)
    has_changed = request.args.get("seen") != _mark(stage_of(order, payment), payment)
    return Response(status=204, headers={"HX-Refresh": "true"} if has_changed else {})


@blueprint.action("/orders/<order_id>/pay", Role.USER)
def pay(order_id: str) -> Response:
    order = _order(order_id)
    here = url_for(".show", order_id=order["id"])
    said, wrong = read(Confirmation(), {"paymentMethod": request.form.get("cardToken") or request.form.get("token")})
    if wrong:
        return refused("That is no token of the payment provider. Nothing was charged.", here)
    payment = _payment(order)
    if payment is None:
        return refused("There is nothing to be paid for this order yet", here)
    try:
        services().call(
            PAYMENT_SERVICE,
            "confirm_payment",
            payment_id=payment["id"],
            payment_method=said["paymentMethod"],
            idempotency_key=posted_key(),
            correlation_id=request_id(),
        )
    except tuple(_REFUSALS) as error:
        return refused(_REFUSALS[type(error)], here)
    except OutcomeUnknown:
        return refused("The payment service did not answer. See below whether the attempt has begun.", here)
    return done("The provider is being asked", here)


def stage_of(order: Mapping[str, Any], payment: Mapping[str, Any] | None) -> str:
    """What there is to be seen: reserving, charging, open, paid or over."""
    if payment is None or payment["status"] == "PENDING":
        if order["status"] == "CANCELLED":
            return "over"
        if payment is None:
            return "reserving"
        is_open = payment["mode"] == "manual" and not payment["charging"] and payment["attemptsLeft"] > 0
        return "open" if is_open else "charging"
    return "paid" if payment["status"] in _TAKEN else "over"


def _order(order_id: str) -> dict[str, Any]:
    """For its customer: what a seller or operator may see is not theirs to pay. Raises OrderNotFound."""
    id_ = as_order_id(order_id)
    order: dict[str, Any] = services().call(ORDER_SERVICE, "get_order", order_id=id_)
    if Party.CUSTOMER not in caller().parties_to(user_id=order["userId"], seller_id=order.get("sellerId")):
        raise order_not_found()
    return order


def _payment(order: Mapping[str, Any]) -> dict[str, Any] | None:
    """None while the payment service has not heard of the order, which is before its stock is held."""
    try:
        found: dict[str, Any] = services().call(PAYMENT_SERVICE, "get_payment", order_id=order["id"])
        return found
    except PaymentNotFound:
        return None


def _charges(payment: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [attempt for attempt in (payment or {}).get("attempts", ()) if attempt["kind"] == "CHARGE"]


def _mark(stage: str, payment: Mapping[str, Any] | None) -> str:
    charges = _charges(payment)
    return f"{stage}.{len(charges)}.{charges[-1]['status'] if charges else ''}"
