"""Showing an order's payment and reservation in full, as their own services know them.

Owns: which service is asked for what, both at the same time. Must not know: endpoints, or what is in the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.access import caller
from gateway.at_once import ask_at_once
from gateway.services import INVENTORY_SERVICE, PAYMENT_SERVICE, Services, trusted_services
from shared.errors import NotFound, TransientError
from shared.identity import Identity

_WHERE = {"payment": (PAYMENT_SERVICE, "get_payment"), "reservation": (INVENTORY_SERVICE, "get_reservation")}
_ID_ARGUMENT = {"payment": "order_id", "reservation": "reservation_id"}


def expanded(order: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
    """The order with each part that ``wanted`` ("payment,reservation") names as its service shows it.

    A part that does not exist yet stays what the order was told. Raises what a call raises.
    """
    parts = [name for name in wanted.split(",") if name]
    client, who = trusted_services(), caller()
    return {**order, **ask_at_once(parts, lambda part: _ask(client, part, order, who))}


def expanded_if_possible(
    order: Mapping[str, Any], identity: Identity, *, timeout_s: float
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The order with both parts, and the names of those whose service does not answer: they stay what it was told."""
    client, silent = trusted_services(), []

    def ask(part: str) -> Any:
        try:
            return _ask(client, part, order, identity, timeout_s)
        except TransientError:
            silent.append(part)
            return order.get(part)

    return {**order, **ask_at_once(list(_WHERE), ask)}, tuple(sorted(silent))


def _ask(
    client: Services, part: str, order: Mapping[str, Any], identity: Identity, timeout_s: float | None = None
) -> Any:
    service, method = _WHERE[part]
    try:
        return client.call(service, method, timeout_s, caller=identity, **{_ID_ARGUMENT[part]: order["id"]})
    except NotFound:
        return order.get(part)
