"""Owns: how an order may end, and when it has. Must not know: what was played to get there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Outcomes = tuple[tuple[str, str | None], ...]
"""Statuses of orders in any order, each with its reason (None for a confirmed one)."""

CONFIRMED = ("CONFIRMED", None)


def cancelled(reason: str) -> tuple[str, str | None]:
    return ("CANCELLED", reason)


def in_words(status: str, reason: str | None) -> str:
    return f"{status} ({reason})" if reason else status


def is_whole(order: Mapping[str, Any]) -> bool:
    """Checkout has ended: confirmed, or cancelled with stock and money known to be settled."""
    return order["status"] in ("CONFIRMED", "FULFILLED") or (
        order["status"] == "CANCELLED" and order["settledAt"] is not None
    )
