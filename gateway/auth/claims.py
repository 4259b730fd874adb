"""What a checked token says about its owner.

Owns: where roles and the shop stand, and what they are called by whoever issued it. Must not know: keys, signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.auth.names import RESERVED_SUBJECTS, is_name
from gateway.request_errors import Unauthenticated
from shared.identity import Identity, Role


def identity_in(
    claims: Mapping[str, Any], *, roles_claim: str, seller_claim: str, role_names: Mapping[str, Role]
) -> Identity:
    """Roles that are not ours are passed over. Raises Unauthenticated for names that no identity can bear."""
    subject, seller_id = claims.get("sub"), _at(claims, seller_claim)
    if not is_name(subject):
        raise Unauthenticated("The token's subject is not 1 to 64 printable characters")
    if subject in RESERVED_SUBJECTS:
        raise Unauthenticated("The token's subject is a name that nobody may have")
    if seller_id is not None and not is_name(seller_id):
        raise Unauthenticated("The token's shop is not 1 to 64 printable characters")
    roles = frozenset(role_names[name] for name in _names(_at(claims, roles_claim)) if name in role_names)
    return Identity(subject=str(subject), roles=roles, seller_id=seller_id)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """``realm_access.roles`` in Keycloak; Auth0's are called like addresses, whose dots are part of the name."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
