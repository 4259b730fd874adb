"""What the services have in common when they tell their side of orders, so that sides can be compared.

Owns: walking through the orders that a service knows, all of them or those that changed, and what may be asked at once.
Must not know: what a service knows of an order, or what another one should know.

What changed is read from a table that is only ever added to, along its own numbers: no index has to be kept for it.
A number is taken before its transaction commits, so nothing is read that is younger than ``quiet_s``: until then a
lower number may still appear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from shared import audit, pages
from shared.database import Transaction
from shared.errors import Forbidden, InvalidRequest
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity, Role
from shared.outbox import AGAIN_CHANNEL, NOTIFY_CHANNEL

MOST_AT_ONCE = 500
ROWS_PER_ORDER = 8
"""How many rows of what changed are read for each order that is wanted: an order leaves several."""
SHORTEST_QUIET_S = 1.0
LONGEST_AGO_S = 400 * 24 * 3600.0
_BACKLOG = text("""
select count(*) as events, min(occurred_at) as oldest from (
    select occurred_at from outbox where published_at is null order by id limit 1000) unpublished
""")
_REPUBLISH = text(f"""
update outbox set published_at = null
where event_id = cast(:event_id as uuid) and aggregate_id = :aggregate_id and published_at is not null
returning event_type, pg_notify('{NOTIFY_CHANNEL}', ''), pg_notify('{AGAIN_CHANNEL}', '') as again
""")  # noqa: S608


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """``changed``: rows (position, order_id, at) after ``:after`` in their order, ``:limit`` of them.

    ``head``: the position of the newest row before ``:before``. ``every``: order_id after ``:after``, in their order.
    """

    changed: TextClause
    head: TextClause
    every: TextClause


def refuse_all_but_operators(caller: Identity) -> None:
    """Raises Forbidden."""
    if not caller.has(Role.ADMIN):
        raise Forbidden("comparing and repairing is for operators")


def walk(
    tx: Transaction, feed: Feed, caller: Identity, *, after: Any, limit: Any, full: Any, quiet_s: Any, ago_s: Any
) -> dict[str, Any]:
    """{"orderIds", "next", "isEnd"}: the orders after ``after``, and where to go on. "changedAt": when they changed.

    ``full``: every order there is; else those that changed. Of these a walk without ``after`` begins with those that
    changed ``ago_s`` ago, and its first answer is only where that is. Raises Forbidden, InvalidRequest.
    """
    refuse_all_but_operators(caller)
    most, quiet = read_limit(limit), read_seconds("quietS", quiet_s)
    if full:
        after_id = pages.id_cursor(after)
        rows = tx.fetch(feed.every, after=str(after_id) if after_id else None, limit=most)
        ids = [str(row.order_id) for row in rows]
        return {"orderIds": ids, "next": ids[-1] if ids else after, "isEnd": len(ids) < most}
    position = pages.number_cursor(after)
    if position is None:
        before = tx.now - max(quiet, read_seconds("agoS", quiet_s if ago_s is None else ago_s))
        found = tx.fetch(feed.head, before=before)
        return {"orderIds": [], "next": str(found[0].position if found else 0), "isEnd": False}
    return _changed(tx, feed, position, most, tx.now - quiet)


def _changed(tx: Transaction, feed: Feed, position: int, most: int, oldest: datetime) -> dict[str, Any]:
    """At most ``most`` orders, each once, whatever number of rows it left."""
    read = most * ROWS_PER_ORDER
    rows = old_enough(tx.fetch(feed.changed, after=position, limit=read), oldest)
    changes: dict[str, str] = {}
    is_end = len(rows) < read
    for row in rows:
        if len(changes) == most and row.order_id is not None and str(row.order_id) not in changes:
            is_end = False
            break
        if row.order_id is not None:
            changes[str(row.order_id)] = row.at.isoformat()
        position = row.position
    return {"orderIds": list(changes), "changedAt": changes, "next": str(position), "isEnd": is_end}


def old_enough(rows: Sequence[Any], oldest: datetime) -> Sequence[Any]:
    """Up to the first that is too young: what stands behind it waits with it."""
    young = next((place for place, row in enumerate(rows) if row.at >= oldest), len(rows))
    return rows[:young]


def read_limit(limit: Any) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_AT_ONCE:
        raise InvalidRequest(f"limit must be 1 to {MOST_AT_ONCE}", {"errors": {"limit": ["out of range"]}})
    return limit


def read_seconds(name: str, value: Any) -> timedelta:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not SHORTEST_QUIET_S <= value <= LONGEST_AGO_S:
        raise InvalidRequest(f"{name} must be a number of seconds", {"errors": {name: ["out of range"]}})
    return timedelta(seconds=value)


def read_ids(name: str, value: Any) -> list[str]:
    """Ids as texts, as statements take them. Raises InvalidRequest."""
    if isinstance(value, list) and len(value) <= MOST_AT_ONCE:
        found = [as_uuid(id_) for id_ in value]
        if all(found):
            return sorted({str(id_) for id_ in found})
    raise InvalidRequest(f"{name} must be a list of ids", {"errors": {name: [f"at most {MOST_AT_ONCE} UUIDs"]}})


def read_id(name: str, value: Any) -> UUID:
    """Raises InvalidRequest."""
    found = as_uuid(value)
    if found is None:
        raise InvalidRequest(f"{name} must be an id", {"errors": {name: ["not a UUID"]}})
    return found


def read_changes(value: Any) -> list[dict[str, Any]]:
    """Rows of order id and moment (or None). Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest("changes must be an object", {"errors": {"changes": ["by order id, when"]}})
    read_ids("changes", list(value))
    try:
        return [{"id": UUID(id_), "at": datetime.fromisoformat(at) if at else None} for id_, at in value.items()]
    except (TypeError, ValueError) as error:
        raise InvalidRequest("changes must be moments", {"errors": {"changes": ["not a moment"]}}) from error


def as_uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def quiet_for(tx: Transaction, *moments: datetime | None) -> float:
    """For how many seconds nothing has happened, as the database's clock has it; the last of ``moments`` counts."""
    known = [moment for moment in moments if moment is not None]
    return max(0.0, round((tx.now - max(known)).total_seconds(), 3)) if known else LONGEST_AGO_S


def quantities(lines: Sequence[Mapping[str, Any]] | None) -> dict[str, int]:
    """Item → pieces."""
    return {line["item"]: line["quantity"] for line in lines or ()}


def backlog(tx: Transaction, caller: Identity) -> dict[str, Any]:
    """{"events", "oldestS"}: what waits in the outbox (counted up to 1000), and for how long. Raises Forbidden."""
    refuse_all_but_operators(caller)
    (row,) = tx.fetch(_BACKLOG)
    return {"events": row.events, "oldestS": quiet_for(tx, row.oldest) if row.events else 0.0}


def republish(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    event_id: Any,
    idempotency_key: Any = None,
    correlation_id: Any = None,
) -> dict[str, Any]:
    """{"did", "replayed"}: publish one event once more, its own id included; whoever has applied it drops it.

    ``did`` is None where the outbox has it no longer. Reads the whole outbox: for repairs alone. Raises Forbidden,
    InvalidRequest, and what `once` raises.
    """
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    of_order, event = read_id("orderId", order_id), read_id("eventId", event_id)

    def run() -> dict[str, Any]:
        found = tx.fetch(_REPUBLISH, event_id=str(event), aggregate_id=str(of_order))
        if not found:
            return {"did": None}
        after = {"eventType": found[0].event_type, "eventId": str(event)}
        audit.record(tx, caller, "republish_event", "order", of_order, request_id=correlation_id, after=after)
        return {"did": f"{after['eventType']} published once more, as event {event}"}

    request = {"orderId": str(of_order), "eventId": str(event)}
    answer, replayed = once(tx, "republish_event", owned_key(caller, idempotency_key), request, run)
    return {**answer, "replayed": replayed}
