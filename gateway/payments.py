"""Payments over HTTP: begin, look at, pay, refund.

Owns: the endpoints under /payments. Must not know: when money may move; the payment service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.access import EVERY_ROLE
from gateway.documents import Payment, Refund
from gateway.etags import IF_NONE_MATCH_PARAMETER, tagged_response
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Confirmation, NewPayment, NewRefund
from gateway.services import ORDER_SERVICE, PAYMENT_SERVICE, services
from shared.errors import PaymentNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "payments", __name__, url_prefix="/api/v1/payments", description="Payments, their attempts and refunds"
)

_PAYMENT_ID = uuid_parameter("payment_id")


@blueprint.route("", methods=["POST"])
@blueprint.allow(Role.USER)
@blueprint.response(201, Payment)
@blueprint.documented(problems=(404, 504), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewPayment)
def create_payment(wanted: dict[str, Any]) -> Response:
    """The payment of an order, to be confirmed

    An order has one payment, made when its stock is reserved; asked for again, it is the same. Before that: 409
    `payment_not_ready`, and worth asking again.
    """
    order_id = wanted["orderId"]
    key = idempotency.idempotency_key()
    # The payment service has not heard of an order without stock: only the order service can tell whose it is.
    services().call(ORDER_SERVICE, "get_order", order_id=order_id)
    created = services().call(
        PAYMENT_SERVICE, "create_payment", order_id=order_id, idempotency_key=key, correlation_id=request_id()
    )
    location = url_for("payments.get_payment", payment_id=created["payment"]["id"])
    headers = {"Location": location} | idempotency.replay_header(created["replayed"])
    return json_response(created["payment"], 201, headers)


@blueprint.route("/<payment_id>", methods=["GET"], parameters=[_PAYMENT_ID])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Payment)
@blueprint.documented(problems=(504,), headers=(IF_NONE_MATCH_PARAMETER,))
def get_payment(payment_id: str) -> Response:
    """A payment with its attempts and refunds"""
    return tagged_response(services().call(PAYMENT_SERVICE, "get_payment", payment_id=_as_payment_id(payment_id)))


@blueprint.route("/<payment_id>/confirm", methods=["POST"], parameters=[_PAYMENT_ID])
@blueprint.allow(Role.USER)
@blueprint.response(202, Payment, description="The charge is under way; follow Location for its outcome")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(Confirmation)
def confirm_payment(confirmation: dict[str, Any], payment_id: str) -> Response:
    """Pay an order that waits for its customer

    A decline leaves the payment open for another try, three in all; only one may be under way.
    """
    confirmed = services().call(
        PAYMENT_SERVICE,
        "confirm_payment",
        payment_id=_as_payment_id(payment_id),
        payment_method=confirmation["paymentMethod"],
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    return _accepted(confirmed["payment"], payment_id, replayed=confirmed["replayed"])


@blueprint.route("/<payment_id>/refund", methods=["POST"], parameters=[_PAYMENT_ID])
@blueprint.allow(Role.SELLER, Role.ADMIN)
@blueprint.response(202, Refund, description="The refund is under way; follow Location for its outcome")
@blueprint.documented(problems=(504,), headers=(idempotency.PARAMETER,))
@blueprint.arguments(NewRefund)
def refund_payment(wanted: dict[str, Any], payment_id: str) -> Response:
    """Give money back by hand: an amount, or all that is left

    An order that is not fulfilled yet and gets all of its money back is cancelled.
    """
    refunded = services().call(
        PAYMENT_SERVICE,
        "refund_payment",
        payment_id=_as_payment_id(payment_id),
        **wanted,
        idempotency_key=idempotency.idempotency_key(),
        correlation_id=request_id(),
    )
    return _accepted(refunded["refund"], payment_id, replayed=refunded["replayed"])


def _accepted(body: Any, payment_id: str, *, replayed: bool) -> Response:
    """202: the payment at Location shows what comes of it."""
    location = url_for("payments.get_payment", payment_id=_as_payment_id(payment_id))
    return json_response(body, 202, {"Location": location} | idempotency.replay_header(replayed))


def _as_payment_id(text: str) -> str:
    return as_uuid(text, PaymentNotFound("There is no payment with this id"))
