"""Payloads of events as their publishers write them, for tests that publish by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from shared.envelope import new_id


def new_order_id() -> str:
    """In the order of time, as the order service makes them."""
    return str(new_id())


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def order_created(order_id: str, item: str, quantity: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "userId": "ann",
        "items": [{"item": item, "sellerId": "shop", "quantity": quantity, "price": "10.00"}],
        "price": "10.00",
        "currency": "EUR",
        "status": "PENDING",
        "paymentMode": "auto",
        "requiresApproval": False,
        **changes,
    }


def inventory_reserved(order_id: str, generation: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "generation": generation,
        "items": [{"item": "thing", "quantity": 1}],
        "price": "10.00",
        "currency": "EUR",
        "expiresAt": in_seconds(1800),
        "userId": "ann",
        "paymentMethod": None,
        "paymentMode": "auto",
        "sellerId": "shop",
        **changes,
    }


def inventory_refunded(order_id: str, generation: int = 1, reason: str = "expired") -> dict[str, Any]:
    return {"id": order_id, "generation": generation, "reason": reason, "items": []}


def order_cancelled(order_id: str, reason: str = "timeout") -> dict[str, Any]:
    return {"id": order_id, "reason": reason}


def payment_success(order_id: str) -> dict[str, Any]:
    return {"id": order_id, "paymentId": str(uuid4()), "price": "10.00", "currency": "EUR", "pspReference": "psp_1"}


def payment_failed(order_id: str, reason: str = "card_declined") -> dict[str, Any]:
    return {"id": order_id, "paymentId": str(uuid4()), "reason": reason}
