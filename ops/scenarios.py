"""Owns: the scenarios of the demo: what is done and what must come of it. Must not know: screens, databases.

Each scenario plays through the gateway's HTTP API, as a customer would; only the kill takes hold of a process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ops.errors import StackError
from ops.gateway_client import GatewayClient, Refused
from ops.stack import Stack
from ops.waiting import holds_within

SAGA_TIMEOUT_S = 90.0
_PAUSE_S = 0.03


Outcomes = tuple[tuple[str, str | None], ...]
"""Statuses of orders in any order, each with its reason (None for a confirmed one)."""

CONFIRMED = ("CONFIRMED", None)


def cancelled(reason: str) -> tuple[str, str | None]:
    return ("CANCELLED", reason)


@dataclass(kw_only=True)
class Scene:
    """A scenario as played: its orders and what became of them."""

    name: str
    expected: Outcomes
    order_ids: list[str] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None

    @property
    def seen(self) -> Outcomes:
        return tuple((order["status"], order["reason"]) for order in self.orders)

    @property
    def is_as_expected(self) -> bool:
        return self.problem is None and sorted(self.seen, key=str) == sorted(self.expected, key=str)


Watch = Callable[[dict[str, Any]], None]
"""Called with an order each time it was read, so that a screen can show its timeline growing."""


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
        if not holds_within(lambda: self.client.can_order(self.items()), timeout_s=20):
            raise StackError("PRODUCT_UPDATED did not reach the order service within 20 s")


def order(user: str, lines: Mapping[str, int], **more: Any) -> dict[str, Any]:
    items = [{"item": item, "quantity": quantity} for item, quantity in lines.items()]
    return {"userId": user, "items": items, **more}


class Player:
    """Plays scenarios on one stack. ``watch`` sees every order as it develops."""

    def __init__(self, stack: Stack, shop: Shop, watch: Watch) -> None:
        self._stack = stack
        self._shop = shop
        self._client = shop.client
        self._watch = watch

    def begin(self, name: str, expected: Outcomes, *bodies: dict[str, Any]) -> Scene:
        """Place the orders of a scenario, all at once when there are several."""
        scene = Scene(name=name, expected=expected)
        lock = threading.Lock()

        def place(body: dict[str, Any]) -> None:
            placed = self._client.post("/orders", body)
            with lock:
                scene.order_ids.append(placed["id"])

        threads = [threading.Thread(target=place, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(scene.order_ids) < len(bodies):
            scene.problem = "an order was not accepted"
        return scene

    def follow(self, scene: Scene) -> Scene:
        """Wait until the orders of ``scene`` have ended, showing their timelines."""
        scene.orders = [self._follow_order(order_id, scene) for order_id in scene.order_ids]
        return scene

    def _follow_order(self, order_id: str, scene: Scene) -> dict[str, Any]:
        latest: dict[str, Any] = {}

        def has_ended() -> bool:
            # A part of the system may just be down: that is what some scenarios are about.
            with contextlib.suppress(Refused, OSError):
                latest.update(self._client.get(f"/orders/{order_id}"))
                self._watch(latest)
            return bool(latest) and is_whole(latest)

        if not holds_within(has_ended, timeout_s=SAGA_TIMEOUT_S + _waits_until_expiry_s(latest), pause_s=_PAUSE_S):
            scene.problem = f"order {order_id} did not end"
        return latest

    def kill_payment_service_over(self, scene: Scene) -> None:
        """SIGKILL the payment service once this order's event was sent to it. Within :meth:`frozen_payment_service`:
        frozen, it has the event in hand and has done nothing with it.
        """
        order_id = scene.order_ids[0]

        def is_reserved() -> bool:
            return str(self._client.get(f"/orders/{order_id}")["status"]) == "RESERVED"

        holds_within(is_reserved, timeout_s=20, pause_s=_PAUSE_S)
        self._stack.kill("payment_service")

    def frozen_payment_service(self) -> contextlib.AbstractContextManager[None]:
        return _frozen(self._pid("payment_service"))

    def _pid(self, name: str) -> int:
        for process in self._stack.processes():
            if process.name == name and process.pid:
                return process.pid
        raise StackError(f"{name} does not run")


@contextlib.contextmanager
def _frozen(pid: int) -> Any:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def is_whole(order_: Mapping[str, Any]) -> bool:
    """Checkout has ended: confirmed, or cancelled with stock and money known to be settled."""
    return order_["status"] in ("CONFIRMED", "FULFILLED") or (
        order_["status"] == "CANCELLED" and order_["settledAt"] is not None
    )


def _waits_until_expiry_s(order_: Mapping[str, Any]) -> float:
    reservation = order_.get("reservation") or {}
    expires_at = reservation.get("expiresAt")
    if expires_at is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds())
