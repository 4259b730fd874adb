"""Answers to requests about payments: validate, look up, dump. Must not know: Nameko, HTTP.

Owns: from RPC arguments to commands and from rows to answers, whose payment it is, and what is recorded of whoever
asked. What begins work at the provider returns it too: to be handed to the charger after the commit.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from payment_service import commands, queries
from payment_service.domain import PaymentMode, PaymentStatus, payment_id
from payment_service.queries import Attempt, Ownership
from payment_service.schemas import ConfirmationSchema, PaymentView, RefundSchema, RefundView
from payment_service.settings import Settings
from payment_service.webhooks import read_webhook
from shared import audit, idempotency
from shared.database import Transaction
from shared.errors import Forbidden, InvalidRequest, InvalidSignature, PaymentNotFound, PaymentNotReady
from shared.event_schema import load_request
from shared.identity import Identity, Party
from shared.logs import get_logger

log = get_logger(__name__)

_PAYMENT, _REFUND = PaymentView(), RefundView()
_STATE = PaymentView(only=("status", "charging", "refunded", "refunding"))
_CONFIRMATION, _WANTED_REFUND = ConfirmationSchema(), RefundSchema()

DEFAULT_REASON = "requested"
Begun = tuple[dict[str, Any], list[Attempt]]


def get_payment(
    tx: Transaction, caller: Identity, order_id: Any, payment_id: Any, settings: Settings
) -> dict[str, Any]:
    """The payment with this id, or of this order, with its attempts and refunds. Raises PaymentNotFound."""
    if (order_id is None) == (payment_id is None):
        raise InvalidRequest("give an order or a payment", {"errors": {"paymentId": ["one of orderId and paymentId"]}})
    if payment_id is not None:
        return _view(tx, _order_of(tx, caller, payment_id), settings)
    id_ = _order_id(order_id)
    found = queries.ownership_of_order(tx, id_)
    if found is None or not _parties(caller, found):
        raise _no_payment_of(id_)
    return _view(tx, id_, settings)


def create_payment(
    tx: Transaction, caller: Identity, order_id: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"payment"}: the one of the order, which was made when its stock was reserved.

    For its customer. Raises InvalidRequest, PaymentNotReady where nothing is known of the order yet, PaymentNotFound,
    Forbidden.
    """
    idempotency.check_request_ids(None, correlation_id)
    id_ = _order_id(order_id)
    found = queries.ownership_of_order(tx, id_)
    if found is None:
        raise PaymentNotReady("nothing is to be paid for this order yet", {"orderId": str(id_)})
    _require(caller, found, _no_payment_of(id_), Party.CUSTOMER)
    return {"payment": _view(tx, id_, settings)}


def confirm_payment(
    tx: Transaction,
    caller: Identity,
    payment_id: Any,
    payment_method: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"payment", "replayed"}: an attempt has begun, its outcome comes later. For the customer.

    Raises InvalidRequest, PaymentNotFound, Forbidden, what commands.confirm raises, and the errors of the key.
    """
    token = load_request(_CONFIRMATION, {"paymentMethod": payment_method})["token"]
    idempotency.check_request_ids(key, correlation_id)
    order_id = _order_of(tx, caller, payment_id, Party.CUSTOMER)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        before = _state_for_update(tx, order_id)
        begun.extend(commands.confirm(tx, order_id, token, correlation_id, settings, worker_id))
        _record(tx, caller, "confirm_payment", order_id, correlation_id, before, {})
        return _view(tx, order_id, settings)

    request = {"orderId": order_id, "paymentMethod": token}
    answer, replayed = idempotency.once(tx, "confirm_payment", idempotency.owned_key(caller, key), request, run)
    return {"payment": answer, "replayed": replayed}, begun


def refund_payment(
    tx: Transaction,
    caller: Identity,
    payment_id: Any,
    amount: Any,
    reason: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
    worker_id: UUID,
) -> Begun:
    """{"refund", "replayed"}: the refund has begun, its outcome comes later. For the seller and operators.

    Raises InvalidRequest, PaymentNotFound, Forbidden, what commands.refund raises, and the errors of the key.
    """
    wanted = load_request(_WANTED_REFUND, {"amount": amount, "reason": DEFAULT_REASON if reason is None else reason})
    idempotency.check_request_ids(key, correlation_id)
    order_id = _order_of(tx, caller, payment_id, Party.SELLER, Party.OPERATOR)
    begun: list[Attempt] = []

    def run() -> dict[str, Any]:
        before = _state_for_update(tx, order_id)
        refund_id, attempts = commands.refund(
            tx, order_id, wanted["amount"], wanted["reason"], correlation_id, settings, worker_id
        )
        begun.extend(attempts)
        refund = _refund_view(queries.refund_row(tx, refund_id))
        made = {"refundId": refund["id"], "amount": refund["amount"], "reason": refund["reason"]}
        _record(tx, caller, "refund_payment", order_id, correlation_id, before, made)
        return refund

    request = {"orderId": order_id, "amount": wanted["amount"], "reason": wanted["reason"]}
    answer, replayed = idempotency.once(tx, "refund_payment", idempotency.owned_key(caller, key), request, run)
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
        raise _no_payment_of(value) from error


def _order_of(tx: Transaction, caller: Identity, value: Any, *allowed: Party) -> UUID:
    """The order of a payment that the caller is one of the ``allowed`` parties to, or any.

    Raises PaymentNotFound also where it is somebody else's, and Forbidden.
    """
    missing = PaymentNotFound("no such payment", {"paymentId": str(value)[:64]})
    try:
        found = queries.ownership_of_payment(tx, UUID(value))
    except (TypeError, ValueError, AttributeError):
        found = None
    if found is None:
        raise missing
    _require(caller, found, missing, *(allowed or Party))
    return found.order_id


def _require(caller: Identity, found: Ownership, missing: PaymentNotFound, *allowed: Party) -> None:
    """Raises ``missing`` to a stranger, Forbidden to a party that this is not for."""
    parties = _parties(caller, found)
    if not parties:
        raise missing
    if not set(allowed) & set(parties):
        raise Forbidden(f"only for the payment's {' and '.join(allowed)}")


def _parties(caller: Identity, found: Ownership) -> tuple[Party, ...]:
    return caller.parties_to(user_id=found.user_id, seller_id=found.seller_id)


def _no_payment_of(order_id: Any) -> PaymentNotFound:
    return PaymentNotFound("no payment for this order", {"orderId": str(order_id)[:64]})


def _state_for_update(tx: Transaction, order_id: UUID) -> dict[str, Any]:
    """What a request may change of a payment, which is locked."""
    state: dict[str, Any] = _STATE.dump(queries.payments_for_update(tx, [order_id])[order_id])
    return state


def _record(
    tx: Transaction,
    caller: Identity,
    action: str,
    order_id: UUID,
    correlation_id: str | None,
    before: dict[str, Any],
    made: dict[str, Any],
) -> None:
    after = {**_state_for_update(tx, order_id), **made}
    id_ = payment_id(order_id)
    audit.record(tx, caller, action, "payment", id_, request_id=correlation_id, before=before, after=after)


def _view(tx: Transaction, order_id: UUID, settings: Settings) -> dict[str, Any]:
    row = queries.payment_row(tx, order_id)
    if row is None:
        raise _no_payment_of(order_id)
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
