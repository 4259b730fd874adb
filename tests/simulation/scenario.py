"""What is given before a schedule begins: stock, wishes, settings, and how unkind the world will be.

Owns: everything about a run that is not the order of its steps. Must not know: services.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

ITEMS = {"mug": False, "tea": False, "ring": True}
"""Item → whether its seller wants to approve orders of it."""
PRICE = "10.00"
TOKENS = (
    *("tok_success",) * 8,
    *("tok_card_declined", "tok_insufficient_funds", "tok_fraud"),
    *("tok_timeout", "tok_timeout_after_charge", "tok_slow"),
    *("tok_async_success", "tok_async_failure", "tok_async_late"),
)
WEBHOOK_SECRET = "whsec_simulation"

# Action → how likely it is among those that are possible. A scenario multiplies most of them by something from 0 to 4,
# so that some schedules are full of one kind of trouble and others know nothing of it.
WEIGHTS: Mapping[str, int] = {
    "deliver": 40,
    "relay": 20,
    "call": 20,
    "save": 16,
    "place": 12,
    "pass_time": 8,
    "fire_timer": 8,
    "lull": 4,
    "outage": 1,
    "stall_queue": 2,
    "approve": 8,
    "decline": 1,
    "cancel": 2,
    "confirm": 8,
    "fulfil": 6,
    "give_back": 6,
    "refund": 3,
    "hold": 1,
    "end_hold": 2,
    "adjust": 1,
    "create_product": 1,
    "webhook": 6,
    "repeat_webhook": 1,
    "repeat_request": 3,
    "misuse_key": 1,
    "repeat_delivery": 4,
    "publish_again": 2,
    "crash_worker": 2,
    "freeze_worker": 2,
    "thaw_worker": 4,
    "dispatch_by_hand": 1,
    "dispatch_again": 2,
}
# Whoever overtakes these makes the races that the contract decides: late payments, shipping before word of the payment,
# refunds before word of the payment, cancellations before the order.
LATE_PAYMENT = ("inventory_service.PAYMENT_SUCCESS",)
STALLED = (
    *(LATE_PAYMENT,) * 2,
    *(("inventory_service.PAYMENT_SUCCESS", "inventory_service.ORDER_FULFILLED"),) * 2,
    ("order_service.PAYMENT_SUCCESS",),
    ("order_service.PAYMENT_SUCCESS", "order_service.INVENTORY_RESERVED"),
    ("order_service.INVENTORY_REFUNDED", "payment_service.INVENTORY_REFUNDED"),
    ("inventory_service.ORDER_CREATED", "payment_service.INVENTORY_RESERVED"),
    ("inventory_service.ORDER_APPROVED",),
)
_STEADY = ("deliver", "relay", "call", "save", "place", "thaw_worker", "webhook", "approve", "confirm", "fulfil")
_HARSH = ("pass_time", "outage", "cancel", "decline", "crash_worker", "freeze_worker", "stall_queue")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order somebody wants to place."""

    lines: tuple[tuple[str, int], ...]
    payment_mode: str = "auto"
    token: str = "tok_success"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``fault_rate`` and ``weather_rate``: how often a transaction, and a call to the provider, meets with trouble.

    ``skews_s``: how far the clocks of the three databases are off. ``is_unwise``: people ask for things at the wrong
    time too. ``has_head_start``: the first order comes as far as it can before trouble begins. ``stalled``: queues that
    are seldom delivered from.
    """

    stock: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ITEMS, 5))
    wishes: tuple[Wish, ...] = (Wish(lines=(("mug", 2), ("tea", 1))),)
    reservation_ttl_s: int = 600
    pending_deadline_s: int = 900
    on_deadline: str = "cancel"
    skews_s: tuple[float, ...] = (0.0, 0.0, 0.0)
    fault_rate: float = 0.0
    weather_rate: float = 0.0
    refuses_refunds: float = 0.0
    is_unwise: bool = False
    has_head_start: bool = False
    stalled: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))

    def settings(self) -> dict[str, str]:
        """What the services would find in their environment."""
        ttl = str(self.reservation_ttl_s)
        return {
            "RESERVATION_TTL_S": ttl,
            "MANUAL_PAYMENT_TTL_S": ttl,
            "PENDING_DEADLINE_S": str(self.pending_deadline_s),
            "ON_DEADLINE": self.on_deadline,
            "PSP_DATABASE_URL": "postgresql://nowhere",
            "PSP_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }


def make_scenario(chance: random.Random) -> Scenario:
    """Any scenario; the same ``chance``, the same scenario."""
    stalled = chance.choice(STALLED) if chance.random() < 0.3 else ()
    weights = {name: weight * _boldness(chance, name) for name, weight in WEIGHTS.items()}
    if stalled:
        # Long enough for something to expire meanwhile.
        weights["outage"] = 6
    return Scenario(
        weights=weights,
        stalled=stalled,
        stock={item: chance.choice((0, 2, 3, 5, 9, 9, 20, 20)) for item in ITEMS},
        wishes=tuple(_wish(chance) for _ in range(chance.choice((1, 1, 2, 2, 3)))),
        reservation_ttl_s=chance.choice((20, 60, 60, 600, 600, 600)),
        pending_deadline_s=chance.choice((60, 900, 900)),
        on_deadline=chance.choice(("cancel", "cancel", "flag")),
        skews_s=tuple(chance.choice((0.0, 0.0, 0.0, 2.0, -2.0, 40.0)) for _ in range(3)),
        fault_rate=chance.choice((0.0, 0.05, 0.2, 0.4)),
        weather_rate=chance.choice((0.0, 0.2, 0.6)),
        refuses_refunds=chance.choice((0.0,) * 8 + (0.5, 1.0)),
        is_unwise=chance.random() < 0.2,
        has_head_start=chance.random() < 0.4,
    )


def _boldness(chance: random.Random, name: str) -> int:
    if name in _STEADY:
        return 1
    return chance.choice((0, 0, 1, 3) if name in _HARSH else (0, 1, 1, 4))


def _wish(chance: random.Random) -> Wish:
    items = chance.choice((("mug",), ("tea",), ("mug", "tea"), ("tea", "mug"), ("ring",), ("ring", "mug")))
    return Wish(
        lines=tuple((item, chance.choice((1, 1, 2, 3))) for item in items),
        payment_mode=chance.choice(("auto", "auto", "manual")),
        token=chance.choice(TOKENS),
    )
