"""Logging in with a name and a password of our own.

Owns: what a right password is worth: a token for a while. Must not know: HTTP, or where accounts and keys come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.keys import OwnKeys
from gateway.auth.passwords import Passwords
from gateway.request_errors import InvalidCredentials
from shared.identity import Identity, Role
from shared.tokens import mint


@dataclass(frozen=True, kw_only=True)
class Granted:
    token: str
    ttl_s: int
    roles: tuple[Role, ...]


@dataclass(frozen=True, kw_only=True)
class Login:
    passwords: Passwords
    keys: OwnKeys
    ttl_s: int

    def identity_of(self, name: str, password: str) -> Identity:
        """Raises InvalidCredentials, which does not say whether somebody has that name, or LoginBusy."""
        identity = self.passwords.identity_of(name, password)
        if identity is None:
            raise InvalidCredentials("User name or password is wrong")
        return identity

    def grant(self, name: str, password: str) -> Granted:
        """Raises what :meth:`identity_of` raises."""
        identity = self.identity_of(name, password)
        token = mint(
            self.keys.signing,
            subject=identity.subject,
            roles=identity.roles,
            seller_id=identity.seller_id,
            ttl_s=self.ttl_s,
        )
        return Granted(token=token, ttl_s=self.ttl_s, roles=tuple(sorted(identity.roles)))
