"""What operators do with one saga: nudge it, resolve its flag.

Owns: who is told no and why, the line in timeline and audit log. As in commands.py each locks its order first, and all
of it is one transaction. Neither moves the order: what it waits for is still to come.
Must not know: idempotency keys and the shape of answers (saga_requests.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from order_service import queries
from order_service.access import order_not_found
from order_service.archive import refuse_archived
from order_service.board import awaited, step_of
from order_service.commands import Asking
from order_service.deadlines import is_nudged, resolved
from order_service.handlers import SERVICE, Changes, once_more, timeline_row
from order_service.settings import Settings
from order_service.states import Order
from shared import audit
from shared.database import Transaction
from shared.envelope import caused_by
from shared.errors import SagaNotFlagged, SagaNotNudgeable


def nudge(tx: Transaction, asking: Asking, note: str, settings: Settings) -> None:
    """Publish the event that waits for an answer once more, with its own id: who has applied it drops it.

    Raises OrderNotFound, OrderArchived, SagaNotNudgeable.
    """
    order, row = _lock(tx, asking)
    if not is_nudged(order):
        raise SagaNotNudgeable(
            f"no event of the order waits for an answer; it is {awaited(order)}'s turn", _where(order)
        )
    [event] = queries.last_emitted_rows(tx, [order.id])
    if event.occurred_at < tx.now - settings.inbox_horizon:
        # Consumers may have forgotten it: they would put it to the dead letters.
        raise SagaNotNudgeable("its last event is older than consumers remember", _where(order))
    changes = Changes(outgoing=[once_more(event)])
    said = {"eventId": str(event.event_id), "eventType": event.event_type, "note": note}
    _record(tx, changes, asking, order, row, "SAGA_NUDGED", f"{event.event_type} is published once more", said)
    _audit(tx, asking, "nudge_saga", order.id, before=_where(order), after=said)


def resolve(tx: Transaction, asking: Asking, note: str) -> None:
    """Take the flag away; the order is not watched until it waits for something else.

    Raises OrderNotFound, OrderArchived, SagaNotFlagged.
    """
    order, row = _lock(tx, asking)
    if order.flag is None:
        raise SagaNotFlagged("no operator is asked to look at it", _where(order))
    after = resolved(order)
    changes = Changes(orders={order.id: after})
    said = {"flag": order.flag, "note": note}
    _record(tx, changes, asking, order, row, "SAGA_RESOLVED", f"no longer flagged: {order.flag}", said)
    _audit(tx, asking, "resolve_saga", order.id, before=_where(order), after={**_where(after), "note": note})


def _lock(tx: Transaction, asking: Asking) -> tuple[Order, Mapping[str, Any]]:
    found = queries.order_for_update(tx, asking.order_id)
    if found is None:
        refuse_archived(tx, asking.caller, asking.order_id)
        raise order_not_found(asking.order_id)
    return found


def _where(order: Order) -> dict[str, Any]:
    return {"status": order.status, "step": step_of(order), "flag": order.flag}


def _record(
    tx: Transaction,
    changes: Changes,
    asking: Asking,
    order: Order,
    row: Mapping[str, Any],
    name: str,
    note: str,
    said: Mapping[str, Any],
) -> None:
    correlation_id = asking.correlation_id or row["correlation_id"]
    event = caused_by(None, type=name, source=SERVICE, now=tx.now, correlation_id=correlation_id)
    payload = {"id": str(order.id), **said}
    changes.timeline.append(timeline_row(event, order.id, payload, decision="applied", note=note))
    changes.save(tx)


def _audit(
    tx: Transaction, asking: Asking, action: str, order_id: object, *, before: dict[str, Any], after: dict[str, Any]
) -> None:
    request_id = asking.correlation_id
    audit.record(tx, asking.caller, action, "order", order_id, request_id=request_id, before=before, after=after)
