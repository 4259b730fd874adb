"""Placing orders: several requests at a time, each with its own answer or refusal.

Owns: idempotency keys, prices and rows of new orders, and the carts that become them. Beside handlers.py because it is
the one command that comes in bulk and has errors per request instead of per batch.

Locks: the carts, sorted by id (carts.py), then the keys, which are only tried. Carts first: whoever sends the same
request twice at once waits for the first one and gets its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from order_service import carts, queries
from order_service.carts import Checkouts
from order_service.domain import new_order
from order_service.handlers import Changes
from order_service.pricing import CannotPlace, Priced, Product, check_price, price_order
from order_service.schemas import OrderSummaryView, PlaceOrder
from order_service.settings import Settings
from shared import idempotency, tracing
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import (
    CartNotFound,
    IdempotencyKeyInProgress,
    MixedCurrencies,
    MixedSellers,
    OrderSagaError,
    PriceMismatch,
    UnknownItem,
    Unprocessable,
)

SCOPE = "place_order"
_ERRORS: dict[str, type[OrderSagaError]] = {
    "unknown_item": UnknownItem,
    "mixed_sellers": MixedSellers,
    "mixed_currencies": MixedCurrencies,
    "price_mismatch": PriceMismatch,
    "price_too_high": Unprocessable,
    **carts.ERRORS,
}
_SUMMARY = OrderSummaryView()
_TWICE = idempotency.Claim(error=IdempotencyKeyInProgress("the same key comes twice at once"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One order to place. ``hash`` stands for the payload: the same key with another hash is refused.

    ``key`` is the caller's own (idempotency.owned_key), ``traceparent`` the trace of the HTTP request.
    """

    order: PlaceOrder
    hash: str
    key: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    summary: dict[str, Any]
    replayed: bool


Outcome: TypeAlias = Placed | OrderSagaError


def place_orders(tx: Transaction, requests: Sequence[Request], settings: Settings) -> list[Outcome]:
    """An outcome for each request, in order. All orders and their ORDER_CREATED are saved together."""
    checkouts = Checkouts(tx, (r.order.cart_id for r in requests))
    claims = _claim_keys(tx, requests)
    products = queries.products(tx, chain(checkouts.items, (item for r in requests for item, _ in r.order.items)))
    new = _New(checkouts)
    outcomes: list[Outcome] = []
    for request in requests:
        claim = claims.pop(request.key, _TWICE) if request.key is not None else idempotency.Claim()
        if claim.error:
            outcomes.append(claim.error)
        elif not claim.is_new:
            outcomes.append(Placed(summary=claim.answer, replayed=True))
        else:
            outcomes.append(new.place(tx, request, products, settings))
    new.save(tx)
    return outcomes


def _claim_keys(tx: Transaction, requests: Sequence[Request]) -> dict[str, idempotency.Claim]:
    """For each key the claim of the first request that bears it."""
    return idempotency.claim(tx, SCOPE, first_hashes(requests))


def first_hashes(requests: Sequence[Request]) -> dict[str, str]:
    """Key → hash. Where a key comes twice the first one counts: the other must not get the first one's answer."""
    return {r.key: r.hash for r in reversed(requests) if r.key is not None}


class _New:
    """Rows of new orders, gathered and saved in one statement per table."""

    def __init__(self, checkouts: Checkouts) -> None:
        self._checkouts = checkouts
        self._orders: list[dict[str, Any]] = []
        self._items: list[dict[str, Any]] = []
        self._answers: list[tuple[str, str, Any]] = []
        self._changes = Changes()

    def place(self, tx: Transaction, request: Request, products: dict[str, Product], settings: Settings) -> Outcome:
        try:
            priced = price_order(self._lines(request.order), products)
            check_price(priced, request.order.price, request.order.currency)
        except CannotPlace as refusal:
            return _ERRORS[refusal.kind](refusal.message, refusal.details)
        except CartNotFound as error:
            return error
        row = self._add(tx, request, priced, settings)
        if request.order.cart_id is not None:
            self._checkouts.becomes(request.order.cart_id, row["id"])
        summary = _SUMMARY.dump({**row, "created_at": tx.now, "updated_at": tx.now})
        if request.key is not None:
            self._answers.append((request.key, request.hash, summary))
        return Placed(summary=summary, replayed=False)

    def _lines(self, wanted: PlaceOrder) -> Sequence[tuple[str, int]]:
        """Raises CartNotFound, CannotPlace."""
        return wanted.items if wanted.cart_id is None else self._checkouts.lines(wanted.cart_id, wanted.user_id)

    def _add(self, tx: Transaction, request: Request, priced: Priced, settings: Settings) -> dict[str, Any]:
        order_id = new_id()
        correlation_id = request.correlation_id or str(order_id)
        wanted = request.order
        order = new_order(
            order_id,
            priced.price,
            requires_approval=priced.requires_approval,
            now=tx.now,
            rules=settings.rules,
        )
        row = {
            "id": order_id,
            "user_id": wanted.user_id,
            "seller_id": priced.lines[0].seller_id,
            "status": order.status,
            "price": order.price,
            "currency": priced.currency,
            "payment_method": wanted.payment_method,
            "payment_mode": wanted.payment_mode,
            "shipping_address": wanted.shipping_address,
            "correlation_id": correlation_id,
            "awaits_approval": order.awaits_approval,
            "deadline_at": order.deadline_at,
            "wake_at": order.wake_at,
        }
        self._orders.append(row)
        self._items += [
            {
                "order_id": order_id,
                "item": line.item,
                "seller_id": line.seller_id,
                "quantity": line.quantity,
                "price": line.price,
            }
            for line in priced.lines
        ]
        envelope = self._changes.emit(
            tx,
            "ORDER_CREATED",
            order_id,
            cause=None,
            correlation_id=correlation_id,
            traceparent=tracing.order_placed(order_id, correlation_id, request.traceparent),
            user_id=wanted.user_id,
            items=priced.lines,
            price=priced.price,
            currency=priced.currency,
            status=order.status,
            payment_method=wanted.payment_method,
            payment_mode=wanted.payment_mode,
            requires_approval=priced.requires_approval,
        )
        self._changes.history.append(
            {
                "order_id": order_id,
                "from_status": None,
                "status": order.status,
                "reason": None,
                "event_id": envelope.event_id,
            }
        )
        return row

    def save(self, tx: Transaction) -> None:
        queries.insert_orders(tx, self._orders)
        queries.insert_items(tx, self._items)
        self._checkouts.save(tx)
        self._changes.save(tx)
        idempotency.remember(tx, SCOPE, self._answers)
