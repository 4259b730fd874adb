"""What an event would do to the payment of its order, told from the rows that its handler wrote; all is taken back.

Owns: the decision in words. What would be begun at the provider is only named: its attempt is never committed, and
nobody calls for it. Must not know: how the transaction ends (shared/foresight.py).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from payment_service import handlers
from payment_service.domain import PaymentStatus
from payment_service.settings import Settings
from shared.database import Transaction
from shared.envelope import Received, new_id
from shared.foresight import Outcome, change_in_words

_ENDED = (PaymentStatus.FAILED, PaymentStatus.CANCELLED, PaymentStatus.REFUNDED)
_PAYMENT = text("""
select status, cancelled, charging, stock_gone, refunded, refunding from payments where order_id = :order_id
""")


def rehearse(tx: Transaction, event: Received[Any], *, settings: Settings) -> Outcome:
    """Run the handler of ``event``. Raises what it raises."""
    before = _payment(tx, event.body.order_id)
    # Nobody's worker: no lease of a real one is touched.
    attempts = handlers.apply_events(tx, [event], settings, new_id())
    after = _payment(tx, event.body.order_id)
    was = PaymentStatus(before.status) if before else PaymentStatus.NONE
    begun = "".join(f"; {a.kind.lower()} of {a.amount} {a.currency} would begin" for a in attempts)
    is_changed = (before != after) if before else bool(after and (after.status != was or after.cancelled))
    return Outcome(
        decision=f"payment {change_in_words(was, after.status if after else was)}{begun}",
        is_changed=is_changed or bool(attempts),
        is_terminal=was in _ENDED,
    )


def _payment(tx: Transaction, order_id: UUID) -> Row[Any] | None:
    return next(iter(tx.fetch(_PAYMENT, order_id=str(order_id))), None)
