"""Answers to requests about products and stock: validate, look up whose it is, have it done, dump.

Owns: from RPC arguments to commands and from rows to answers, and what is recorded of whoever asked.
Must not know: Nameko, HTTP. Reservations are in reservation_requests.py, the rights in access.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inventory_service import access, catalogue, product_queries, queries
from inventory_service.schemas import (
    AdjustmentSchema,
    MovementView,
    NewProduct,
    NewProductSchema,
    ProductChangesSchema,
    ProductView,
    StockView,
)
from shared import audit, idempotency, pages
from shared.database import Transaction
from shared.errors import Forbidden, InvalidRequest
from shared.event_schema import load_request
from shared.identity import Identity, Role

ACTIVE = {"true": True, "false": False, "any": None}
MOST_VERSIONS = 100
_NEW_PRODUCT, _ADJUSTMENT, _CHANGES = NewProductSchema(), AdjustmentSchema(), ProductChangesSchema(partial=True)
_PRODUCT, _STOCK, _MOVEMENT = ProductView(), StockView(), MovementView()


def create_product(tx: Transaction, caller: Identity, product: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}. A seller's product is their own, whether they say so or not.

    Raises InvalidRequest, Forbidden, ProductExists, IdempotencyKeyReused, IdempotencyKeyInProgress.
    """
    access.require_stock_keeper(caller)
    said = _with_own_shop(caller, product)
    wanted: NewProduct = load_request(_NEW_PRODUCT, said)
    access.require_seller_of(caller, {wanted.item: wanted.seller_id})
    idempotency.check_request_ids(key, correlation_id)

    def run() -> dict[str, Any]:
        catalogue.create_product(tx, wanted, correlation_id)
        made = get_product(tx, wanted.item)
        audit.record(tx, caller, "create_product", "product", wanted.item, request_id=correlation_id, after=made)
        return made

    answer, replayed = idempotency.once(tx, "create_product", idempotency.owned_key(caller, key), said, run)
    return {"product": answer, "replayed": replayed}


def _with_own_shop(caller: Identity, product: Any) -> Any:
    is_left_out = isinstance(product, dict) and "sellerId" not in product
    if not is_left_out or caller.is_trusted or not caller.has(Role.SELLER):
        return product
    if caller.seller_id is None:
        raise Forbidden("no shop is known that this seller sells for")
    return {**product, "sellerId": caller.seller_id}


def update_product(
    tx: Transaction, caller: Identity, item: Any, changes: Any, versions: Any, correlation_id: Any
) -> dict[str, Any]:
    """The product as it is now. ``versions``: those that its sender has seen; None is whatever it is.

    Raises InvalidRequest, ProductNotFound, Forbidden, PreconditionFailed.
    """
    wanted = load_request(_CHANGES, changes, "changes")
    known_versions = _versions(versions)
    idempotency.check_request_ids(None, correlation_id)
    _require_seller_of(tx, caller, item)
    before, after = catalogue.update_product(tx, item, wanted, known_versions, correlation_id)
    if before != after:
        names = [name for name in before if before[name] != after[name]]
        audit.record(
            tx,
            caller,
            "update_product",
            "product",
            item,
            request_id=correlation_id,
            before=_PRODUCT.dump({name: before[name] for name in names}),
            after=_PRODUCT.dump({name: after[name] for name in names}),
        )
    return get_product(tx, item)


def _versions(value: Any) -> frozenset[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MOST_VERSIONS or any(type(entry) is not int for entry in value):
        raise InvalidRequest("versions are whole numbers", {"errors": {"versions": ["must be a list of numbers"]}})
    return frozenset(value)


def adjust_stock(tx: Transaction, caller: Identity, adjustment: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}.

    Raises InvalidRequest, ProductNotFound, Forbidden, Conflict and the errors of the key.
    """
    wanted = load_request(_ADJUSTMENT, adjustment)
    idempotency.check_request_ids(key, correlation_id)
    _require_seller_of(tx, caller, wanted.item)

    def run() -> dict[str, Any]:
        before, after = catalogue.adjust_stock(tx, wanted, correlation_id)
        audit.record(
            tx,
            caller,
            "adjust_stock",
            "product",
            wanted.item,
            request_id=correlation_id,
            before={"onHand": before},
            after={"onHand": after, "reason": wanted.reason},
        )
        return get_product(tx, wanted.item)

    answer, replayed = idempotency.once(tx, "adjust_stock", idempotency.owned_key(caller, key), adjustment, run)
    return {"product": answer, "replayed": replayed}


def get_product(tx: Transaction, item: Any) -> dict[str, Any]:
    """Raises ProductNotFound."""
    answer: dict[str, Any] = _PRODUCT.dump(_row(tx, item))
    return answer


def _row(tx: Transaction, item: Any) -> Mapping[str, Any]:
    row = product_queries.product_row(tx, item) if isinstance(item, str) else None
    if row is None:
        raise catalogue.no_such_product(item)
    return row


def _require_seller_of(tx: Transaction, caller: Identity, item: Any) -> None:
    access.require_seller_of(caller, {item: _row(tx, item)["seller_id"]})


def list_products(
    tx: Transaction, limit: Any, cursor: Any, part: Any = None, seller_id: Any = None, active: Any = "any"
) -> dict[str, Any]:
    """A page sorted by item; ``part`` is part of a name or an item. Raises InvalidRequest."""
    pages.check_limit(limit)
    is_active = ACTIVE[pages.one_of("active", active, tuple(ACTIVE)) or "any"]
    rows = product_queries.product_rows(
        tx,
        limit=limit + 1,
        after=pages.text_cursor(cursor),
        seller_id=pages.filter_text("sellerId", seller_id),
        is_active=is_active,
        part=pages.filter_text("text", part),
    )
    page, next_cursor = pages.cut(rows, limit, "item")
    return {"products": _PRODUCT.dump(page, many=True), "nextCursor": next_cursor}


def list_stock(
    tx: Transaction, caller: Identity, limit: Any, cursor: Any, seller_id: Any = None, item: Any = None
) -> dict[str, Any]:
    """A page sorted by item: sellers see their own. Raises InvalidRequest, Forbidden."""
    pages.check_limit(limit)
    after, only_item = pages.text_cursor(cursor), pages.filter_text("item", item)
    scope = access.stock_scope(caller, pages.filter_text("sellerId", seller_id))
    if scope is None:
        return {"stock": [], "nextCursor": None}
    rows = product_queries.product_rows(tx, limit=limit + 1, after=after, seller_id=scope.seller_id, item=only_item)
    page, next_cursor = pages.cut(rows, limit, "item")
    return {"stock": _STOCK.dump(page, many=True), "nextCursor": next_cursor}


def list_movements(tx: Transaction, caller: Identity, item: Any, limit: Any, cursor: Any) -> dict[str, Any]:
    """Why units of one item moved, newest first. Raises InvalidRequest, ProductNotFound, Forbidden."""
    pages.check_limit(limit)
    before = pages.number_cursor(cursor)
    _require_seller_of(tx, caller, item)
    rows = queries.movement_rows(tx, item, limit=limit + 1, before=before)
    page, next_cursor = pages.cut(rows, limit, "id")
    return {"movements": _MOVEMENT.dump(page, many=True), "nextCursor": next_cursor}
