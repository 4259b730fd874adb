"""Answers to requests about products and stock: validate, look up, dump.

Owns: from RPC arguments to commands and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError

from inventory_service import handlers, queries
from inventory_service.schemas import AdjustmentSchema, NewProductSchema, ProductView
from shared import idempotency
from shared.database import Transaction
from shared.errors import InvalidRequest, ProductNotFound

LARGEST_PAGE = 100
_NEW_PRODUCT, _ADJUSTMENT, _PRODUCT = NewProductSchema(), AdjustmentSchema(), ProductView()


def create_product(tx: Transaction, product: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}. Raises InvalidRequest, ProductExists, IdempotencyKeyReused, IdempotencyKeyInProgress."""
    wanted = _load(_NEW_PRODUCT, product)
    idempotency.check_request_ids(key, correlation_id)

    def run() -> dict[str, Any]:
        handlers.create_product(tx, wanted, correlation_id)
        return get_product(tx, wanted.item)

    answer, replayed = idempotency.once(tx, "create_product", key, product, run)
    return {"product": answer, "replayed": replayed}


def adjust_stock(tx: Transaction, adjustment: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}. Raises InvalidRequest, ProductNotFound, Conflict and the errors of the key."""
    wanted = _load(_ADJUSTMENT, adjustment)
    idempotency.check_request_ids(key, correlation_id)

    def run() -> dict[str, Any]:
        handlers.adjust_stock(tx, wanted, correlation_id)
        return get_product(tx, wanted.item)

    answer, replayed = idempotency.once(tx, "adjust_stock", key, adjustment, run)
    return {"product": answer, "replayed": replayed}


def get_product(tx: Transaction, item: Any) -> dict[str, Any]:
    """Raises ProductNotFound."""
    row = queries.product_row(tx, item) if isinstance(item, str) else None
    if row is None:
        raise ProductNotFound("no such product", {"item": str(item)[:64]})
    answer: dict[str, Any] = _PRODUCT.dump(row)
    return answer


def list_products(tx: Transaction, limit: Any, cursor: Any) -> dict[str, Any]:
    """A page sorted by item; ``nextCursor`` is None on the last one. Raises InvalidRequest."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(f"limit must be 1 to {LARGEST_PAGE}", {"errors": {"limit": ["out of range"]}})
    if cursor is not None and not isinstance(cursor, str):
        raise InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["not a cursor"]}})
    rows = queries.product_rows(tx, limit=limit + 1, after=cursor)
    page = rows[:limit]
    return {
        "products": [_PRODUCT.dump(row) for row in page],
        "nextCursor": page[-1]["item"] if len(rows) > limit else None,
    }


def _load(schema: Schema, value: Any) -> Any:
    if not isinstance(value, dict):
        raise InvalidRequest("the request must be an object", {"errors": {"_schema": ["must be an object"]}})
    try:
        return schema.load(value)
    except ValidationError as error:
        raise InvalidRequest("the request is not valid", {"errors": error.messages}) from error
