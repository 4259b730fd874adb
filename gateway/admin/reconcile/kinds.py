"""What can differ, in one table: what it means, what repairs it, and whether that is safe without looking. Pure.

Owns: the codes, which never change, and the command for each. Must not know: how any of them is found.

Safe is what only has a service say again what is true, or undoes what the saga's own rules would have undone. What
asks for a decision (whose figure is right?) names where to look, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNBOOK = "docs/operations.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """``look``: the command that shows more of it, where no repair is safe; {order} and {subject} are filled in."""

    code: str
    meaning: str
    is_safe: bool = False
    look: str = "ordersaga saga {order}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """A method of a service that repairs it. ``services``: the first of them that can."""

    services: tuple[str, ...]
    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Discrepancy:
    """``says``: who says what. ``subject``: the charge, return, event, item, service or queue that it is about.

    ``repair`` is None where nothing here can repair it.
    """

    code: str
    order_id: str | None = None
    subject: str | None = None
    says: Mapping[str, str] = field(default_factory=dict)
    repair: Repair | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        return self.code, self.order_id, self.subject

    @property
    def is_safe(self) -> bool:
        return self.repair is not None and KINDS[self.code].is_safe

    @property
    def command(self) -> str:
        if self.repair is None:
            return KINDS[self.code].look.format(order=self.order_id, subject=self.subject)
        also = "" if self.is_safe else f" --also {self.code}"
        return f"ordersaga reconcile --order {self.order_id} --repair{also}"

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "meaning": KINDS[self.code].meaning,
            "orderId": self.order_id,
            "subject": self.subject,
            "says": dict(self.says),
            "isSafe": self.is_safe,
            "command": self.command,
            "runbook": f"{RUNBOOK}#{self.code.replace('_', '-')}",
        }


_ALL = (
    # what one side did not hear, although the other said it
    Kind(code="cancellation_unheard", meaning="a cancelled order waits for an answer nobody gives", is_safe=True),
    Kind(code="stock_answer_unheard", meaning="inventory has answered, the order does not know", is_safe=True),
    Kind(code="money_answer_unheard", meaning="the payment has ended, the order does not know", is_safe=True),
    Kind(code="shipment_unheard", meaning="the stock is gone, the order waits for word of it", is_safe=True),
    Kind(code="refund_unheard", meaning="money went back, the order does not know of all of it", is_safe=True),
    Kind(code="return_unheard", meaning="goods came back, inventory does not know", is_safe=True),
    Kind(code="return_not_refunded", meaning="goods came back, nobody refunds them", is_safe=True),
    Kind(code="timeline_gap", meaning="an event's cause is missing from the order's timeline", is_safe=True),
    # what is held, or gone, for nothing
    Kind(code="stock_held_for_cancelled", meaning="stock is held for a cancelled order", is_safe=True),
    Kind(code="money_kept_for_cancelled", meaning="money is kept for a cancelled order", is_safe=True),
    Kind(code="shipped_but_held", meaning="the order is shipped, its stock is still held", is_safe=True),
    Kind(code="confirmed_without_stock", meaning="a paid order has no stock", is_safe=True),
    Kind(code="stray_charge", meaning="a charge stands that no payment came from", is_safe=True),
    Kind(code="stock_of_unknown_order", meaning="stock is held for an order that nobody placed"),
    Kind(code="money_of_unknown_order", meaning="money is kept for an order that nobody placed"),
    # what asks for a decision
    Kind(code="order_unended", meaning="an order waits longer than its deadline"),
    Kind(code="refund_failed", meaning="a refund failed", look="ordersaga saga {order}"),
    Kind(code="stock_gone_for_unshipped", meaning="stock is gone for an order that is not shipped"),
    Kind(code="shipped_without_stock", meaning="the order is shipped, inventory gave nothing out for it"),
    Kind(code="lines_differ", meaning="order and reservation are about different goods"),
    Kind(code="holding_differs", meaning="inventory contradicts itself about a reservation"),
    Kind(code="return_differs", meaning="order and inventory know different returns"),
    Kind(code="paid_without_money", meaning="the order is paid, the payment is not"),
    Kind(code="price_differs", meaning="what was paid is not what the order costs"),
    Kind(code="refunds_differ", meaning="refunds do not add up to what was refunded"),
    Kind(code="ledger_differs", meaning="the ledger is not what the payment says"),
    Kind(
        code="provider_differs", meaning="the provider's book is not what the payment says", look="ordersaga psp book"
    ),
    Kind(code="attempt_unanswered", meaning="the provider does not end an attempt", look="ordersaga psp show"),
    Kind(code="unknown_charge", meaning="a charge that no attempt of ours explains", look="ordersaga psp book"),
    Kind(
        code="stock_differs",
        meaning="an item's stock is not what moved and reserved it",
        look="ordersaga psql inventory_service -- -c \"select * from stock_movements where item = '{subject}'\"",
    ),
    Kind(code="outbox_stuck", meaning="events are not published", look="ordersaga logs {subject}"),
    Kind(
        code="dead_letters", meaning="events could not be applied", look="ordersaga dead-letters show --queue {subject}"
    ),
)
KINDS: Mapping[str, Kind] = {kind.code: kind for kind in _ALL}
