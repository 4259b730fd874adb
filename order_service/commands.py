"""What may be asked of one order: cancel, approve, decline, fulfil, take goods back.

Owns: who is told no and how, the events that answer a request, its line in the audit log. Every command locks its order
first, looks who asks on the locked row, and happens in the transaction that the caller opened. Beside handlers.py
because a request, unlike an event, can be refused.
Must not know: idempotency keys and the shape of answers (requests.py); who may ask what (access.py); what is decided
(domain.py, returns.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from order_service import queries
from order_service.access import order_not_found, party_for
from order_service.archive import refuse_archived
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
from shared import audit
from shared.database import Transaction
from shared.envelope import Envelope, new_id
from shared.errors import (
    BrokenRule,
    OrderNotApprovable,
    OrderNotCancellable,
    OrderNotFulfillable,
    OrderNotReturnable,
    OrderSagaError,
    RefundTooLarge,
    ReturnTooLarge,
)
from shared.identity import Identity, Party

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Who asks something of which order. ``by``: as whom; None leaves it to what they are to the order."""

    caller: Identity
    order_id: UUID
    by: Party | None = None
    correlation_id: str | None = None


@dataclass(kw_only=True)
class _Locked:
    """The order that something is asked of, and as whom (which becomes its reason, if it is cancelled by it)."""

    request: str
    asking: Asking
    order: Order
    row: Mapping[str, Any]
    by: CancelReason


@dataclass(kw_only=True)
class _Granted:
    """A request that changes something: what it makes of the order, to be added to and saved."""

    locked: _Locked
    order: Order
    changes: Changes
    cause: Envelope

    @property
    def row(self) -> Mapping[str, Any]:
        return self.locked.row

    def emit(self, tx: Transaction, event_type: str, **body: Any) -> None:
        correlation_id = self.cause.correlation_id
        self.changes.emit(tx, event_type, self.order.id, cause=self.cause, correlation_id=correlation_id, **body)

    def save(self, tx: Transaction, **told: Any) -> None:
        """With a line in the audit log; ``told`` is what it says beside the status."""
        self.changes.save(tx)
        audit.record(
            tx,
            self.locked.asking.caller,
            self.locked.request,
            "order",
            self.order.id,
            request_id=self.locked.asking.correlation_id,
            before={"status": self.locked.order.status},
            after={"status": self.order.status, "by": self.locked.by, **told},
        )


def _lock(tx: Transaction, asking: Asking, request: str) -> _Locked:
    """Raises OrderNotFound, OrderArchived, Forbidden."""
    found = queries.order_for_update(tx, asking.order_id)
    if found is None:
        refuse_archived(tx, asking.caller, asking.order_id)
        raise order_not_found(asking.order_id)
    order, row = found
    by = party_for(asking.caller, request, row, asking.by)
    return _Locked(request=request, asking=asking, order=order, row=row, by=CancelReason(by))


def _ask(tx: Transaction, locked: _Locked, request: Asked, settings: Settings, **said: Any) -> _Granted | None:
    """None: the order is already as it was asked to be. Raises the refusal of this request."""
    order = locked.order
    name, refusal = _REQUESTS[type(request)]
    decision = decide(order, request, now=tx.now, rules=settings.rules)
    if decision.refused:
        raise refusal(decision.note, {"status": order.status, "allowedActions": allowed_actions(order)})
    if not decision.applied:
        return None
    changes = Changes()
    saga = locked.row["correlation_id"]
    correlation_id = locked.asking.correlation_id or saga
    cause = record_own(tx, changes, order, decision, name, correlation_id, saga=saga, **said)
    return _Granted(locked=locked, order=decision.order, changes=changes, cause=cause)


def cancel_order(tx: Transaction, asking: Asking, settings: Settings, note: str | None = None) -> None:
    """``note``: why, from an operator.

    Raises OrderNotFound, Forbidden, and OrderNotCancellable once the order is being fulfilled.
    """
    locked = _lock(tx, asking, "cancel_order")
    request = CancelRequested(order_id=asking.order_id, by=locked.by)
    noted = {} if note is None else {"note": note}
    granted = _ask(tx, locked, request, settings, by=locked.by, **noted)
    if granted:
        granted.save(tx, **noted)


def approve_order(tx: Transaction, asking: Asking, settings: Settings) -> None:
    """ORDER_APPROVED bears the payload of ORDER_CREATED again. Raises OrderNotFound, Forbidden, OrderNotApprovable."""
    locked = _lock(tx, asking, "approve_order")
    granted = _ask(tx, locked, ApprovalGiven(order_id=asking.order_id), settings, by=locked.by)
    if not granted:
        return
    placed = ("user_id", "price", "currency", "status", "payment_method", "payment_mode")
    granted.emit(
        tx,
        "ORDER_APPROVED",
        **{name: granted.row[name] for name in placed},
        items=queries.item_rows(tx, asking.order_id),
        requires_approval=True,
    )
    granted.save(tx)


def decline_order(tx: Transaction, asking: Asking, settings: Settings) -> None:
    """Raises OrderNotFound, Forbidden, OrderNotApprovable."""
    locked = _lock(tx, asking, "decline_order")
    request = ApprovalDeclined(order_id=asking.order_id, by=locked.by)
    granted = _ask(tx, locked, request, settings, by=locked.by)
    if granted:
        granted.save(tx)


def fulfil_order(tx: Transaction, asking: Asking, tracking: str | None, settings: Settings) -> None:
    """Raises OrderNotFound, Forbidden, OrderNotFulfillable."""
    locked = _lock(tx, asking, "fulfil_order")
    request = FulfilmentRequested(order_id=asking.order_id, tracking=tracking)
    granted = _ask(tx, locked, request, settings, tracking=tracking)
    if not granted:
        return
    granted.emit(tx, "ORDER_FULFILLED", shipped_at=granted.order.fulfil_requested_at, tracking=granted.order.tracking)
    granted.save(tx, tracking=tracking)


def return_order(tx: Transaction, asking: Asking, goods: ReturnGoods, settings: Settings) -> dict[str, Any]:
    """The return as recorded.

    Raises OrderNotFound, Forbidden, OrderNotReturnable, ReturnTooLarge, RefundTooLarge.
    """
    order_id, return_id = asking.order_id, new_id()
    asked = _return_asked(return_id, goods)
    granted = _ask(tx, _lock(tx, asking, "return_order"), ReturnRequested(order_id=order_id), settings, **asked)
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
    granted.save(tx, returnId=return_id, items=lines, restock=goods.restock, refundAmount=str(accepted.refund))
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
