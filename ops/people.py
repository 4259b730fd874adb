"""Owns: who sends which request in our demos, and their tokens. Must not know: scenarios, or what a request leads to.

In a shop a customer places and pays, a seller makes products, ships and takes back, an operator looks at everything.
A flow says what happens; here stands who that is, so that each request bears the identity of somebody who may send it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ops import tokens
from ops.gateway_client import GatewayClient
from shared.identity import LONGEST_NAME, Identity, Role

CUSTOMER, SHOP = "ada", "seller-1"
# A demo or a benchmark lasts longer than a login.
TOKEN_TTL_S = 6 * 3600
# For load: a few people send what a thousand would.
NO_LIMITS = {"LOGIN_RATE_LIMIT": "off", "WRITE_RATE_LIMIT": "off", "READ_RATE_LIMIT": "off"}
Mint = Callable[[Identity], str]
Said = Mapping[str, Any]


def customer(name: str) -> Identity:
    return Identity(subject=name, roles=frozenset({Role.USER}))


def seller(shop: str) -> Identity:
    return Identity(subject=shop, roles=frozenset({Role.SELLER}), seller_id=shop)


OPERATOR = Identity(subject="operator", roles=frozenset({Role.ADMIN}))


def _named(said: Said, field: str, usual: str) -> str:
    """Some flows send nonsense on purpose: then it comes from whom it would come from otherwise."""
    name = said.get(field)
    return name if isinstance(name, str) and re.fullmatch(rf"[ -~]{{1,{LONGEST_NAME}}}", name) else usual


def _who_cancels(said: Said) -> Identity:
    return {"seller": seller(SHOP), "operator": OPERATOR}.get(str(said.get("by")), customer(CUSTOMER))


# The first that fits.
_SENDERS: tuple[tuple[str, Callable[[Said], Identity | None]], ...] = (
    (r"POST /orders", lambda said: customer(_named(said, "userId", CUSTOMER))),
    (r"POST /orders/[^/]+/cancel", _who_cancels),
    (r"POST /orders/[^/]+/\w+", lambda _said: seller(SHOP)),
    (r"POST /payments/[^/]+/refund", lambda _said: seller(SHOP)),
    (r"POST /(carts|payments).*", lambda _said: customer(CUSTOMER)),
    (r"(PUT|DELETE) /carts.*", lambda _said: customer(CUSTOMER)),
    (r"(POST|PATCH) /(products|inventory).*", lambda said: seller(_named(said, "sellerId", SHOP))),
    (r"POST /(psp|auth)/.*", lambda _said: None),
    (r".*", lambda _said: OPERATOR),
)


class People:
    """Tokens of everybody who has sent something so far."""

    def __init__(self, mint: Mint) -> None:
        self._mint = mint
        self._tokens: dict[Identity, str] = {}

    def headers(self, method: str, path: str, body: bytes | None) -> dict[str, str]:
        """The Authorization header of whoever sends this request; empty for one that needs nobody."""
        sender = sender_of(method, path, body)
        return {} if sender is None else {"Authorization": f"Bearer {self.token(sender)}"}

    def token(self, identity: Identity) -> str:
        if identity not in self._tokens:
            self._tokens[identity] = self._mint(identity)
        return self._tokens[identity]


def people_of(environment: Mapping[str, str]) -> People:
    """Everybody on the stack that has this environment. Raises StackError where it has no key for tokens."""

    def mint(identity: Identity) -> str:
        return tokens.mint(environment, identity.subject, identity.roles, identity.seller_id, ttl_s=TOKEN_TTL_S)

    return People(mint)


def client_of(environment: Mapping[str, str]) -> GatewayClient:
    """The gateway of that stack, each request sent by whoever would send it."""
    return GatewayClient(environment["GATEWAY_URL"], people_of(environment).headers)


def sender_of(method: str, path: str, body: bytes | None) -> Identity | None:
    request = f"{method} {path.partition('?')[0]}"
    sender = next(choose for pattern, choose in _SENDERS if re.fullmatch(pattern, request))
    return sender(_said(body))


def _said(body: bytes | None) -> Said:
    try:
        said = json.loads(body or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
