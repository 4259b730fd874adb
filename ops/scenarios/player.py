"""Owns: the short demo's way of playing: place orders, follow them to their end. Must not know: screens, databases.

Each scenario plays through the gateway's HTTP API, as a customer would; only the kill takes hold of a process.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ops.gateway_client import Refused
from ops.scenarios.endings import Outcomes, is_whole
from ops.scenarios.freezing import frozen
from ops.scenarios.shop import Shop
from ops.stack import Stack
from ops.waiting import holds_within

SAGA_TIMEOUT_S = 90.0
_PAUSE_S = 0.03


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


class Player:
    """Plays scenarios on one stack. ``watch`` sees every order as it develops."""

    def __init__(self, stack: Stack, shop: Shop, watch: Watch) -> None:
        self._stack = stack
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

        if not holds_within(has_ended, timeout_s=SAGA_TIMEOUT_S, pause_s=_PAUSE_S):
            scene.problem = f"order {order_id} did not end"
        return latest

    def cancel(self, scene: Scene) -> None:
        """As their customer, once they wait to be paid."""
        for order_id in scene.order_ids:
            self._wait_until_reserved(order_id)
            self._client.post(f"/orders/{order_id}/cancel", {"by": "customer"})

    def kill_payment_service_over(self, scene: Scene) -> None:
        """SIGKILL the payment service once this order's event was sent to it. Within :meth:`frozen_payment_service`:
        frozen, it has the event in hand and has done nothing with it.
        """
        self._wait_until_reserved(scene.order_ids[0])
        self._stack.kill("payment_service")

    def _wait_until_reserved(self, order_id: str) -> None:
        def is_reserved() -> bool:
            return str(self._client.get(f"/orders/{order_id}")["status"]) == "RESERVED"

        holds_within(is_reserved, timeout_s=20, pause_s=_PAUSE_S)

    def frozen_payment_service(self) -> contextlib.AbstractContextManager[None]:
        return frozen(self._stack, "payment_service")
