"""Who asks: a subject, its roles, and how both travel with a request.

Owns: the roles, what makes somebody a party to a thing that has a customer and a seller, the header's form.
Must not know: tokens and passwords (the gateway proves who somebody is), orders, or what a party may do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import InvalidRequest

HEADER = "nameko.identity"
"""Nameko's own convention for what travels beside a request: in its contexts the name is ``identity``."""
LONGEST_NAME = 64


class Role(StrEnum):
    USER = "USER"
    SELLER = "SELLER"
    ADMIN = "ADMIN"


class Party(StrEnum):
    """What somebody is to one thing, such as an order: the one who buys, the one who sells, or the house."""

    CUSTOMER = "customer"
    SELLER = "seller"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """``subject`` is the user's id, ``seller_id`` the shop that a SELLER sells for.

    ``is_trusted``: came without an identity from somebody who holds the broker's password (`nameko shell`, our own
    tools). Everything is allowed, and what is done in whose name is said by the arguments alone.
    """

    subject: str
    roles: frozenset[Role] = frozenset()
    seller_id: str | None = None
    is_trusted: bool = False

    def has(self, *roles: Role) -> bool:
        """Whether at least one of ``roles`` is held."""
        return self.is_trusted or not self.roles.isdisjoint(roles)

    def parties_to(self, *, user_id: str | None, seller_id: str | None) -> tuple[Party, ...]:
        """What this identity is to something that ``user_id`` buys from ``seller_id``; nothing at all: a stranger."""
        if self.is_trusted:
            return tuple(Party)
        is_party = {
            Party.CUSTOMER: Role.USER in self.roles and user_id is not None and user_id == self.subject,
            Party.SELLER: Role.SELLER in self.roles and seller_id is not None and seller_id == self.seller_id,
            Party.OPERATOR: Role.ADMIN in self.roles,
        }
        return tuple(party for party, holds in is_party.items() if holds)

    def header(self) -> str:
        """For the header named HEADER; :func:`read_identity` reads it."""
        said = {"subject": self.subject, "roles": sorted(self.roles), "sellerId": self.seller_id}
        return json.dumps(said, separators=(",", ":"))


TRUSTED = Identity(subject="broker", is_trusted=True)
ANONYMOUS = Identity(subject="anonymous")
"""Somebody who has not said who they are: no role, party to nothing."""


def read_identity(header: Any) -> Identity:
    """What :meth:`Identity.header` wrote; None, no header at all, is TRUSTED. Raises InvalidRequest."""
    if header is None:
        return TRUSTED
    try:
        said = json.loads(header)
        subject, roles, seller_id = said["subject"], frozenset(Role(role) for role in said["roles"]), said["sellerId"]
    except (TypeError, ValueError, KeyError) as error:
        raise _unreadable() from error
    if not (_is_name(subject) and (seller_id is None or _is_name(seller_id))):
        raise _unreadable()
    return Identity(subject=subject, roles=roles, seller_id=seller_id)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_NAME


def _unreadable() -> InvalidRequest:
    return InvalidRequest("the request's identity cannot be read", {"errors": {"identity": ["not an identity"]}})
