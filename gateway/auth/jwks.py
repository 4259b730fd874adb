"""The keys of another issuer: fetched from its JWKS, kept, and fetched again when they may have changed.

Owns: when the network is asked, and what of a JWKS can check a signature. Must not know: tokens' claims, Flask.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import jwt

from gateway.auth.keys import VerificationKey
from gateway.request_errors import IssuerUnavailable
from shared.logs import get_logger

log = get_logger(__name__)

TIMEOUT_S = 3.0
# A key that its issuer has withdrawn is no longer accepted after this.
KEPT_FOR_S = 300.0
# Whoever sends tokens with invented key names must not make us ask more often than this.
ASKED_AT_MOST_EVERY_S = 5.0
_LARGEST_DOCUMENT = 512 * 1024
_BY_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

Fetch = Callable[[str], bytes]


def fetch(url: str) -> bytes:
    """Raises OSError or ValueError."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 -- http(s), see settings
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 -- the same
        body: bytes = response.read(_LARGEST_DOCUMENT + 1)
    if len(body) > _LARGEST_DOCUMENT:
        raise ValueError("the document is too large")
    return body


def read_jwks(document: bytes) -> dict[str, VerificationKey]:
    """The keys that can check a signature, by name; others (for encryption, of kinds unknown here) are passed over.

    Raises ValueError if it is no JWKS.
    """
    said = json.loads(document)
    entries = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS")
    found = {}
    for entry in entries:
        key = _read_key(entry)
        if key is not None:
            found[entry["kid"]] = key
    return found


def _read_key(entry: Any) -> VerificationKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
        return None
    algorithms = _algorithms_of(entry)
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(_public_members(entry), algorithm=min(algorithms)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return VerificationKey(public=public, algorithms=algorithms)


def _algorithms_of(entry: Mapping[str, Any]) -> frozenset[str]:
    fitting: tuple[str, ...] = ()
    if entry.get("kty") == "RSA":
        fitting = _RSA
    elif entry.get("kty") in ("EC", "OKP"):
        fitting = tuple(name for curve, name in _BY_CURVE.items() if curve == entry.get("crv"))
    return frozenset(name for name in fitting if entry.get("alg", name) == name)


def _public_members(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Only what makes a public key: one published with its private half by mistake is still used as a public one."""
    return {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}


class IssuerKeys:
    """Safe from any thread: one asks, the others go on with the keys that are known."""

    def __init__(self, url: str, *, fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._fetch, self._clock = url, fetch, clock
        self._keys: Mapping[str, VerificationKey] = {}
        self._asked_at = self._learnt_at = float("-inf")
        self._asking = Lock()

    def find(self, kid: str) -> VerificationKey | None:
        """The key of that name; None if its issuer has none. Raises IssuerUnavailable if it could not be asked."""
        known = self._keys.get(kid)
        if known is not None and not self._is_stale():
            return known
        if known is not None:
            self._ask_unless_somebody_does()
            return self._keys.get(kid)
        # With keys to go on with, nobody waits while somebody asks: who invents key names would otherwise have every
        # thread wait for an issuer that is slow.
        if not self._ask_unless_somebody_does(waits=not self._keys):
            raise IssuerUnavailable("The keys of the token's issuer are being fetched")
        found = self._keys.get(kid)
        if found is None and self._learnt_at < self._asked_at:
            raise IssuerUnavailable("The keys of the token's issuer cannot be fetched at the moment")
        return found

    def _is_stale(self) -> bool:
        return self._clock() - self._learnt_at > KEPT_FOR_S

    def _ask_unless_somebody_does(self, *, waits: bool = False) -> bool:
        """False if somebody does; who ``waits`` asks after them, which is seldom necessary."""
        if not self._asking.acquire(blocking=waits):
            return False
        try:
            self._ask()
        finally:
            self._asking.release()
        return True

    def _ask(self) -> None:
        now = self._clock()
        if now - self._asked_at < ASKED_AT_MOST_EVERY_S:
            return
        self._asked_at = now
        try:
            self._keys = read_jwks(self._fetch(self._url))
        except (OSError, ValueError, RecursionError) as error:
            # Better the keys of before than nobody logged in.
            log.warning("issuer_keys_not_fetched", url=self._url, error=str(error))
            return
        self._learnt_at = now
        log.info("issuer_keys_fetched", url=self._url, kids=sorted(self._keys))
