"""Payments over HTTP: look at, pay, refund.

Owns: the endpoints under /payments. Must not know: when money may move; the payment service is asked.
"""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from gateway import idempotency
from gateway.access import EVERY_ROLE
from gateway.documents import Payment, Refund
from gateway.openapi import ApiBlueprint
from gateway.paths import as_uuid, uuid_parameter
from gateway.request_id import request_id
from gateway.responses import json_response
from gateway.schemas import Confirmation, NewRefund
from gateway.services import PAYMENT_SERVICE, services
from shared.errors import PaymentNotFound
from shared.identity import Role

blueprint = ApiBlueprint(
    "payments", __name__, url_prefix="/api/v1/payments", description="Payments, their attempts and refunds"
)

_PAYMENT_ID = uuid_parameter("payment_id")


@blueprint.route("/<payment_id>", methods=["GET"], parameters=[_PAYMENT_ID])
@blueprint.allow(*EVERY_ROLE)
@blueprint.response(200, Payment)
@blueprint.documented(problems=(404, 503, 504))
def get_payment(payment_id: str) -> Response:
    """A payment with its attempts and refunds"""
    return json_response(services().call(PAYMENT_SERVICE, "get_payment", payment_id=_as_payment_id(payment_id)))


@blueprint.route("/<payment_id>/confirm", methods=["POST"], parameters=[_PAYMENT_ID])
@blueprint.allow(Role.USER)
@blueprint.response(202, Payment, description="The charge is under way; follow Location for its outcome")
@blueprint.documented(problems=(400, 404, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
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
@blueprint.documented(problems=(400, 404, 409, 413, 415, 422, 503, 504), headers=(idempotency.PARAMETER,))
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
