"""Identities that tests ask in the name of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.rpc import RpcClient
from shared.identity import Identity, Role

CUSTOMER = Identity(subject="ann", roles=frozenset({Role.USER}))
"""Who the payloads of harness.payloads are about."""
STRANGER = Identity(subject="bob", roles=frozenset({Role.USER}))
SELLER = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
"""Whose goods the payloads of harness.payloads are about."""
RIVAL = Identity(subject="rex", roles=frozenset({Role.SELLER}), seller_id="other-shop")
SHOPLESS = Identity(subject="sol", roles=frozenset({Role.SELLER}))
OPERATOR = Identity(subject="root", roles=frozenset({Role.ADMIN}))
EVERYTHING_BUT_OPERATOR = Identity(subject="ann", roles=frozenset({Role.USER, Role.SELLER}), seller_id="shop")


def asks_of(rpc: RpcClient, service: str) -> Callable[..., Any]:
    """(who asks, method, arguments) → what the service answers; None is somebody with the broker's password."""

    def ask(caller: Identity | None, method: str, **arguments: Any) -> Any:
        return rpc.call(service, method, caller=caller, **arguments)

    return ask
