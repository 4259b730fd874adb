"""Answers to requests about orders: validate, look up, dump.

Owns: from RPC arguments to commands and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from order_service import commands, queries
from order_service.domain import allowed_actions
from order_service.placing import Placed, Request
from order_service.schemas import (
    FulfilOrderSchema,
    OrderSummaryView,
    OrderView,
    PlaceOrderSchema,
    ReturnGoodsSchema,
    ReturnView,
)
from order_service.settings import Settings
from order_service.states import CancelReason, OrderStatus
from order_service.timeline import Step, causal_order
from shared.database import Transaction
from shared.errors import InvalidRequest, OrderNotFound, OrderSagaError
from shared.event_schema import load_request
from shared.idempotency import check_request_ids, once, request_hash

MOST_AT_ONCE = 1000
LARGEST_PAGE = 100
REQUESTERS = (CancelReason.CUSTOMER, CancelReason.SELLER, CancelReason.OPERATOR)
APPROVERS = (CancelReason.SELLER, CancelReason.OPERATOR)
_PLACE_ORDER, _FULFIL_ORDER, _RETURN_GOODS = PlaceOrderSchema(), FulfilOrderSchema(), ReturnGoodsSchema()
_SUMMARY, _ORDER, _RETURN = OrderSummaryView(), OrderView(), ReturnView()


def read_request(order: Any, idempotency_key: Any = None, correlation_id: Any = None) -> Request:
    """Raises InvalidRequest with the errors of every field."""
    check_request_ids(idempotency_key, correlation_id)
    wanted = load_request(_PLACE_ORDER, order, "order")
    return Request(order=wanted, hash=request_hash(order), key=idempotency_key, correlation_id=correlation_id)


def read_requests(orders: Any) -> list[Request | OrderSagaError]:
    """For bulk placing: each entry is {"order", "idempotencyKey"?, "correlationId"?}; a bad one is its own refusal."""
    if not isinstance(orders, list) or not 1 <= len(orders) <= MOST_AT_ONCE:
        raise InvalidRequest(f"orders must be a list of 1 to {MOST_AT_ONCE}")
    return [_read_entry(entry) for entry in orders]


def _read_entry(entry: Any) -> Request | OrderSagaError:
    if not isinstance(entry, dict):
        return InvalidRequest("each entry must be an object")
    try:
        return read_request(entry.get("order"), entry.get("idempotencyKey"), entry.get("correlationId"))
    except InvalidRequest as error:
        return error


def outcome_answer(outcome: Placed | OrderSagaError) -> dict[str, Any]:
    """{"order", "replayed"} or {"error": {"code", "message", "details"}}."""
    if isinstance(outcome, Placed):
        return {"order": outcome.summary, "replayed": outcome.replayed}
    return {"error": {"code": outcome.code, "message": outcome.message, "details": outcome.details}}


def get_order(tx: Transaction, order_id: Any) -> dict[str, Any]:
    """The whole order with its timeline in causal order. Raises OrderNotFound."""
    id_ = _order_id(order_id)
    found = queries.order_row(tx, id_)
    if found is None:
        raise OrderNotFound("no such order", {"id": str(id_)})
    order, row = found
    timeline = in_causal_order(queries.event_rows(tx, id_))
    answer: dict[str, Any] = _ORDER.dump(
        {
            **row,
            "items": queries.item_rows(tx, id_),
            "returns": queries.return_rows(tx, id_) if order.status is OrderStatus.FULFILLED else [],
            "allowed_actions": allowed_actions(order),
            "history": queries.history_rows(tx, id_),
            "timeline": timeline,
        }
    )
    return {**answer, "reservation": _reservation(row, timeline), "payment": _payment(row, timeline)}


def cancel_order(tx: Transaction, order_id: Any, by: Any, correlation_id: Any, settings: Settings) -> dict[str, Any]:
    """The order after its cancellation was requested. Raises InvalidRequest, OrderNotFound, OrderNotCancellable."""
    return _told_by(commands.cancel_order, REQUESTERS, tx, order_id, by, correlation_id, settings)


def approve_order(tx: Transaction, order_id: Any, by: Any, correlation_id: Any, settings: Settings) -> dict[str, Any]:
    """The order once approved. Raises InvalidRequest, OrderNotFound, OrderNotApprovable."""
    return _told_by(commands.approve_order, APPROVERS, tx, order_id, by, correlation_id, settings)


def decline_order(tx: Transaction, order_id: Any, by: Any, correlation_id: Any, settings: Settings) -> dict[str, Any]:
    """The order once declined. Raises InvalidRequest, OrderNotFound, OrderNotApprovable."""
    return _told_by(commands.decline_order, APPROVERS, tx, order_id, by, correlation_id, settings)


def _told_by(
    command: Callable[[Transaction, UUID, CancelReason, str | None, Settings], None],
    known: Sequence[CancelReason],
    tx: Transaction,
    order_id: Any,
    by: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """The order after ``command``, which one of ``known`` asked for."""
    requester = _requester(by, known)
    check_request_ids(None, correlation_id)
    command(tx, _order_id(order_id), requester, correlation_id, settings)
    return get_order(tx, order_id)


def fulfil_order(
    tx: Transaction, order_id: Any, tracking: Any, idempotency_key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"order", "replayed"}. Raises InvalidRequest, OrderNotFound, OrderNotFulfillable, and what `once` raises."""
    check_request_ids(idempotency_key, correlation_id)
    load_request(_FULFIL_ORDER, {"tracking": tracking}, "fulfilment")
    id_ = _order_id(order_id)

    def fulfil() -> dict[str, Any]:
        commands.fulfil_order(tx, id_, tracking, correlation_id, settings)
        return get_order(tx, order_id)

    request = {"orderId": str(id_), "tracking": tracking}
    order, replayed = once(tx, "fulfil_order", idempotency_key, request, fulfil)
    return {"order": order, "replayed": replayed}


def return_order(
    tx: Transaction, order_id: Any, goods: Any, idempotency_key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"return", "replayed"}.

    Raises InvalidRequest, OrderNotFound, OrderNotReturnable, ReturnTooLarge, RefundTooLarge, and what `once` raises.
    """
    check_request_ids(idempotency_key, correlation_id)
    wanted = load_request(_RETURN_GOODS, goods, "goods")
    id_ = _order_id(order_id)

    def take_back() -> Any:
        return _RETURN.dump(commands.return_order(tx, id_, wanted, correlation_id, settings))

    request = {"orderId": str(id_), "goods": goods}
    taken_back, replayed = once(tx, "return_order", idempotency_key, request, take_back)
    return {"return": taken_back, "replayed": replayed}


def _requester(by: Any, known: Sequence[CancelReason]) -> CancelReason:
    if by not in known:
        raise InvalidRequest("by is nobody we know", {"errors": {"by": [f"one of {', '.join(known)}"]}})
    return CancelReason(by)


def _order_id(value: Any) -> UUID:
    id_ = _uuid(value)
    if id_ is None:
        raise OrderNotFound("no such order", {"id": str(value)[:64]})
    return id_


def in_causal_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    by_id = {row["event_id"]: row for row in rows}
    steps = (
        Step(event_id=row["event_id"], causation_id=row["causation_id"], occurred_at=row["occurred_at"]) for row in rows
    )
    return [by_id[event_id] for event_id in causal_order(steps)]


def _reservation(order: Mapping[str, Any], timeline: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """As far as the order service was told; inventory knows better."""
    reserved = [row["payload"] for row in timeline if row["event_type"] == "INVENTORY_RESERVED"]
    if not reserved:
        return None
    return {
        "state": order["stock"],
        "generation": reserved[-1].get("generation"),
        "expiresAt": reserved[-1].get("expiresAt"),
    }


def _payment(order: Mapping[str, Any], timeline: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """As far as the order service was told; payment knows better."""
    told = [row["payload"] for row in timeline if row["event_type"].startswith("PAYMENT_")]
    if not told:
        return None
    reasons = [payload["reason"] for payload in told if payload.get("reason")]
    return {"paymentId": told[-1].get("paymentId"), "state": order["money"], "reason": reasons[-1] if reasons else None}


def list_orders(tx: Transaction, limit: Any, cursor: Any, status: Any, user_id: Any) -> dict[str, Any]:
    """A page of summaries, newest first; ``nextCursor`` is None on the last one. Raises InvalidRequest."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(f"limit must be 1 to {LARGEST_PAGE}", {"errors": {"limit": ["out of range"]}})
    before = _uuid(cursor)
    if cursor is not None and before is None:
        raise InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["not a cursor"]}})
    if status is not None and status not in list(OrderStatus):
        raise InvalidRequest("no such status", {"errors": {"status": [f"one of {', '.join(OrderStatus)}"]}})
    if user_id is not None and not isinstance(user_id, str):
        raise InvalidRequest("userId must be a text", {"errors": {"userId": ["must be a text"]}})
    rows = queries.newest_orders(tx, limit=limit + 1, before=before, status=status, user_id=user_id)
    page = rows[:limit]
    return {
        "orders": [_SUMMARY.dump(row) for row in page],
        "nextCursor": str(page[-1]["id"]) if len(rows) > limit else None,
    }


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
