"""From a token to an identity.

Owns: which tokens are believed. Must not know: where a token stands in a request, or what its owner may do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from gateway.auth.claims import identity_in
from gateway.auth.keys import KeySource, VerificationKey
from gateway.auth.settings import IssuerSettings
from gateway.request_errors import Unauthenticated
from shared.identity import Identity
from shared.tokens import ALGORITHM, AUDIENCE, ISSUER

LONGEST_TOKEN = 8_000
# Clocks of two machines are never quite the same.
LEEWAY_S = 5
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST_KID = 255
_MOST_REMEMBERED = 2_000
_REQUIRED = ["iss", "aud", "sub", "iat", "exp"]
_OURS = IssuerSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url="", algorithms=(ALGORITHM,))


@dataclass(frozen=True, slots=True)
class _Checked:
    """What came out when a token was checked; good as long as its key is."""

    identity: Identity
    kid: str
    key: VerificationKey
    ends_at: float


class Verifier:
    """Believes what ``keys`` have signed in the name of ``rules.issuer`` for ``rules.audience``.

    The same token comes with every request of its owner: a signature is checked once. Safe from any thread.
    """

    def __init__(self, keys: KeySource, rules: IssuerSettings = _OURS) -> None:
        self._keys, self._rules = keys, rules
        self._checked: dict[bytes, _Checked] = {}

    def identity_of(self, token: str) -> Identity:
        """Who bears it. Raises Unauthenticated, or IssuerUnavailable if its key cannot be fetched."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._checked.get(digest)
        if known is None or time.time() >= known.ends_at or self._keys.find(known.kid) is not known.key:
            self._checked.pop(digest, None)
            known = self._check(token)
            if len(self._checked) >= _MOST_REMEMBERED:
                self._checked.clear()
            self._checked[digest] = known
        return known.identity

    def _check(self, token: str) -> _Checked:
        if len(token) > LONGEST_TOKEN or _SHAPE.fullmatch(token) is None:
            raise Unauthenticated("That is not a token")
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._rules.algorithms:
            raise Unauthenticated("The token is not signed in a way that is accepted")
        if not isinstance(kid, str) or not 1 <= len(kid) <= _LONGEST_KID:
            raise Unauthenticated("The token does not name its key")
        key = self._keys.find(kid)
        if key is None or algorithm not in key.algorithms:
            raise Unauthenticated("The token is not signed with a key that is accepted")
        claims = self._claims(token, key.public, str(algorithm))
        identity = identity_in(
            claims,
            roles_claim=self._rules.roles_claim,
            seller_claim=self._rules.seller_claim,
            role_names=self._rules.role_names,
        )
        return _Checked(identity, kid, key, float(claims["exp"]))

    def _claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
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
