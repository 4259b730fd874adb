"""What may be asked of one order: cancel, approve, decline, fulfil, take goods back.

Owns: who is told no and how, and the events that answer a request. Every command locks its order first and happens in
the transaction that the caller opened. Beside handlers.py because a request, unlike an event, can be refused.
Must not know: idempotency keys and the shape of answers (requests.py); what is decided (domain.py, returns.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from order_service import queries
from order_service.domain import allowed_actions, decide
from order_service.handlers import Changes, record_own
from order_service.happenings import (
    ApprovalDeclined,
    ApprovalGiven,
    Asked,
    CancelRequested,
    FulfilmentRequested,
    ReturnRequested,
)
from order_service.returns import Accepted, CannotReturn, accept_return
from order_service.schemas import ReturnGoods
from order_service.settings import Settings
from order_service.states import CancelReason, Order
from shared.database import Transaction
from shared.envelope import Envelope, new_id
from shared.errors import (
    BrokenRule,
    OrderNotApprovable,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotFulfillable,
    OrderNotReturnable,
    OrderSagaError,
    RefundTooLarge,
    ReturnTooLarge,
)

# What a request is called in the timeline, and how it is refused
_REQUESTS: Mapping[type[Asked], tuple[str, type[OrderSagaError]]] = {
    CancelRequested: ("CANCEL_REQUESTED", OrderNotCancellable),
    ApprovalGiven: ("APPROVAL_GIVEN", OrderNotApprovable),
    ApprovalDeclined: ("APPROVAL_DECLINED", OrderNotApprovable),
    FulfilmentRequested: ("FULFILMENT_REQUESTED", OrderNotFulfillable),
    ReturnRequested: ("RETURN_REQUESTED", OrderNotReturnable),
}
_RETURN_ERRORS: Mapping[str, type[OrderSagaError]] = {
    "return_too_large": ReturnTooLarge,
    "refund_too_large": RefundTooLarge,
}


@dataclass(kw_only=True)
class _Granted:
    """A request that changes something: what it makes of the order, to be added to and saved."""

    order: Order
    row: Mapping[str, Any]
    changes: Changes
    cause: Envelope

    def emit(self, tx: Transaction, event_type: str, **body: Any) -> None:
        correlation_id = self.cause.correlation_id
        self.changes.emit(tx, event_type, self.order.id, cause=self.cause, correlation_id=correlation_id, **body)


def _ask(
    tx: Transaction, request: Asked, correlation_id: str | None, settings: Settings, **said: Any
) -> _Granted | None:
    """None: the order is already as it was asked to be. Raises OrderNotFound, or the refusal of this request."""
    found = queries.order_for_update(tx, request.order_id)
    if found is None:
        raise OrderNotFound("no such order", {"id": str(request.order_id)})
    order, row = found
    name, refusal = _REQUESTS[type(request)]
    decision = decide(order, request, now=tx.now, rules=settings.rules)
    if decision.refused:
        raise refusal(decision.note, {"status": order.status, "allowedActions": allowed_actions(order)})
    if not decision.applied:
        return None
    changes = Changes()
    cause = record_own(tx, changes, order, decision, name, correlation_id or row["correlation_id"], **said)
    return _Granted(order=decision.order, row=row, changes=changes, cause=cause)


def cancel_order(
    tx: Transaction, order_id: UUID, by: CancelReason, correlation_id: str | None, settings: Settings
) -> None:
    """Raises OrderNotFound, and OrderNotCancellable once the order is being fulfilled."""
    granted = _ask(tx, CancelRequested(order_id=order_id, by=by), correlation_id, settings, by=by)
    if granted:
        granted.changes.save(tx)


def approve_order(
    tx: Transaction, order_id: UUID, by: CancelReason, correlation_id: str | None, settings: Settings
) -> None:
    """ORDER_APPROVED bears the payload of ORDER_CREATED again. Raises OrderNotFound, OrderNotApprovable."""
    granted = _ask(tx, ApprovalGiven(order_id=order_id), correlation_id, settings, by=by)
    if not granted:
        return
    placed = ("user_id", "price", "currency", "status", "payment_method", "payment_mode")
    granted.emit(
        tx,
        "ORDER_APPROVED",
        **{name: granted.row[name] for name in placed},
        items=queries.item_rows(tx, order_id),
        requires_approval=True,
    )
    granted.changes.save(tx)


def decline_order(
    tx: Transaction, order_id: UUID, by: CancelReason, correlation_id: str | None, settings: Settings
) -> None:
    """Raises OrderNotFound, OrderNotApprovable."""
    granted = _ask(tx, ApprovalDeclined(order_id=order_id, by=by), correlation_id, settings, by=by)
    if granted:
        granted.changes.save(tx)


def fulfil_order(
    tx: Transaction, order_id: UUID, tracking: str | None, correlation_id: str | None, settings: Settings
) -> None:
    """Raises OrderNotFound, OrderNotFulfillable."""
    request = FulfilmentRequested(order_id=order_id, tracking=tracking)
    granted = _ask(tx, request, correlation_id, settings, tracking=tracking)
    if not granted:
        return
    granted.emit(tx, "ORDER_FULFILLED", shipped_at=granted.order.fulfil_requested_at, tracking=granted.order.tracking)
    granted.changes.save(tx)


def return_order(
    tx: Transaction, order_id: UUID, goods: ReturnGoods, correlation_id: str | None, settings: Settings
) -> dict[str, Any]:
    """The return as recorded. Raises OrderNotFound, OrderNotReturnable, ReturnTooLarge, RefundTooLarge."""
    return_id = new_id()
    asked = _return_asked(return_id, goods)
    granted = _ask(tx, ReturnRequested(order_id=order_id), correlation_id, settings, **asked)
    if granted is None:
        # The table grants or refuses a return; goods can come back more than once.
        raise BrokenRule("a return was neither granted nor refused")
    currency = granted.row["currency"]
    accepted = _accept(goods, queries.shipped_lines(tx, order_id), currency)
    lines = [{"item": line.item, "quantity": line.quantity} for line in accepted.lines]
    row = {
        "id": return_id,
        "order_id": order_id,
        "restock": goods.restock,
        "refund_amount": accepted.refund,
        "status": accepted.status,
    }
    queries.insert_return(tx, row, lines)
    granted.emit(
        tx,
        "ORDER_RETURNED",
        return_id=return_id,
        items=lines,
        restock=goods.restock,
        refund_amount=accepted.refund,
        currency=currency,
    )
    granted.changes.save(tx)
    return {**row, "items": lines, "created_at": tx.now}


def _return_asked(return_id: UUID, goods: ReturnGoods) -> dict[str, Any]:
    """For the timeline, in the words of the request: what was made of it is in ORDER_RETURNED."""
    return {
        "returnId": return_id,
        "items": [{"item": line.item, "quantity": line.quantity} for line in goods.lines],
        "restock": goods.restock,
        "refundAmount": goods.refund_amount,
    }


def _accept(goods: ReturnGoods, shipped: Any, currency: str) -> Accepted:
    try:
        return accept_return(goods.lines, goods.refund_amount, shipped, currency)
    except CannotReturn as refusal:
        raise _RETURN_ERRORS[refusal.kind](refusal.message, refusal.details) from refusal
