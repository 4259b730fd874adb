"""What is asked of a payment: to be confirmed by its customer, to be refunded, and what the provider says unasked.

Owns: which rows a command needs, and from a refusal to an error. Never calls the provider, as handlers.py.
Must not know: how requests look and how signatures are checked; what is decided stands in domain.py.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from payment_service import queries
from payment_service.changes import Changes, Origin
from payment_service.domain import (
    ConfirmRequested,
    Decision,
    Happening,
    Payment,
    RefundRequested,
    Refusal,
    StrayCharge,
    decide,
)
from payment_service.handlers import decide_outcome, end_attempt
from payment_service.provider import Approved, ChargeOutcome, Processing
from payment_service.queries import Attempt
from payment_service.settings import Settings
from payment_service.webhooks import WebhookEvent
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import (
    OrderSagaError,
    PaymentExpired,
    PaymentInProgress,
    PaymentNotPayable,
    PaymentNotRefundable,
    RefundTooLarge,
)
from shared.event_schema import moment_text
from shared.logs import get_logger

log = get_logger(__name__)

_OPEN = ("CALLING", "UNKNOWN", "AWAITING")


def confirm(
    tx: Transaction, order_id: UUID, token: str, correlation_id: str | None, settings: Settings, worker_id: UUID
) -> list[Attempt]:
    """Begin the customer's next attempt. Raises PaymentNotPayable, PaymentInProgress, PaymentExpired."""
    request = ConfirmRequested(order_id=order_id, token=token)
    before, decision = _decide(tx, request, settings)
    changes = Changes()
    changes.record(tx, before, decision, Origin(cause=None, correlation_id=correlation_id or str(order_id)))
    return changes.save(tx, worker_id)


def refund(
    tx: Transaction,
    order_id: UUID,
    amount: Decimal | None,
    reason: str,
    correlation_id: str | None,
    settings: Settings,
    worker_id: UUID,
) -> tuple[UUID, list[Attempt]]:
    """Begin to give back ``amount`` (None: all that is left); returns the refund's id too.

    Raises PaymentNotRefundable, RefundTooLarge.
    """
    request = RefundRequested(order_id=order_id, refund_id=new_id(), amount=amount, reason=reason)
    before, decision = _decide(tx, request, settings)
    origin = Origin(
        cause=None,
        correlation_id=correlation_id or str(order_id),
        charge_id=queries.succeeded_charges(tx, [order_id])[order_id],
    )
    changes = Changes()
    changes.record(tx, before, decision, origin)
    return request.refund_id, changes.save(tx, worker_id)


def _decide(
    tx: Transaction, request: ConfirmRequested | RefundRequested, settings: Settings
) -> tuple[Payment, Decision]:
    """The payment as it was, locked, and the decision; raises the error that a refusal stands for."""
    before = queries.payments_for_update(tx, [request.order_id])[request.order_id]
    decision = decide(before, request, now=tx.now, rules=settings.rules)
    if decision.refusal is not None:
        raise _error(before, decision.refusal)
    return before, decision


def _error(payment: Payment, refusal: Refusal) -> OrderSagaError:
    match refusal:
        case Refusal.NOT_PAYABLE:
            return PaymentNotPayable(
                f"the payment does not wait for its customer: it is {payment.status}", {"status": payment.status}
            )
        case Refusal.IN_PROGRESS:
            return PaymentInProgress("an earlier attempt to pay has no outcome yet", {"status": payment.status})
        case Refusal.EXPIRED:
            expires_at = moment_text(payment.expires_at) if payment.expires_at else None
            return PaymentExpired(
                "an attempt to pay could not end before the reservation does", {"expiresAt": expires_at}
            )
        case Refusal.NOT_REFUNDABLE:
            return PaymentNotRefundable(f"the payment is {payment.status}", {"status": payment.status})
        case Refusal.TOO_LARGE:
            return RefundTooLarge(
                f"{payment.refundable} {payment.currency} can be refunded",
                {"refundable": str(payment.refundable), "currency": payment.currency},
            )


def apply_webhook(
    tx: Transaction, event: WebhookEvent, settings: Settings, worker_id: UUID
) -> tuple[bool, list[Attempt]]:
    """End the open attempt that ``event`` tells of, as its own call would have; returns whether anything changed.

    That a charge is being processed changes nothing: whoever called is told the same, or asks. Each event counts once,
    by its id, whatever it says when it comes again.
    """
    charge_id = _uuid(event.key)
    order_id = queries.charge_order(tx, charge_id) if charge_id else None
    if charge_id is None or order_id is None or isinstance(event.outcome, Processing):
        return False, []
    if not queries.claim_webhook(tx, event.id):
        return False, []
    payment = queries.payments_for_update(tx, [order_id])[order_id]
    charge, status = queries.charge_for_update(tx, charge_id)
    changes = Changes()
    happening = _meaning(tx, changes, charge, status, event.outcome, settings)
    if happening is None:
        return False, []
    decide_outcome(tx, changes, payment, charge, happening, settings)
    return True, changes.save(tx, worker_id)


def _meaning(
    tx: Transaction, changes: Changes, charge: Attempt, status: str, outcome: ChargeOutcome, settings: Settings
) -> Happening | None:
    """An attempt that has ended stays as it is; money taken for it after all is given back."""
    if status in _OPEN:
        return end_attempt(changes, charge, outcome, now=tx.now, settings=settings)
    if isinstance(outcome, Approved) == (status == "SUCCEEDED"):
        return None
    log.warning("webhook_contradicts_outcome", attempt_id=str(charge.id), status=status, outcome=type(outcome).__name__)
    if isinstance(outcome, Approved) and not queries.is_voided(tx, charge):
        return StrayCharge(order_id=charge.order_id)
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
