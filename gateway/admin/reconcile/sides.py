"""What the order service, inventory and payment say of one order, as they said it. Pure.

Owns: when an order is at rest. Must not know: which differences there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.admin.reconcile.kinds import Repair
from gateway.services import INVENTORY_SERVICE, ORDER_SERVICE, PAYMENT_SERVICE

Side = Mapping[str, Any]
PAID = ("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED")
PATIENCE_WITH_PROVIDER_S = 600.0
"""An attempt that is open for longer is no longer something that is just under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """``order``, ``goods`` and ``money`` are None where that service knows nothing of the order."""

    order_id: str
    order: Side | None = None
    goods: Side | None = None
    money: Side | None = None

    @property
    def waits(self) -> bool:
        """Whether the saga is under way, and its own timers still take care of it."""
        order = self.order
        if order is None or order["waitsFor"] is None or order["flag"] is not None:
            return False
        return order["deadlineAt"] is not None and not order["isOverdue"]

    def is_at_rest(self, quiet_s: float) -> bool:
        """Whether nothing has happened to it on any side for ``quiet_s``, and nothing is under way."""
        known = [side for side in (self.order, self.goods, self.money) if side is not None]
        is_calling = self.money is not None and 0 < self.money["openForS"] < PATIENCE_WITH_PROVIDER_S
        return not is_calling and all(side["quietForS"] >= quiet_s for side in known)

    @property
    def kept(self) -> Decimal:
        """What was taken, less what went back, as the payment has it."""
        if self.money is None or self.money["status"] not in PAID:
            return Decimal(0)
        return Decimal(self.money["amount"]) - Decimal(self.money["refunded"])


def say_order(event_type: str, return_id: str | None = None) -> Repair:
    arguments = {"event_type": event_type} | ({"return_id": return_id} if return_id else {})
    return Repair(services=(ORDER_SERVICE,), method="say_order_again", arguments=arguments)


SAY_STOCK = Repair(services=(INVENTORY_SERVICE,), method="say_stock_again")
SAY_PAYMENT = Repair(services=(PAYMENT_SERVICE,), method="say_payment_again")
GIVE_BACK = Repair(services=(PAYMENT_SERVICE,), method="give_back")


def void_charge(key: str) -> Repair:
    return Repair(services=(PAYMENT_SERVICE,), method="void_charge", arguments={"charge_key": key})


def republish(event_id: str) -> Repair:
    """Whoever published it: the causes of what an order hears are mostly inventory's."""
    services = (INVENTORY_SERVICE, PAYMENT_SERVICE, ORDER_SERVICE)
    return Repair(services=services, method="republish_event", arguments={"event_id": event_id})
