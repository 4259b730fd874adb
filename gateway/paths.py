"""Ids that stand in a path: read once, in one way, before any service is asked.

Owns: their form and their documentation. Must not know: what they name.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway.fields import ITEM_PATTERN, is_item_id, is_uuid
from shared.errors import OrderNotFound, OrderSagaError

ITEM_PARAMETER: dict[str, Any] = {
    "in": "path",
    "name": "item",
    "required": True,
    "schema": {"type": "string", "pattern": ITEM_PATTERN},
}


def uuid_parameter(name: str) -> dict[str, Any]:
    """How the OpenAPI document shows it."""
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", "format": "uuid"}}


def as_uuid(text: str, missing: OrderSagaError) -> str:
    """The id in its usual form; what is no UUID names nothing, so ``missing`` is raised."""
    if not is_uuid(text):
        raise missing
    return str(UUID(text))


def as_order_id(text: str) -> str:
    """Raises OrderNotFound."""
    return as_uuid(text, order_not_found())


def order_not_found() -> OrderNotFound:
    """Also for an order that somebody is no party to: that it exists is not theirs to know."""
    return OrderNotFound("There is no order with this id")


def as_item(text: str, missing: OrderSagaError) -> str:
    """The item; what cannot be one names nothing, so ``missing`` is raised."""
    if not is_item_id(text):
        raise missing
    return text
