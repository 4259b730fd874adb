"""Showing an order's payment and reservation in full, as their own services know them.

Owns: which service is asked for what, both at the same time. Must not know: endpoints, or what is in the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.access import caller
from gateway.at_once import ask_at_once
from gateway.services import INVENTORY_SERVICE, PAYMENT_SERVICE, trusted_services
from shared.errors import NotFound
from shared.identity import Identity

_WHERE = {"payment": (PAYMENT_SERVICE, "get_payment"), "reservation": (INVENTORY_SERVICE, "get_reservation")}
_ID_ARGUMENT = {"payment": "order_id", "reservation": "reservation_id"}


def expanded(order: Mapping[str, Any], wanted: str, identity: Identity | None = None) -> Mapping[str, Any]:
    """The order with each part that ``wanted`` ("payment,reservation") names as its service shows it.

    In the caller's name, or that of ``identity``. A part that does not exist yet stays what the order was told. Raises
    what a call raises.
    """
    parts = [name for name in wanted.split(",") if name]
    client, who = trusted_services(), identity or caller()

    def ask(part: str) -> Any:
        service, method = _WHERE[part]
        try:
            return client.call(service, method, caller=who, **{_ID_ARGUMENT[part]: order["id"]})
        except NotFound:
            return order.get(part)

    return {**order, **ask_at_once(parts, ask)}
