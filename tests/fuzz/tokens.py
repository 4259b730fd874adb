"""Who the fuzzer is: a token of each role.

Owns: which people act, and what is theirs. Must not know: requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from ops import tokens
from ops.people import OPERATOR, People, customer, seller
from ops.stack import Stack
from shared.identity import Identity

CUSTOMER, SHOP = "anna", "potter"
PEOPLE: Mapping[str, Identity] = {"USER": customer(CUSTOMER), "SELLER": seller(SHOP), "ADMIN": OPERATOR}
_LONGER_THAN_ANY_RUN_S = 43_200.0


def people_of(stack: Stack) -> People:
    """Whoever would send a request, sends it."""
    environment = stack.environment()

    def mint(who: Identity) -> str:
        return tokens.mint(environment, who.subject, who.roles, who.seller_id, ttl_s=_LONGER_THAN_ANY_RUN_S)

    return People(mint)


def tokens_of(stack: Stack) -> Mapping[str, str]:
    """Role → bearer token of somebody who has that role and no other."""
    people = people_of(stack)
    return {role: people.token(who) for role, who in PEOPLE.items()}
