"""Answers to requests about orders: validate, look up, dump.

Owns: from RPC arguments to commands and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from order_service import archive, commands, queries, reading
from order_service.access import customer_of, order_not_found, refuse_stranger
from order_service.board import awaited, step_of
from order_service.commands import Asking
from order_service.domain import allowed_actions
from order_service.placing import Placed, Request
from order_service.schemas import (
    FulfilOrderSchema,
    OrderView,
    PlaceOrder,
    PlaceOrderSchema,
    ReturnGoodsSchema,
    ReturnView,
    pairs,
)
from order_service.settings import Settings
from order_service.states import Order, OrderStatus
from order_service.timeline import Step, causal_order
from shared.database import Transaction
from shared.errors import InvalidRequest, OrderSagaError
from shared.event_schema import load_request
from shared.idempotency import check_request_ids, once, owned_key, request_hash
from shared.identity import Identity, Party, read_identity
from shared.logs import get_logger
from shared.order_log import say_in_parts

log = get_logger(__name__)

MOST_AT_ONCE = 1000
REQUESTERS = (Party.CUSTOMER, Party.SELLER, Party.OPERATOR)
APPROVERS = (Party.SELLER, Party.OPERATOR)
_PLACE_ORDER, _FULFIL_ORDER, _RETURN_GOODS = PlaceOrderSchema(), FulfilOrderSchema(), ReturnGoodsSchema()
_ORDER, _RETURN = OrderView(), ReturnView()


def read_request(
    caller: Identity, order: Any, idempotency_key: Any = None, correlation_id: Any = None, traceparent: Any = None
) -> Request:
    """Raises InvalidRequest with the errors of every field, Forbidden for who may not order, or not in that name."""
    check_request_ids(idempotency_key, correlation_id)
    said = load_request(_PLACE_ORDER, order, "order")
    user_id = customer_of(caller, said.pop("user_id", None))
    wanted = PlaceOrder(user_id=user_id, items=pairs(said.pop("items", ())), **said)
    return Request(
        order=wanted,
        # Whether its sender says the name or leaves it out, it is the same request.
        hash=request_hash({**order, "userId": user_id}),
        key=owned_key(caller, idempotency_key),
        correlation_id=correlation_id,
        traceparent=traceparent,
    )


def read_requests(caller: Identity, orders: Any) -> list[Request | OrderSagaError]:
    """For bulk placing: each entry is {"order", "idempotencyKey"?, "correlationId"?, "identity"?, "traceparent"?}.

    A bad one is its own refusal. ``identity`` (the text of Identity.header) is in whose name a trusted caller, such
    as the gateway, passes the entry on; from anybody else it counts for nothing.
    """
    if not isinstance(orders, list) or not 1 <= len(orders) <= MOST_AT_ONCE:
        raise InvalidRequest(f"orders must be a list of 1 to {MOST_AT_ONCE}")
    return [_read_entry(caller, entry) for entry in orders]


def _read_entry(caller: Identity, entry: Any) -> Request | OrderSagaError:
    if not isinstance(entry, dict):
        return InvalidRequest("each entry must be an object")
    try:
        customer = read_identity(entry.get("identity")) if caller.is_trusted else caller
        ids = (entry.get("idempotencyKey"), entry.get("correlationId"), entry.get("traceparent"))
        return read_request(customer, entry.get("order"), *ids)
    except OrderSagaError as error:
        return error


def outcome_answer(outcome: Placed | OrderSagaError) -> dict[str, Any]:
    """{"order", "replayed"} or {"error": {"code", "message", "details"}}."""
    if isinstance(outcome, Placed):
        return {"order": outcome.summary, "replayed": outcome.replayed}
    return error_answer(outcome)


def report_placed(requests: Sequence[Request], outcomes: Sequence[Placed | OrderSagaError]) -> None:
    """Once they are committed: in the log, under which correlation id each new order goes."""
    placed = [
        (outcome.summary["id"], request.correlation_id)
        for request, outcome in zip(requests, outcomes, strict=True)
        if isinstance(outcome, Placed) and not outcome.replayed
    ]
    orders, correlation_ids = [id_ for id_, _ in placed], [correlation_id for _, correlation_id in placed]
    say_in_parts(log, "orders_placed", {"orders": orders, "correlation_ids": correlation_ids})


def error_answer(error: OrderSagaError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}


def get_order(tx: Transaction, caller: Identity, order_id: Any) -> dict[str, Any]:
    """The whole order with its timeline in causal order, archived or not. Raises OrderNotFound."""
    id_ = read_order_id(order_id)
    found = reading.order_row(tx, id_)
    if found is None:
        return _archived_order(tx, caller, id_)
    order, row = found
    refuse_stranger(caller, row)
    return whole_order(
        order,
        row,
        items=queries.item_rows(tx, id_),
        returns=queries.return_rows(tx, id_) if order.status is OrderStatus.FULFILLED else [],
        history=reading.history_rows(tx, id_),
        events=reading.event_rows(tx, id_),
    )


def _archived_order(tx: Transaction, caller: Identity, order_id: UUID) -> dict[str, Any]:
    found = archive.find(tx, order_id)
    if found is None:
        raise order_not_found(order_id)
    refuse_stranger(caller, found._mapping)
    return archive.order_answer(found)


def whole_order(
    order: Order,
    row: Mapping[str, Any],
    *,
    items: Sequence[Mapping[str, Any]],
    returns: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that is shown of an order; ``events`` as they were recorded."""
    timeline = in_causal_order(events)
    parts = {"items": items, "returns": returns, "history": history, "timeline": timeline}
    now = {"allowed_actions": allowed_actions(order), "step": step_of(order), "waits_for": awaited(order)}
    answer: dict[str, Any] = _ORDER.dump({**row, **parts, **now})
    return {**answer, "reservation": _reservation(row, timeline), "payment": _payment(row, timeline)}


def cancel_order(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    by: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """{"order", "replayed"}. Raises InvalidRequest, what the command raises, and what `once` raises."""
    check_request_ids(idempotency_key, correlation_id)
    asking = _asking(caller, order_id, _requester(by, REQUESTERS), correlation_id)
    return _told(tx, asking, "cancel_order", commands.cancel_order, idempotency_key, settings, by=asking.by)


def approve_order(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    by: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """As :func:`cancel_order`."""
    check_request_ids(idempotency_key, correlation_id)
    asking = _asking(caller, order_id, _requester(by, APPROVERS), correlation_id)
    return _told(tx, asking, "approve_order", commands.approve_order, idempotency_key, settings, by=asking.by)


def decline_order(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    by: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """As :func:`cancel_order`."""
    check_request_ids(idempotency_key, correlation_id)
    asking = _asking(caller, order_id, _requester(by, APPROVERS), correlation_id)
    return _told(tx, asking, "decline_order", commands.decline_order, idempotency_key, settings, by=asking.by)


def fulfil_order(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    tracking: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """As :func:`cancel_order`."""
    check_request_ids(idempotency_key, correlation_id)
    load_request(_FULFIL_ORDER, {"tracking": tracking}, "fulfilment")
    asking = _asking(caller, order_id, None, correlation_id)
    command = partial(commands.fulfil_order, tracking=tracking)
    return _told(tx, asking, "fulfil_order", command, idempotency_key, settings, tracking=tracking)


def _told(
    tx: Transaction,
    asking: Asking,
    scope: str,
    command: Callable[..., None],
    idempotency_key: str | None,
    settings: Settings,
    **said: Any,
) -> dict[str, Any]:
    """{"order": as it is after ``command``, "replayed"}. ``said``: what the request says beside the order."""

    def tell() -> dict[str, Any]:
        command(tx, asking, settings=settings)
        return get_order(tx, asking.caller, str(asking.order_id))

    request = {"orderId": str(asking.order_id), **said}
    order, replayed = once(tx, scope, owned_key(asking.caller, idempotency_key), request, tell)
    return {"order": order, "replayed": replayed}


def _asking(caller: Identity, order_id: Any, by: Party | None, correlation_id: Any) -> Asking:
    return Asking(caller=caller, order_id=read_order_id(order_id), by=by, correlation_id=correlation_id)


def return_order(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    goods: Any,
    idempotency_key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    """{"return", "replayed"}. Raises InvalidRequest, what the command raises, and what `once` raises."""
    check_request_ids(idempotency_key, correlation_id)
    wanted = load_request(_RETURN_GOODS, goods, "goods")
    asking = _asking(caller, order_id, None, correlation_id)

    def take_back() -> Any:
        return _RETURN.dump(commands.return_order(tx, asking, wanted, settings))

    request = {"orderId": str(asking.order_id), "goods": goods}
    taken_back, replayed = once(tx, "return_order", owned_key(caller, idempotency_key), request, take_back)
    return {"return": taken_back, "replayed": replayed}


def _requester(by: Any, known: Sequence[Party]) -> Party | None:
    if by is not None and by not in known:
        raise InvalidRequest("by is nobody we know", {"errors": {"by": [f"one of {', '.join(known)}"]}})
    return None if by is None else Party(by)


def read_order_id(value: Any) -> UUID:
    """Raises OrderNotFound: what cannot be an id names no order."""
    id_ = as_uuid(value)
    if id_ is None:
        raise order_not_found(value)
    return id_


def as_uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


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
