"""The inventory service's side of orders, for comparing it with the others', and its own books: stock and movements.

Owns: what is told of a holding, saying its state once more, checking stock against movements and reservations.
Must not know: Nameko, HTTP, what the other sides know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from inventory_service import queries
from inventory_service.handlers import Changes, answer_event
from inventory_service.happenings import Committed, Refunded, Rejected, Reserved
from inventory_service.states import Holding, HoldingStatus
from shared import audit, pages, reconciliation
from shared.database import Transaction
from shared.errors import Conflict, ReservationNotFound
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity
from shared.reconciliation import Feed, quantities, quiet_for, read_id, read_ids, read_limit, read_seconds

# A manual hold has no order, and what is adjusted neither.
FEED = Feed(
    changed=text("""
select m.id as position, case when s.manual then null else m.order_id end as order_id, m.at
from stock_movements m left join sagas s using (order_id)
where m.id > :after order by m.id limit :limit
"""),
    head=text("select id as position from stock_movements where at < :before order by id desc limit 1"),
    every=text("""
select order_id from sagas
where (cast(:after as uuid) is null or order_id > cast(:after as uuid)) and not manual order by order_id limit :limit
"""),
)
_SIDES = text("""
select s.order_id, s.status, s.generation, s.cancelled, r.status as reservation, r.created_at, r.ended_at
from sagas s left join reservations r using (order_id, generation)
where s.order_id = any(cast(:ids as uuid[])) and not s.manual
""")
_LINES = text("select order_id, item, quantity from order_lines where order_id = any(cast(:ids as uuid[]))")
_RETURNS = text("""
select order_id, return_id, restocked, max(created_at) as created_at,
       json_agg(json_build_object('item', item, 'quantity', quantity)) as lines
from return_lines where order_id = any(cast(:ids as uuid[])) group by order_id, return_id, restocked
""")


def walk(tx: Transaction, caller: Identity, **wanted: Any) -> dict[str, Any]:
    """As :func:`shared.reconciliation.walk`."""
    return reconciliation.walk(tx, FEED, caller, **wanted)


def sides(tx: Transaction, caller: Identity, order_ids: Any) -> list[dict[str, Any]]:
    """What is known of each of these orders' stock; of an unknown one nothing. Raises Forbidden, InvalidRequest."""
    reconciliation.refuse_all_but_operators(caller)
    ids = read_ids("orderIds", order_ids)
    lines, returns = (_by_order(tx.fetch(statement, ids=ids)) for statement in (_LINES, _RETURNS))
    return [_side(tx, row, lines[row.order_id], returns[row.order_id]) for row in tx.fetch(_SIDES, ids=ids)]


def _by_order(rows: Sequence[Any]) -> dict[UUID, list[Mapping[str, Any]]]:
    found: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row._mapping)
    return found


def _side(
    tx: Transaction, row: Any, lines: Sequence[Mapping[str, Any]], returns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "orderId": str(row.order_id),
        "status": row.status,
        "reservation": row.reservation,
        "generation": row.generation,
        "isCancelled": row.cancelled,
        "items": quantities(lines),
        "returns": [
            {"id": str(r["return_id"]), "restocked": r["restocked"], "items": quantities(r["lines"])} for r in returns
        ],
        "quietForS": quiet_for(tx, row.created_at, row.ended_at, *(r["created_at"] for r in returns)),
    }


# Saying it once more


def say_again(
    tx: Transaction,
    caller: Identity,
    order_id: Any,
    why: Any = None,
    idempotency_key: Any = None,
    correlation_id: Any = None,
) -> dict[str, Any]:
    """{"did", "replayed"}: publish what the order's holding has come to, in an event with a new id.

    Raises Forbidden, InvalidRequest, ReservationNotFound, Conflict where nothing is to be said, and what `once` raises.
    """
    reconciliation.refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    id_ = read_id("orderId", order_id)

    def run() -> dict[str, Any]:
        event_type = _say_again(tx, id_, correlation_id)
        after = {"eventType": event_type, "why": why}
        audit.record(tx, caller, "repair_order", "order", id_, request_id=correlation_id, after=after)
        return {"did": f"{event_type} said once more"}

    key = owned_key(caller, idempotency_key)
    answer, replayed = once(tx, "repair_order", key, {"orderId": str(id_)}, run)
    return {**answer, "replayed": replayed}


def _say_again(tx: Transaction, order_id: UUID, correlation_id: str | None) -> str:
    holding = queries.holdings_for_update(tx, [order_id]).get(order_id)
    if holding is None or holding.manual:
        raise ReservationNotFound("inventory does not know this order", {"id": str(order_id)})
    event_type, body = answer_event(holding, _state_of(holding))
    changes = Changes()
    told = correlation_id or str(order_id)
    changes.emit(tx, event_type, str(order_id), cause=None, correlation_id=told, order_id=order_id, **body)
    changes.save(tx)
    return event_type


def _state_of(holding: Holding) -> Reserved | Rejected | Refunded | Committed:
    match holding.status:
        case HoldingStatus.HELD:
            return Reserved()
        case HoldingStatus.COMMITTED:
            return Committed()
        case HoldingStatus.REJECTED:
            return Rejected(reason="out_of_stock")
        case HoldingStatus.EXPIRED:
            return Refunded(reason="expired")
        case HoldingStatus.RELEASED:
            return Refunded(reason="cancelled" if holding.cancelled else "payment_failed")
    raise Conflict("nothing was asked of inventory yet", {"status": holding.status})


# Stock against movements and reservations

# Rows of one item get their numbers while its stock is locked: what a snapshot sees of them has no holes.
_ITEMS_MOVED = text("""
select id as position, item, at from stock_movements where id > :after order by id limit :limit
""")
_ALL_ITEMS = text("""
select item from stock where cast(:after as text) is null or item > cast(:after as text) order by item limit :limit
""")
_BALANCE = text("""
select s.item, s.on_hand, s.reserved, coalesce(m.on_hand, 0) + coalesce(c.on_hand, 0) as moved_on_hand,
       coalesce(m.reserved, 0) + coalesce(c.reserved, 0) as moved_reserved,
       coalesce(m.movement_id, c.movement_id, 0) as movement_id
from stock s left join stock_checkpoints c using (item)
cross join lateral (
    select sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved, max(id) as movement_id
    from stock_movements where item = s.item and id > coalesce(c.movement_id, 0)) m
where s.item = any(cast(:items as text[])) order by s.item
""")
_CHECKPOINT = text("""
insert into stock_checkpoints (item, movement_id, on_hand, reserved, checked_at)
select item, movement_id, on_hand, reserved, :now
from json_to_recordset(cast(:rows as json)) as r(item text, movement_id bigint, on_hand int, reserved int)
order by item on conflict (item) do update
set movement_id = excluded.movement_id, on_hand = excluded.on_hand, reserved = excluded.reserved,
    checked_at = excluded.checked_at
where stock_checkpoints.movement_id < excluded.movement_id
""")
_FROM_THE_BEGINNING = text("""
with moved as (
    select item, sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved from stock_movements
    where item = any(cast(:items as text[])) group by item
), held as (
    select l.item, sum(l.quantity) as reserved
    from reservations r join order_lines l using (order_id)
    where r.status = 'RESERVED' and l.item = any(cast(:items as text[])) group by l.item
)
select s.item, s.on_hand, s.reserved, coalesce(m.on_hand, 0) as moved_on_hand,
       coalesce(m.reserved, 0) as moved_reserved, coalesce(h.reserved, 0) as held
from stock s left join moved m using (item) left join held h using (item)
where s.item = any(cast(:items as text[])) order by s.item
""")


def check_stock(
    tx: Transaction, caller: Identity, after: Any, limit: Any, full: Any, quiet_s: Any, ago_s: Any
) -> dict[str, Any]:
    """{"checked", "wrong", "next", "isEnd"}: items whose stock is not what moved it, each in one snapshot.

    ``full``: every item, from its first movement on, and against what is reserved; else those that moved, from where
    they were right last. Raises Forbidden, InvalidRequest.
    """
    reconciliation.refuse_all_but_operators(caller)
    most = read_limit(limit)
    if full:
        rows = tx.fetch(_ALL_ITEMS, after=pages.text_cursor(after), limit=most)
        items = [row.item for row in rows]
        wrong = _differing(tx.fetch(_FROM_THE_BEGINNING, items=items)) if items else []
        return _checked(items, wrong, items[-1] if items else after, is_end=len(items) < most)
    position = pages.number_cursor(after)
    if position is None:
        before = tx.now - read_seconds("agoS", quiet_s if ago_s is None else ago_s)
        found = tx.fetch(FEED.head, before=before)
        return _checked([], [], str(found[0].position if found else 0), is_end=False)
    oldest = tx.now - read_seconds("quietS", quiet_s)
    read = most * reconciliation.ROWS_PER_ORDER
    rows = reconciliation.old_enough(tx.fetch(_ITEMS_MOVED, after=position, limit=read), oldest)
    items = sorted({row.item for row in rows})
    balances = tx.fetch(_BALANCE, items=items) if items else []
    wrong = _differing(balances)
    _keep_right_ones(tx, balances, {entry["item"] for entry in wrong})
    return _checked(items, wrong, str(rows[-1].position if rows else position), is_end=len(rows) < read)


def _differing(rows: Sequence[Any]) -> list[dict[str, Any]]:
    wrong = []
    for row in rows:
        held = getattr(row, "held", row.moved_reserved)
        if (row.on_hand, row.reserved, row.reserved) != (row.moved_on_hand, row.moved_reserved, held):
            wrong.append(
                {
                    "item": row.item,
                    "onHand": row.on_hand,
                    "reserved": row.reserved,
                    "movedOnHand": int(row.moved_on_hand),
                    "movedReserved": int(row.moved_reserved),
                    "held": int(held),
                }
            )
    return wrong


def _keep_right_ones(tx: Transaction, balances: Sequence[Any], wrong: set[str]) -> None:
    names = ("item", "movement_id", "on_hand", "reserved")
    rows = [{name: getattr(row, name) for name in names} for row in balances if row.item not in wrong]
    tx.save(_CHECKPOINT, rows, now=tx.now)


def _checked(items: Sequence[str], wrong: list[dict[str, Any]], after: Any, *, is_end: bool) -> dict[str, Any]:
    return {"checked": len(items), "wrong": wrong, "next": after, "isEnd": is_end}
