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
TOKENS = ("tok_success", "tok_success", "tok_success", "tok_card_declined", "tok_insufficient_funds")

# Action → how likely it is among those that are possible. A scenario multiplies each of the bold ones by 0, 1 or 4,
# so that some schedules are full of one kind of trouble and others know nothing of it.
WEIGHTS: Mapping[str, int] = {
    "deliver": 30,
    "relay": 16,
    "call": 12,
    "save": 12,
    "place": 12,
    "pass_time": 8,
    "fire_timer": 8,
    "cancel": 3,
    "repeat_request": 3,
    "repeat_delivery": 4,
    "publish_again": 2,
    "crash_worker": 2,
    "freeze_worker": 1,
    "thaw_worker": 4,
    "dispatch_by_hand": 1,
}
BOLD = (
    "pass_time",
    "fire_timer",
    "cancel",
    "repeat_request",
    "repeat_delivery",
    "publish_again",
    "crash_worker",
    "freeze_worker",
    "dispatch_by_hand",
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order somebody wants to place."""

    lines: tuple[tuple[str, int], ...]
    payment_mode: str = "auto"
    token: str = "tok_success"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``fault_rate`` and ``weather_rate``: how often a transaction, and a call to the provider, meets with trouble."""

    stock: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ITEMS, 5))
    wishes: tuple[Wish, ...] = (Wish(lines=(("mug", 2), ("tea", 1))),)
    reservation_ttl_s: int = 600
    pending_deadline_s: int = 900
    skews_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fault_rate: float = 0.0
    weather_rate: float = 0.0
    refuses_refunds: bool = False
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))

    def inventory_settings(self) -> dict[str, str]:
        ttl = str(self.reservation_ttl_s)
        return {"RESERVATION_TTL_S": ttl, "MANUAL_PAYMENT_TTL_S": ttl}

    def order_settings(self) -> dict[str, str]:
        return {"PENDING_DEADLINE_S": str(self.pending_deadline_s)}

    def payment_settings(self) -> dict[str, str]:
        return {"PSP_DATABASE_URL": "postgresql://nowhere"}


def make_scenario(chance: random.Random) -> Scenario:
    """Any scenario; the same ``chance``, the same scenario."""
    weights = {name: weight * (chance.choice((0, 1, 1, 4)) if name in BOLD else 1) for name, weight in WEIGHTS.items()}
    return Scenario(
        stock={item: chance.choice((0, 1, 2, 3, 5, 9, 9)) for item in ITEMS},
        wishes=tuple(_wish(chance) for _ in range(chance.choice((1, 1, 2, 2, 3)))),
        reservation_ttl_s=chance.choice((20, 60, 600, 600)),
        pending_deadline_s=chance.choice((60, 900)),
        skews_s=tuple(chance.choice((0.0, 0.0, 0.0, 2.0, -2.0, 40.0)) for _ in range(3)),  # type: ignore[arg-type]
        fault_rate=chance.choice((0.0, 0.05, 0.2, 0.4)),
        weather_rate=chance.choice((0.0, 0.0, 0.2, 0.6)),
        refuses_refunds=chance.random() < 0.08,
        weights=weights,
    )


def _wish(chance: random.Random) -> Wish:
    items = chance.sample(("mug", "tea"), chance.choice((1, 1, 2)))
    return Wish(
        lines=tuple((item, chance.choice((1, 1, 2, 3))) for item in items),
        payment_mode=chance.choice(("auto", "auto", "auto", "manual")),
        token=chance.choice(TOKENS),
    )
