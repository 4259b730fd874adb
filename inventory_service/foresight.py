"""What an event would do to the stock of its order, told from the rows that its handler wrote; all of it is taken back.

Owns: the decision in words. Must not know: how the transaction ends (shared/foresight.py).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from inventory_service import handlers
from inventory_service.settings import Settings
from inventory_service.states import HoldingStatus
from shared.database import Transaction
from shared.envelope import Received
from shared.foresight import Outcome, change_in_words

_ENDED = (HoldingStatus.RELEASED, HoldingStatus.REJECTED, HoldingStatus.COMMITTED)
# What was held by then, and what came back: both may change without the status.
_SAGA = text("""
select s.status, s.generation, s.cancelled, r.expires_at,
       (select count(*) from return_lines l where l.order_id = s.order_id) as returns
from sagas s left join reservations r using (order_id, generation) where s.order_id = :order_id
""")


def rehearse(tx: Transaction, event: Received[Any], *, settings: Settings) -> Outcome:
    """Run the handler of ``event``. Raises what it raises."""
    before = _saga(tx, event.body.order_id)
    handlers.apply_events(tx, [event], settings)
    after = _saga(tx, event.body.order_id)
    was = HoldingStatus(before.status) if before else HoldingStatus.OPEN
    is_cancelled = before is not None and before.cancelled
    decision = f"stock {change_in_words(was, after.status if after else was)}"
    if is_cancelled:
        decision += "; the order was cancelled before"
    is_terminal = was in _ENDED or is_cancelled
    is_changed = (before != after) if before else bool(after and (after.status != was or after.cancelled))
    return Outcome(decision=decision, is_changed=is_changed, is_terminal=is_terminal)


def _saga(tx: Transaction, order_id: UUID) -> Row[Any] | None:
    return next(iter(tx.fetch(_SAGA, order_id=str(order_id))), None)
