"""Answers to requests about payments: validate, look up, dump. Must not know: Nameko, HTTP.

Owns: from RPC arguments to commands and from rows to answers. What begins work at the provider returns it too: to be
handed to the charger after the commit.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from payment_service import commands, queries
from payment_service.domain import PaymentMode, PaymentStatus, payment_id
from payment_service.queries import Attempt
from payment_service.schemas import ConfirmationSchema, PaymentView, RefundSchema, RefundView
from payment_service.settings import Settings
from payment_service.webhooks import read_webhook
from shared import idempotency
from shared.database import Transaction
from shared.errors import InvalidRequest, InvalidSignature, PaymentNotFound
from shared.event_schema import load_request
from shared.logs import get_logger

log = get_logger(__name__)

_PAYMENT, _REFUND = PaymentView(), RefundView()
_CONFIRMATION, _WANTED_REFUND = ConfirmationSchema(), RefundSchema()

DEFAULT_REASON = "requested"
Begun = tuple[dict[str, Any], list[Attempt]]


def get_payment(tx: Transaction, order_id: Any, payment_id: Any, settings: Settings) -> dict[str, Any]:
    """The payment with this id, or of this order, with its attempts and refunds. Raises PaymentNotFound."""
    if (order_id is None) == (payment_id is None):
        raise InvalidRequest("give an order or a payment", {"errors": {"paymentId": ["one of orderId and paymentId"]}})
    id_ = _order_id(order_id) if payment_id is None else _order_of(tx, payment_id)
    return _view(tx, id_, settings)


def confirm_payment(
    tx: Transaction,
    payment_id: Any,
    payment_method: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"payment", "replayed"}: an attempt has begun, its outcome comes later.

    Raises InvalidRequest, PaymentNotFound, what commands.confirm raises, and the errors of the key.
    """
    token = load_request(_CONFIRMATION, {"paymentMethod": payment_method})["token"]
    idempotency.check_request_ids(key, correlation_id)
    order_id = _order_of(tx, payment_id)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        begun.extend(commands.confirm(tx, order_id, token, correlation_id, settings, worker_id))
        return _view(tx, order_id, settings)

    request = {"orderId": order_id, "paymentMethod": token}
    answer, replayed = idempotency.once(tx, "confirm_payment", key, request, run)
    return {"payment": answer, "replayed": replayed}, begun


def refund_payment(
    tx: Transaction,
    payment_id: Any,
    amount: Any,
    reason: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"refund", "replayed"}: the refund has begun, its outcome comes later.

    Raises InvalidRequest, PaymentNotFound, what commands.refund raises, and the errors of the key.
    """
    wanted = load_request(_WANTED_REFUND, {"amount": amount, "reason": DEFAULT_REASON if reason is None else reason})
    idempotency.check_request_ids(key, correlation_id)
    order_id = _order_of(tx, payment_id)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        refund_id, attempts = commands.refund(
            tx, order_id, wanted["amount"], wanted["reason"], correlation_id, settings, worker_id
        )
        begun.extend(attempts)
        return _refund_view(queries.refund_row(tx, refund_id))

    request = {"orderId": order_id, "amount": wanted["amount"], "reason": wanted["reason"]}
    answer, replayed = idempotency.once(tx, "refund_payment", key, request, run)
    return {"refund": answer, "replayed": replayed}, begun


def psp_webhook(tx: Transaction, body: Any, signature: Any, settings: Settings, worker_id: UUID) -> Begun:
    """{"applied"}: whether it changed anything. Raises InvalidSignature, and InvalidRequest for a foreign body."""
    if settings.psp_webhook_secret is None:
        raise InvalidSignature("no secret is set here that a webhook could be signed with")
    if not isinstance(body, str) or not isinstance(signature, str):
        raise InvalidSignature("a webhook is a text with its signature")
    try:
        event = read_webhook(body, signature, secret=settings.psp_webhook_secret, now=tx.now)
    except InvalidSignature as error:
        log.warning("webhook_refused", error=str(error))
        raise
    is_applied, begun = commands.apply_webhook(tx, event, settings, worker_id)
    log.info("webhook_taken", webhook_id=event.id, attempt_id=event.key, applied=is_applied)
    return {"applied": is_applied}, begun


def _order_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise PaymentNotFound("no such order", {"orderId": str(value)[:64]}) from error


def _order_of(tx: Transaction, value: Any) -> UUID:
    try:
        order_id = queries.order_of(tx, UUID(value))
    except (TypeError, ValueError, AttributeError):
        order_id = None
    if order_id is None:
        raise PaymentNotFound("no such payment", {"paymentId": str(value)[:64]})
    return order_id


def _view(tx: Transaction, order_id: UUID, settings: Settings) -> dict[str, Any]:
    row = queries.payment_row(tx, order_id)
    if row is None:
        raise PaymentNotFound("no payment for this order", {"orderId": str(order_id)})
    waits = row["mode"] == PaymentMode.MANUAL and row["status"] == PaymentStatus.PENDING
    answer: dict[str, Any] = _PAYMENT.dump(
        {
            **row,
            "attempts_left": max(0, settings.rules.most_attempts - row["charges"]) if waits else 0,
            "attempts": queries.attempt_rows(tx, order_id),
            "refunds": [_refund_row(refund) for refund in queries.refund_rows(tx, order_id)],
        }
    )
    return answer


def _refund_view(row: Any) -> dict[str, Any]:
    answer: dict[str, Any] = _REFUND.dump(_refund_row(row))
    return answer


def _refund_row(row: Any) -> dict[str, Any]:
    return {**row, "payment_id": payment_id(row["order_id"])}
