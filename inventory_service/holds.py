"""Manual holds: stock that is held, released and committed by request, without an order and without a saga.

Owns: what a request about a hold locks, and which error a refusal is. Beside handlers.py because requests are refused
to whoever asks, where events are answered by events. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from uuid import UUID

from inventory_service import queries
from inventory_service.domain import Decision
from inventory_service.handlers import apply_request
from inventory_service.happenings import CommitRequested, HoldRequested, Refusal, Rejected, ReleaseRequested
from inventory_service.schemas import NewHold
from inventory_service.settings import Settings
from inventory_service.states import Holding
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import (
    ForeignReservation,
    OrderSagaError,
    OutOfStock,
    ReservationExists,
    ReservationNotFound,
    ReservationNotHeld,
    UnknownItem,
)

_REFUSALS: dict[Refusal, type[OrderSagaError]] = {
    Refusal.UNKNOWN: ReservationNotFound,
    Refusal.FOREIGN: ForeignReservation,
    Refusal.EXISTS: ReservationExists,
    Refusal.ENDED: ReservationNotHeld,
}
_REJECTIONS: dict[str, type[OrderSagaError]] = {"unknown_item": UnknownItem, "out_of_stock": OutOfStock}


def reserve(
    tx: Transaction, wanted: NewHold, seller_id: str | None, correlation_id: str | None, settings: Settings
) -> UUID:
    """Hold all lines or none; the new hold's id. ``seller_id``: whose goods these are, where they are one seller's.

    Raises ReservationExists, UnknownItem, OutOfStock.
    """
    hold = Holding(order_id=new_id(), manual=True)
    if not queries.insert_hold(tx, hold.order_id, wanted.reference, seller_id):
        raise ReservationExists("another hold has this reference", {"reference": wanted.reference})
    request = HoldRequested(order_id=hold.order_id, lines=wanted.lines, ttl=wanted.ttl)
    decision = apply_request(tx, hold, request, correlation_id, settings)
    _refuse(decision)
    if isinstance(decision.answer, Rejected):
        short = list(decision.answer.short)
        said = "there is not enough of" if decision.answer.reason == "out_of_stock" else "there is no"
        raise _REJECTIONS[decision.answer.reason](f"{said} {', '.join(short)}", {"items": short})
    return hold.order_id


def release(tx: Transaction, id_: UUID, correlation_id: str | None, settings: Settings) -> None:
    """Give the stock back. Raises ReservationNotFound, ForeignReservation, ReservationNotHeld."""
    _end(tx, ReleaseRequested(order_id=id_), correlation_id, settings)


def commit(tx: Transaction, id_: UUID, correlation_id: str | None, settings: Settings) -> None:
    """Take the stock off the shelf for good. Raises ReservationNotFound, ForeignReservation, ReservationNotHeld."""
    _end(tx, CommitRequested(order_id=id_), correlation_id, settings)


def _end(
    tx: Transaction, request: ReleaseRequested | CommitRequested, correlation_id: str | None, settings: Settings
) -> None:
    hold = queries.holdings_for_update(tx, [request.order_id]).get(request.order_id)
    if hold is None:
        raise _error(Refusal.UNKNOWN, Holding(order_id=request.order_id))
    _refuse(apply_request(tx, hold, request, correlation_id, settings))


def _refuse(decision: Decision) -> None:
    if decision.refusal is not None:
        raise _error(decision.refusal, decision.holding)


def _error(refusal: Refusal, holding: Holding) -> OrderSagaError:
    details = {"id": str(holding.order_id)}
    if refusal is Refusal.ENDED:
        details["status"] = holding.status
    return _REFUSALS[refusal](refusal, details)
