"""Owns: the short demo's catalogue and the body of an order. Must not know: what is played with them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ops.errors import StackError
from ops.gateway_client import GatewayClient
from ops.waiting import holds_within

_KNOWN_WITHIN_S = 90.0


def order(user: str, lines: Mapping[str, int], **more: Any) -> dict[str, Any]:
    items = [{"item": item, "quantity": quantity} for item, quantity in lines.items()]
    return {"userId": user, "items": items, **more}


class Shop:
    """A small catalogue of its own for each run, so that the demo can be played again and again."""

    def __init__(self, client: GatewayClient) -> None:
        self.client = client
        run = secrets.token_hex(3)
        self.lamp, self.chair, self.vase = (f"{name}-{run}" for name in ("lamp", "chair", "vase"))

    def items(self) -> tuple[str, ...]:
        return (self.lamp, self.chair, self.vase)

    def stock_up(self) -> None:
        """Three products; returns when they can be ordered. Raises StackError."""
        for item, price, on_hand in ((self.lamp, "49.90", 10), (self.chair, "120.00", 5), (self.vase, "30.00", 1)):
            self.client.post(
                "/products",
                {
                    "item": item,
                    "name": item.partition("-")[0].title(),
                    "sellerId": "seller-1",
                    "price": price,
                    "currency": "EUR",
                    "onHand": on_hand,
                },
            )
        if not holds_within(lambda: self.client.can_order(self.items()), timeout_s=_KNOWN_WITHIN_S):
            words = f"PRODUCT_UPDATED did not reach the order service within {_KNOWN_WITHIN_S:.0f} s"
            raise StackError(words)
