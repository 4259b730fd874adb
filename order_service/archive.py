"""Orders that are over and were put away: one row each, with everything that is shown of them as one document.

Owns: the statements that put away, find and add to archived orders, and the refusal of whatever is asked of one.
Must not know: when an order is put away (archiving.py); what its document holds (requests.py).

Who finds no order asks here before calling it unknown. Locks: an order's row is locked before it is put away, as before
anything else is done to it. So whoever waited for that lock finds the row gone, and in its next statement this one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from order_service.access import refuse_stranger
from order_service.schemas import TimelineEventView
from shared.database import Transaction
from shared.errors import OrderArchived
from shared.event_schema import moment_text
from shared.identity import Identity

_EVENT = TimelineEventView()
_KNOWN = text("select id from archived_orders where id = any(cast(:ids as uuid[]))")
_FIND = text("""
select id, user_id, seller_id, status, refunded, archived_at, document, late from archived_orders where id = :id
""")
# Sorted, so that two batches with the same orders wait for each other instead of deadlocking.
_LOCK_FOR_LATE = text("select id from archived_orders where id = any(cast(:ids as uuid[])) order by id for update")
_ADD_LATE = text("""
update archived_orders a
set late = a.late || r.events, refunded = greatest(a.refunded, r.refunded)
from json_to_recordset(cast(:rows as json)) as r(id uuid, events jsonb, refunded numeric)
where a.id = r.id
""")
# Finished, settled, left alone since, nothing for an operator to see to, and no return that still waits for its refund.
# Ids are in the order of time: the index by status and id begins with the oldest.
_OVER_FOR_UPDATE = text("""
select o.id from orders o
where o.status = :status and (o.status <> 'CANCELLED' or o.settled_at is not null)
  and o.id <= cast(:last_id as uuid) and o.updated_at < :before
  and o.flag is null and o.wake_at is null
  and not exists (select 1 from order_returns r where r.order_id = o.id and r.status = 'REQUESTED')
order by o.id limit :limit for update of o skip locked
""")
_PUT_AWAY = text("""
insert into archived_orders (id, user_id, seller_id, status, price, currency, money, refunded, archived_at, document)
select o.id, o.user_id, o.seller_id, o.status, o.price, o.currency, o.money, o.refunded, :now, r.document
from json_to_recordset(cast(:rows as json)) as r(id uuid, document jsonb)
join orders o on o.id = r.id
""")
_FORGET = tuple(
    text(statement)
    for statement in (
        """delete from order_return_lines
           where return_id in (select id from order_returns where order_id = any(cast(:ids as uuid[])))""",
        "delete from order_returns where order_id = any(cast(:ids as uuid[]))",
        "delete from order_items where order_id = any(cast(:ids as uuid[]))",
        "delete from order_status_history where order_id = any(cast(:ids as uuid[]))",
        "delete from order_events where order_id = any(cast(:ids as uuid[]))",
        "delete from orders where id = any(cast(:ids as uuid[]))",
    )
)


def known(tx: Transaction, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of ``ids`` that were put away."""
    return frozenset(row.id for row in tx.fetch(_KNOWN, ids=[str(id_) for id_ in ids]))


def find(tx: Transaction, order_id: UUID) -> Any | None:
    rows = tx.fetch(_FIND, id=order_id)
    return rows[0] if rows else None


def refuse_archived(tx: Transaction, caller: Identity, order_id: UUID) -> None:
    """Raises OrderArchived if the order was put away, OrderNotFound to who is no party to it."""
    found = find(tx, order_id)
    if found is not None:
        refuse_stranger(caller, found._mapping)
        raise OrderArchived("the order is over and was archived", {"status": found.status})


def order_answer(found: Any) -> dict[str, Any]:
    """The order as it was last shown, with what was told of it since."""
    document: dict[str, Any] = found.document
    return {
        **document,
        "refunded": f"{found.refunded:.2f}",
        "timeline": [*document["timeline"], *found.late],
        "allowedActions": [],
        "archived": True,
        "archivedAt": moment_text(found.archived_at),
    }


def add_late(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep timeline rows of orders that were put away; what was given back of their price is counted too."""
    if not rows:
        return
    events = defaultdict(list)
    refunded: dict[UUID, Decimal] = defaultdict(Decimal)
    for row in rows:
        events[row["order_id"]].append(_EVENT.dump({**row, "recorded_at": tx.now}))
        if row["event_type"] == "PAYMENT_REFUNDED":
            total = Decimal(row["payload"]["totalRefunded"])
            refunded[row["order_id"]] = max(refunded[row["order_id"]], total)
    tx.execute(_LOCK_FOR_LATE, ids=[str(id_) for id_ in events])
    tx.save(_ADD_LATE, [{"id": id_, "events": events[id_], "refunded": refunded[id_]} for id_ in events])


def over_for_update(tx: Transaction, status: str, last_id: UUID, before: Any, limit: int) -> list[UUID]:
    """At most ``limit`` orders that can be put away and that nobody else holds, oldest first."""
    rows = tx.fetch(_OVER_FOR_UPDATE, status=status, last_id=last_id, before=before, limit=limit)
    return [row.id for row in rows]


def put_away(tx: Transaction, documents: Mapping[UUID, Any]) -> None:
    """The caller has locked these orders."""
    tx.save(_PUT_AWAY, [{"id": id_, "document": document} for id_, document in documents.items()], now=tx.now)
    forget(tx, documents)


def forget(tx: Transaction, ids: Iterable[UUID]) -> None:
    texts = [str(id_) for id_ in ids]
    for statement in _FORGET:
        tx.execute(statement, ids=texts)
