"""From a token to an identity.

Owns: which tokens are believed. Must not know: where a token stands in a request, or what its owner may do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from gateway.auth.claims import identity_in
from gateway.auth.keys import KeySource
from gateway.auth.settings import IssuerSettings
from gateway.request_errors import Unauthenticated
from shared.identity import Identity
from shared.tokens import ALGORITHM, AUDIENCE, ISSUER

LONGEST_TOKEN = 8_000
# Clocks of two machines are never quite the same.
LEEWAY_S = 5
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST_KID = 255
_REQUIRED = ["iss", "aud", "sub", "iat", "exp"]
_OURS = IssuerSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url="", algorithms=(ALGORITHM,))


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Believes what ``keys`` have signed in the name of ``rules.issuer`` for ``rules.audience``."""

    keys: KeySource
    rules: IssuerSettings = field(default=_OURS)

    def identity_of(self, token: str) -> Identity:
        """Who bears it. Raises Unauthenticated, or IssuerUnavailable if its key cannot be fetched."""
        claims = self._checked(token)
        return identity_in(
            claims,
            roles_claim=self.rules.roles_claim,
            seller_claim=self.rules.seller_claim,
            role_names=self.rules.role_names,
        )

    def _checked(self, token: str) -> Mapping[str, Any]:
        if len(token) > LONGEST_TOKEN or _SHAPE.fullmatch(token) is None:
            raise Unauthenticated("That is not a token")
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.rules.algorithms:
            raise Unauthenticated("The token is not signed in a way that is accepted")
        if not isinstance(kid, str) or not 1 <= len(kid) <= _LONGEST_KID:
            raise Unauthenticated("The token does not name its key")
        key = self.keys.find(kid)
        if key is None or algorithm not in key.algorithms:
            raise Unauthenticated("The token is not signed with a key that is accepted")
        return self._claims(token, key.public, str(algorithm))

    def _claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self.rules.issuer,
                audience=self.rules.audience,
                leeway=LEEWAY_S,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The token has expired") from error
        except jwt.ImmatureSignatureError as error:
            raise Unauthenticated("The token is not valid yet") from error
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
            raise Unauthenticated("The token is not meant for this API") from error
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise Unauthenticated("The token is not valid") from error


def _header(token: str) -> Mapping[str, Any]:
    """Nothing in it is believed: it only says which key to try."""
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise Unauthenticated("That is not a token") from error
