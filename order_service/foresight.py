"""What an event would do to its order, told from the rows that its handler wrote; the transaction is taken back.

Owns: which handler, and its decision in words. Must not know: how the transaction ends (shared/foresight.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from order_service import handlers, queries
from order_service.settings import Settings
from order_service.states import OrderStatus
from shared.database import Transaction
from shared.envelope import Received
from shared.foresight import Outcome

_ENDED = (OrderStatus.FULFILLED, OrderStatus.CANCELLED)
_DECISION = text("""
select decision, note from order_events where order_id = :order_id and event_id = :event_id order by id desc limit 1
""")
_VERSION = text("select version from products where item = :item")


def rehearse(tx: Transaction, event: Received[Any], *, settings: Settings) -> Outcome:
    """Run the handler of ``event``. Raises what it raises."""
    if event.envelope.type == "PRODUCT_UPDATED":
        return _rehearse_price(tx, event)
    order_id = event.body.order_id
    before = queries.orders_for_update(tx, [order_id]).get(order_id)
    handlers.apply_events(tx, [event], settings)
    after = queries.orders_for_update(tx, [order_id]).get(order_id)
    [line] = tx.fetch(_DECISION, order_id=str(order_id), event_id=str(event.envelope.event_id))
    decision = f"{line.decision}: {line.note}" if line.note else line.decision
    if before is None:
        return Outcome(decision=decision, is_unknown=True)
    standing = f"order {before.status}{f' ({before.reason})' if before.reason else ''}; "
    return Outcome(decision=standing + decision, is_changed=after != before, is_terminal=before.status in _ENDED)


def _rehearse_price(tx: Transaction, event: Received[Any]) -> Outcome:
    item, version = event.body.product.item, event.body.version
    known = tx.fetch(_VERSION, item=item)
    handlers.update_price_list(tx, [event])
    tx.flush()
    old = known[0].version if known else 0
    if old >= version:
        return Outcome(decision=f"ignored: version {old} of {item} is known", is_changed=False)
    return Outcome(decision=f"applied: version {version} of {item}")
