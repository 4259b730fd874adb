"""Identities that tests ask in the name of."""

from __future__ import annotations

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
