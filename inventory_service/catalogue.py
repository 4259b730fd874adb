"""Products and their stock as they are changed by request: made, changed, counted anew.

Owns: which rows such a request needs, and what is told of it. Beside handlers.py because nobody's saga is concerned.
Must not know: Nameko, HTTP, who asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from inventory_service import product_queries, queries
from inventory_service.handlers import Changes
from inventory_service.schemas import MOST_UNITS, Adjustment, NewProduct
from inventory_service.states import Movement, MovementKind
from shared.database import Transaction
from shared.errors import Conflict, PreconditionFailed, ProductExists, ProductNotFound


def create_product(tx: Transaction, product: NewProduct, correlation_id: str | None) -> None:
    """A new product with its first stock. Raises ProductExists."""
    if not product_queries.insert_product(tx, product):
        raise ProductExists(f"{product.item} exists already", {"item": product.item})
    changes = Changes()
    _tell(
        tx,
        changes,
        {
            "item": product.item,
            "version": 1,
            "name": product.name,
            "seller_id": product.seller_id,
            "price": product.price,
            "currency": product.currency,
            "active": True,
            "requires_approval": product.requires_approval,
        },
        correlation_id,
    )
    # The stock row was inserted with its first units: only the movement that explains them is missing.
    first = Movement(item=product.item, kind=MovementKind.INITIAL, delta_on_hand=product.on_hand)
    changes.movement_rows.append(queries.movement_row(first))
    changes.save(tx)


def update_product(
    tx: Transaction,
    item: str,
    wanted: Mapping[str, Any],
    versions: Collection[int] | None,
    correlation_id: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The product before and after, its next version; equal where ``wanted`` is what it is already.

    Raises ProductNotFound, and PreconditionFailed where its version is none of ``versions`` (None: whatever it is).
    """
    before = product_queries.product_for_update(tx, item)
    if before is None:
        raise no_such_product(item)
    if versions is not None and before["version"] not in versions:
        raise PreconditionFailed(f"{item} is at another version", {"version": before["version"]})
    if before == {**before, **wanted}:
        return before, before
    after = {**before, **wanted, "version": before["version"] + 1}
    product_queries.update_product(tx, after)
    changes = Changes()
    _tell(tx, changes, after, correlation_id)
    changes.save(tx)
    return before, after


def adjust_stock(tx: Transaction, adjustment: Adjustment, correlation_id: str | None) -> tuple[int, int]:
    """Change what is on hand; returns what was before and what is now.

    Raises ProductNotFound, or Conflict where less would be left than is reserved or more than can be counted.
    """
    stock = queries.stock_for_update(tx, [adjustment.item])
    if adjustment.item not in stock:
        raise no_such_product(adjustment.item)
    on_hand, reserved = stock[adjustment.item]
    if on_hand + adjustment.delta < reserved:
        raise Conflict(f"{reserved} of {on_hand} units are reserved", {"onHand": on_hand, "reserved": reserved})
    if on_hand + adjustment.delta > MOST_UNITS:
        raise Conflict(f"more than {MOST_UNITS} units cannot be counted", {"onHand": on_hand, "reserved": reserved})
    changes = Changes()
    correction = Movement(item=adjustment.item, kind=MovementKind.ADJUSTED, delta_on_hand=adjustment.delta)
    changes.move([correction], reason=adjustment.reason)
    changes.emit(
        tx,
        "INVENTORY_ADJUSTED",
        adjustment.item,
        cause=None,
        correlation_id=correlation_id,
        item=adjustment.item,
        delta=adjustment.delta,
        reason=adjustment.reason,
        on_hand=on_hand + adjustment.delta,
        reserved=reserved,
    )
    changes.save(tx)
    return on_hand, on_hand + adjustment.delta


def no_such_product(item: object) -> ProductNotFound:
    return ProductNotFound("no such product", {"item": str(item)[:64]})


def _tell(tx: Transaction, changes: Changes, product: Mapping[str, Any], correlation_id: str | None) -> None:
    changes.emit(tx, "PRODUCT_UPDATED", product["item"], cause=None, correlation_id=correlation_id, **product)
