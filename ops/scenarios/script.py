"""Owns: one flow while it is played: doing things through the gateway, and what was expected and seen.
Must not know: which flows there are, screens, databases.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.gateway_client import Answer, GatewayClient, Refused
from ops.scenarios.endings import in_words, is_whole
from ops.scenarios.stage import Stage
from ops.waiting import holds_within

PATIENCE_S = 60.0
LONG_PATIENCE_S = 240.0
_PAUSE_S = 0.15


class NotSeen(Exception):
    """Something did not come true in time; the flow cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was expected, and what was there instead or indeed."""

    what: str
    expected: str
    seen: str

    @property
    def is_as_expected(self) -> bool:
        return self.expected == self.seen


@dataclass(kw_only=True)
class Script:
    """Plays one flow. Each has its own products, so that flows at the same time do not meet."""

    name: str
    client: GatewayClient
    stage: Stage
    patience_s: float = PATIENCE_S
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_as_expected(self) -> bool:
        return bool(self.findings) and all(finding.is_as_expected for finding in self.findings)

    def expect(self, what: str, expected: object, seen: object) -> None:
        self.findings.append(Finding(what=what, expected=str(expected), seen=str(seen)))

    # Products and stock

    def product(self, *, on_hand: int = 10, **more: Any) -> str:
        """A new product that can be ordered when this returns; 10.00 EUR unless said otherwise."""
        item = f"demo-{secrets.token_hex(4)}"
        product = {"item": item, "name": "Demo", "sellerId": "seller-1", "price": "10.00", "currency": "EUR"}
        self.client.post("/products", {**product, "onHand": on_hand, **more})
        self.until(lambda: self.client.can_order([item]), f"{item} can be ordered")
        return item

    def stock(self, item: str) -> str:
        product = self.get(f"/products/{item}")
        return stock(product["onHand"], product["reserved"])

    def expect_stock(self, item: str, on_hand: int, reserved: int) -> None:
        self.expect("stock", stock(on_hand, reserved), self.stock(item))

    # Orders

    def place(self, item: str, quantity: int = 1, **more: Any) -> str:
        """The id of an accepted order."""
        body = {"userId": "ada", "items": [{"item": item, "quantity": quantity}], **more}
        return str(self.client.post("/orders", body)["id"])

    def order(self, order_id: str) -> dict[str, Any]:
        order: dict[str, Any] = self.get(f"/orders/{order_id}")
        return order

    def order_when(self, order_id: str, holds: Callable[[Mapping[str, Any]], bool], what: str) -> dict[str, Any]:
        """The order as soon as that holds of it. Raises NotSeen."""
        latest: dict[str, Any] = {}

        def is_so() -> bool:
            latest.update(self.order(order_id))
            return holds(latest)

        self.until(is_so, lambda: f"{what} (it is {words(latest)})")
        return latest

    def reserved(self, order_id: str) -> dict[str, Any]:
        return self.order_when(order_id, lambda order: order["status"] == "RESERVED", "the order is RESERVED")

    def ended(self, order_id: str) -> dict[str, Any]:
        """The order once its checkout has ended, with everything settled if it is cancelled, and its stock known to be
        held if it is confirmed: a payment may be heard of before the reservation that it was made for.
        """

        def has_ended(order: Mapping[str, Any]) -> bool:
            is_told = order["status"] != "CONFIRMED" or "INVENTORY_RESERVED" in types(order)
            return is_whole(order) and is_told

        return self.order_when(order_id, has_ended, "the order has ended")

    def fulfilled(self, order_id: str) -> dict[str, Any]:
        return self.order_when(order_id, lambda order: order["status"] == "FULFILLED", "the order is FULFILLED")

    def shipped(self, item: str, quantity: int = 1) -> dict[str, Any]:
        """An order that went all the way to FULFILLED."""
        order_id = self.place(item, quantity)
        self.ended(order_id)
        self.client.post(f"/orders/{order_id}/fulfil", {})
        return self.fulfilled(order_id)

    # Payments

    def payment(self, order: Mapping[str, Any]) -> dict[str, Any]:
        payment: dict[str, Any] = self.get(f"/payments/{payment_id(order)}")
        return payment

    def payment_when(
        self, order: Mapping[str, Any], holds: Callable[[Mapping[str, Any]], bool], what: str
    ) -> dict[str, Any]:
        latest: dict[str, Any] = {}

        def is_so() -> bool:
            latest.update(self.payment(order))
            return holds(latest)

        self.until(is_so, lambda: f"{what} (it is {latest.get('status')})")
        return latest

    def unpaid(self, item: str, quantity: int = 1) -> dict[str, Any]:
        """An order that waits for its customer to pay."""
        order_id = self.place(item, quantity, paymentMode="manual")
        return self.order_when(order_id, waits_for_payment, "the order waits to be paid")

    def pay(self, order: Mapping[str, Any], token: str, *, key: str | None = None) -> Answer:
        return self.client.ask(f"/payments/{payment_id(order)}/confirm", {"paymentMethod": token}, key=key)

    def declined(self, order: Mapping[str, Any], number: int) -> dict[str, Any]:
        """The payment once that many charges have come to an end."""
        return self.payment_when(
            order, lambda payment: len(ended_charges(payment)) >= number, f"charge {number} has ended"
        )

    # Anything

    def get(self, path: str) -> Any:
        """The answer, as soon as there is one: what it is asked of may just be down or frozen. Raises NotSeen."""
        answers: list[Any] = []

        def has_answered() -> bool:
            answers.append(self.client.get(path))
            return True

        self.until(has_answered, f"{path} is answered")
        return answers[0]

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None) -> Answer:
        return self.client.ask(path, body or {}, key=key)

    def expect_answer(
        self, what: str, expected: str, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Answer:
        """Ask, and expect "202", or "409 order_not_cancellable"."""
        answer = self.ask(path, body, key=key)
        self.expect(what, expected, answer.words)
        return answer

    def wait(self, seconds: float, why: str) -> None:
        """For what cannot be asked whether it has happened."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, why)

    def until(self, condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
        """Wait; a part of the system that is just down or busy is asked again. Raises NotSeen."""

        def holds() -> bool:
            if self.stage.is_called_off:
                raise NotSeen("called off")
            try:
                return condition()
            except Refused as refused:
                if refused.status < 500:
                    raise
            except OSError:
                pass
            return False

        if not holds_within(holds, timeout_s=self.patience_s, pause_s=_PAUSE_S):
            raise NotSeen(f"not within {self.patience_s:.0f} s: {what() if callable(what) else what}")


Play = Callable[[Script], None]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Something that can be played by itself, beside others."""

    name: str
    play: Play


def stock(on_hand: int, reserved: int) -> str:
    return f"{on_hand} on hand, {reserved} reserved"


def words(order: Mapping[str, Any]) -> str:
    """ "CONFIRMED", or "CANCELLED (payment_failed)"."""
    return in_words(order.get("status", "unknown"), order.get("reason"))


def types(order: Mapping[str, Any]) -> list[str]:
    """What happened, causes first."""
    return [event["type"] for event in order["timeline"]]


def count(order: Mapping[str, Any], event_type: str) -> int:
    return types(order).count(event_type)


def payment_id(order: Mapping[str, Any]) -> str:
    return str((order["payment"] or {}).get("paymentId"))


def waits_for_payment(order: Mapping[str, Any]) -> bool:
    return order["status"] == "RESERVED" and "PAYMENT_PENDING" in types(order)


def ended_charges(payment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [a for a in payment["attempts"] if a["kind"] == "CHARGE" and a["endedAt"] is not None]


def charges(payment: Mapping[str, Any]) -> str:
    """ "card_declined, SUCCEEDED": how each charge ended, in the order they were tried."""
    tried = sorted((a for a in payment["attempts"] if a["kind"] == "CHARGE"), key=lambda a: a["startedAt"])
    return ", ".join(a["reason"] or a["status"] for a in tried) or "none"


def money(payment: Mapping[str, Any]) -> str:
    """ "SUCCEEDED, 0.00 of 10.00 refunded"."""
    return f"{payment['status']}, {Decimal(payment['refunded'])} of {Decimal(payment['amount'])} refunded"
