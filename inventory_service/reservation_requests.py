"""Answers to requests about reservations and manual holds: validate, look up whose it is, have it done, dump.

Owns: from RPC arguments to commands and from rows to answers, and what is recorded of whoever asked.
Must not know: Nameko, HTTP. What is foreign is not found; what may be seen but not done is Forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from inventory_service import access, handlers, holds, product_queries, queries
from inventory_service.schemas import NewHold, NewHoldSchema, ReservationView
from inventory_service.settings import Settings
from shared import audit, idempotency, pages
from shared.database import Transaction
from shared.errors import Forbidden, ReservationNotFound
from shared.event_schema import load_request
from shared.identity import Identity

_NEW_HOLD, _RESERVATION = NewHoldSchema(), ReservationView()
EndHold: TypeAlias = Callable[[Transaction, UUID, str | None, Settings], None]


def reserve_stock(
    tx: Transaction, caller: Identity, reservation: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"reservation", "replayed"}.

    Raises InvalidRequest, Forbidden, UnknownItem, OutOfStock, ReservationExists and the errors of the key.
    """
    access.require_stock_keeper(caller)
    wanted: NewHold = load_request(_NEW_HOLD, reservation)
    idempotency.check_request_ids(key, correlation_id)
    sellers = product_queries.sellers(tx, (line.item for line in wanted.lines))
    access.require_seller_of(caller, sellers)
    sold_by = set(sellers.values())
    seller_id = next(iter(sold_by)) if len(sold_by) == 1 else None

    def run() -> dict[str, Any]:
        held = _view(tx, holds.reserve(tx, wanted, seller_id, correlation_id, settings))
        audit.record(tx, caller, "reserve_stock", "reservation", held["id"], request_id=correlation_id, after=held)
        return held

    answer, replayed = idempotency.once(tx, "reserve_stock", idempotency.owned_key(caller, key), reservation, run)
    return {"reservation": answer, "replayed": replayed}


def release_reservation(
    tx: Transaction, caller: Identity, reservation_id: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """{"reservation", "replayed"}.

    Raises ReservationNotFound, Forbidden, ForeignReservation, ReservationNotHeld and the errors of the key.
    """
    return _end_hold(tx, caller, "release_reservation", holds.release, reservation_id, key, correlation_id, settings)


def commit_reservation(
    tx: Transaction, caller: Identity, reservation_id: Any, key: Any, correlation_id: Any, settings: Settings
) -> dict[str, Any]:
    """As :func:`release_reservation`."""
    return _end_hold(tx, caller, "commit_reservation", holds.commit, reservation_id, key, correlation_id, settings)


def _end_hold(
    tx: Transaction,
    caller: Identity,
    action: str,
    end: EndHold,
    reservation_id: Any,
    key: Any,
    correlation_id: Any,
    settings: Settings,
) -> dict[str, Any]:
    idempotency.check_request_ids(key, correlation_id)
    id_ = _reservation_id(reservation_id)
    _require_keeper(tx, caller, id_)

    def run() -> dict[str, Any]:
        end(tx, id_, correlation_id, settings)
        ended = _view(tx, id_)
        audit.record(
            tx,
            caller,
            action,
            "reservation",
            id_,
            request_id=correlation_id,
            before={"status": handlers.HELD},
            after={"status": ended["status"]},
        )
        return ended

    request = {"reservationId": str(id_)}
    answer, replayed = idempotency.once(tx, action, idempotency.owned_key(caller, key), request, run)
    return {"reservation": answer, "replayed": replayed}


def _require_keeper(tx: Transaction, caller: Identity, id_: UUID) -> None:
    """Raises ReservationNotFound, Forbidden. Whose a holding is does not change once it is held."""
    known = queries.parties(tx, id_)
    if known is None:
        raise _no_such_reservation(id_)
    parties = caller.parties_to(user_id=known[0], seller_id=known[1])
    if not parties:
        raise _no_such_reservation(id_)
    if not access.may_end_holds(parties):
        raise Forbidden("only the seller and operators release and commit what is held")


def get_reservation(tx: Transaction, caller: Identity, reservation_id: Any) -> dict[str, Any]:
    """A manual hold, or the newest generation of an order's reservation. Raises ReservationNotFound."""
    id_ = _reservation_id(reservation_id)
    found = _view(tx, id_)
    if not caller.parties_to(user_id=found["userId"], seller_id=found["sellerId"]):
        raise _no_such_reservation(id_)
    return found


def list_reservations(
    tx: Transaction, caller: Identity, limit: Any, cursor: Any, status: Any, seller_id: Any = None
) -> dict[str, Any]:
    """A page of what the caller is a party to, newest first. Raises InvalidRequest."""
    pages.check_limit(limit)
    only_status = pages.one_of("status", status, handlers.RESERVATION_STATUSES)
    before = pages.id_cursor(cursor)
    scopes = access.reservation_scopes(caller, pages.filter_text("sellerId", seller_id))
    found: dict[UUID, Mapping[str, Any]] = {}
    for scope in scopes:
        rows = queries.reservation_rows(
            tx,
            limit=limit + 1,
            before=before,
            status=only_status,
            user_id=scope.user_id,
            seller_id=scope.seller_id,
        )
        found |= {row["id"]: row for row in rows}
    newest_first = sorted(found.values(), key=lambda row: row["id"], reverse=True)
    page, next_cursor = pages.cut(newest_first[: limit + 1], limit, "id")
    return {"reservations": _RESERVATION.dump(page, many=True), "nextCursor": next_cursor}


def _view(tx: Transaction, id_: UUID) -> dict[str, Any]:
    row = queries.reservation_row(tx, id_)
    if row is None:
        raise _no_such_reservation(id_)
    answer: dict[str, Any] = _RESERVATION.dump(row)
    return answer


def _reservation_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise _no_such_reservation(value) from None


def _no_such_reservation(value: Any) -> ReservationNotFound:
    return ReservationNotFound("no such reservation", {"id": str(value)[:64]})
