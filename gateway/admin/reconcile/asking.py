"""Asking the services for their sides of orders, and for what their own books say.

Owns: which method of which service tells what, as whom they are asked. Must not know: what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.admin.reconcile.comparing import Verdict, compare, confirmed
from gateway.admin.reconcile.kinds import Repair
from gateway.admin.reconcile.sides import Side, Sides
from gateway.at_once import ask_at_once
from gateway.services import ALL_SERVICES, INVENTORY_SERVICE, ORDER_SERVICE, PAYMENT_SERVICE, Services
from shared.errors import NotFound, OrderSagaError
from shared.identity import Identity

TIMEOUT_S = 12.0
"""Of one question. Whoever asks the gateway waits for an answer to all of a page's."""


@dataclass(frozen=True, kw_only=True)
class Asker:
    """The services, asked in the name of ``caller``: also from threads that handle no request."""

    client: Services
    caller: Identity

    def ask(self, service: str, method: str, **arguments: Any) -> Any:
        return self.client.call(service, method, TIMEOUT_S, caller=self.caller, **arguments)

    def sides(self, order_ids: Sequence[str]) -> list[Sides]:
        """Of each of these orders, whether anybody knows it or not."""
        told: dict[str, list[Side]] = ask_at_once(
            ALL_SERVICES, lambda service: self.ask(service, "reconcile_sides", order_ids=list(order_ids))
        )
        order, goods, money = ({side["orderId"]: side for side in told[service]} for service in ALL_SERVICES)
        return [
            Sides(order_id=id_, order=order.get(id_), goods=goods.get(id_), money=money.get(id_)) for id_ in order_ids
        ]

    def compared(self, order_ids: Sequence[str], quiet_s: float) -> Verdict:
        """What differs is asked for a second time: the sides of an order are not told at one and the same moment."""
        first = compare(self.sides(order_ids), quiet_s) if order_ids else Verdict()
        if not first.discrepancies:
            return first
        suspects = list(dict.fromkeys(d.order_id for d in first.discrepancies if d.order_id))
        return confirmed(first, compare(self.sides(suspects), quiet_s))

    def unheard(self, order_ids: Sequence[str], changed_at: Mapping[str, str]) -> list[str]:
        """Those that the order service does not know, or that were told nothing since another side changed."""
        if not order_ids:
            return []
        changes = {id_: changed_at.get(id_) for id_ in order_ids}
        return list(self.ask(ORDER_SERVICE, "unheard_orders", changes=changes))

    def backlogs(self) -> Mapping[str, Any]:
        """By service, what waits in its outbox."""
        return ask_at_once(ALL_SERVICES, lambda service: self.ask(service, "reconcile_backlog"))

    def repair(self, repair: Repair, order_id: str, why: str, key: str, request_id: str | None) -> str | None:
        """What was done; None if none of the services could."""
        arguments = {**repair.arguments, "order_id": order_id, "idempotency_key": key, "correlation_id": request_id}
        if repair.method != "republish_event":
            arguments["why"] = why
        for service in repair.services:
            did = self._did(service, repair.method, arguments, is_last=service == repair.services[-1])
            if did is not None:
                return did
        return None

    def _did(self, service: str, method: str, arguments: Mapping[str, Any], *, is_last: bool) -> str | None:
        try:
            did: str | None = self.ask(service, method, **arguments)["did"]
        except NotFound as error:
            if is_last:
                raise OrderSagaError(str(error), error.details) from error
            return None
        return did


WALKS: Mapping[str, tuple[str, str]] = {
    "orders": (ORDER_SERVICE, "reconcile_walk"),
    "goods": (INVENTORY_SERVICE, "reconcile_walk"),
    "money": (PAYMENT_SERVICE, "reconcile_walk"),
    "book": (PAYMENT_SERVICE, "reconcile_book"),
    "items": (INVENTORY_SERVICE, "reconcile_stock"),
}
"""Stage → who walks it."""
