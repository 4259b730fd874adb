"""Answers to requests about payments: look up, dump. Must not know: Nameko, HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from payment_service import queries
from payment_service.schemas import PaymentView
from shared.database import Transaction
from shared.errors import PaymentNotFound

_PAYMENT = PaymentView()


def get_payment(tx: Transaction, order_id: Any) -> dict[str, Any]:
    """The payment of an order with its attempts and refunds. Raises PaymentNotFound."""
    try:
        id_ = UUID(order_id)
    except (TypeError, ValueError, AttributeError) as error:
        raise PaymentNotFound("no such order", {"orderId": str(order_id)[:64]}) from error
    row = queries.payment_row(tx, id_)
    if row is None:
        raise PaymentNotFound("no payment for this order", {"orderId": str(id_)})
    attempts, refunds = queries.attempt_rows(tx, id_), queries.refund_rows(tx, id_)
    answer: dict[str, Any] = _PAYMENT.dump({**row, "attempts": attempts, "refunds": refunds})
    return answer
