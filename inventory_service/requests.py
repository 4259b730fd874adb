"""Answers to requests about products, stock and reservations: validate, look up, dump.

Owns: from RPC arguments to commands and from rows to answers. Must not know: Nameko, HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from inventory_service import handlers, holds, queries
from inventory_service.schemas import (
    AdjustmentSchema,
    MovementView,
    NewHoldSchema,
    NewProductSchema,
    ProductView,
    ReservationView,
)
from inventory_service.settings import Settings
from shared import idempotency
from shared.database import Transaction
from shared.errors import InvalidRequest, ProductNotFound, ReservationNotFound
from shared.event_schema import load_request, moment_text

LARGEST_PAGE = 100
_NEW_PRODUCT, _ADJUSTMENT, _NEW_HOLD = NewProductSchema(), AdjustmentSchema(), NewHoldSchema()
_PRODUCT, _MOVEMENT, _RESERVATION = ProductView(), MovementView(), ReservationView()
EndHold: TypeAlias = Callable[[Transaction, UUID, str | None, Settings], None]

# Products and stock


def create_product(tx: Transaction, product: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}. Raises InvalidRequest, ProductExists, IdempotencyKeyReused, IdempotencyKeyInProgress."""
    wanted = load_request(_NEW_PRODUCT, product)
    idempotency.check_request_ids(key, correlation_id)

    def run() -> dict[str, Any]:
        handlers.create_product(tx, wanted, correlation_id)
        return get_product(tx, wanted.item)

    answer, replayed = idempotency.once(tx, "create_product", key, product, run)
    return {"product": answer, "replayed": replayed}


def adjust_stock(tx: Transaction, adjustment: Any, key: Any, correlation_id: Any) -> dict[str, Any]:
    """{"product", "replayed"}. Raises InvalidRequest, ProductNotFound, Conflict and the errors of the key."""
    wanted = load_request(_ADJUSTMENT, adjustment)
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
    _check_limit(limit)
    if cursor is not None and not isinstance(cursor, str):
        raise _not_a_cursor()
    rows = queries.product_rows(tx, limit=limit + 1, after=cursor)
    page = rows[:limit]
    return {
        "products": [_PRODUCT.dump(row) for row in page],
        "nextCursor": page[-1]["item"] if len(rows) > limit else None,
    }


def list_movements(tx: Transaction, item: Any, limit: Any, cursor: Any) -> dict[str, Any]:
    """Why units of one item moved, newest first. Raises InvalidRequest, ProductNotFound."""
    _check_limit(limit)
    before = _number_of(cursor)
    get_product(tx, item)
    rows = queries.movement_rows(tx, item, limit=limit + 1, before=before)
    page = rows[:limit]
    return {
        "movements": [_MOVEMENT.dump(row) for row in page],
        "nextCursor": str(page[-1]["id"]) if len(rows) > limit else None,
    }


# Reservations


def reserve_stock(
    tx: Transaction, reservation: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"reservation", "replayed"}.

    Raises InvalidRequest, UnknownItem, OutOfStock, ReservationExists and the errors of the key.
    """
    wanted = load_request(_NEW_HOLD, reservation)
    idempotency.check_request_ids(key, correlation_id)

    def run() -> dict[str, Any]:
        return get_reservation(tx, str(holds.reserve(tx, wanted, correlation_id, settings)))

    answer, replayed = idempotency.once(tx, "reserve_stock", key, reservation, run)
    return {"reservation": answer, "replayed": replayed}


def release_reservation(
    tx: Transaction, reservation_id: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"reservation", "replayed"}.

    Raises ReservationNotFound, ForeignReservation, ReservationNotHeld and the errors of the key.
    """
    return _end_hold(tx, "release_reservation", holds.release, reservation_id, key, correlation_id, settings)


def commit_reservation(
    tx: Transaction, reservation_id: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """As :func:`release_reservation`."""
    return _end_hold(tx, "commit_reservation", holds.commit, reservation_id, key, correlation_id, settings)


def _end_hold(
    tx: Transaction, scope: str, end: EndHold, reservation_id: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    idempotency.check_request_ids(key, correlation_id)
    id_ = _reservation_id(reservation_id)

    def run() -> dict[str, Any]:
        end(tx, id_, correlation_id, settings)
        return get_reservation(tx, str(id_))

    answer, replayed = idempotency.once(tx, scope, key, {"reservationId": str(id_)}, run)
    return {"reservation": answer, "replayed": replayed}


def get_reservation(tx: Transaction, reservation_id: Any) -> dict[str, Any]:
    """A manual hold, or the newest generation of an order's reservation. Raises ReservationNotFound."""
    row = queries.reservation_row(tx, _reservation_id(reservation_id))
    if row is None:
        raise _no_such_reservation(reservation_id)
    answer: dict[str, Any] = _RESERVATION.dump(row)
    return answer


def list_reservations(tx: Transaction, limit: Any, cursor: Any, status: Any) -> dict[str, Any]:
    """A page, newest first; ``nextCursor`` is None on the last one. Raises InvalidRequest."""
    _check_limit(limit)
    if status is not None and status not in handlers.RESERVATION_STATUSES:
        known = ", ".join(handlers.RESERVATION_STATUSES)
        raise InvalidRequest("no such status", {"errors": {"status": [f"one of {known}"]}})
    rows = queries.reservation_rows(tx, limit=limit + 1, before=_place_of(cursor), status=status)
    page = rows[:limit]
    return {
        "reservations": [_RESERVATION.dump(row) for row in page],
        "nextCursor": f"{moment_text(page[-1]['created_at'])}_{page[-1]['id']}" if len(rows) > limit else None,
    }


# What came with a request


def _reservation_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise _no_such_reservation(value) from None


def _no_such_reservation(value: Any) -> ReservationNotFound:
    return ReservationNotFound("no such reservation", {"id": str(value)[:64]})


def _check_limit(limit: Any) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(f"limit must be 1 to {LARGEST_PAGE}", {"errors": {"limit": ["out of range"]}})


def _number_of(cursor: Any) -> int | None:
    if cursor is None:
        return None
    if not (isinstance(cursor, str) and cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise _not_a_cursor()
    return int(cursor)


def _place_of(cursor: Any) -> tuple[datetime, UUID] | None:
    """(when it was made, which) of the last reservation of the page before."""
    if cursor is None:
        return None
    try:
        moment, _, id_ = cursor.partition("_")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is not None:
            return created_at, UUID(id_)
    except (ValueError, AttributeError, TypeError):
        pass
    raise _not_a_cursor()


def _not_a_cursor() -> InvalidRequest:
    return InvalidRequest("cursor is not one of ours", {"errors": {"cursor": ["not a cursor"]}})
