"""Owns: as whom the reconciler asks, wherever it runs. Must not know: what it asks.

It is an operator named ``reconciler``. Where the gateway's own key is at hand (JWT_SIGNING_KEY_FILE, JWT_SIGNING_KEY)
it signs its tokens itself; where somebody else logs people in, a token is read from RECONCILER_TOKEN_FILE, which that
issuer's agent renews, or asked for with RECONCILER_CLIENT_ID and RECONCILER_CLIENT_SECRET_FILE at RECONCILER_TOKEN_URL
(OAuth 2, client credentials).
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ops.errors import StackError
from shared import tokens
from shared.config import Source
from shared.errors import Misconfigured
from shared.identity import Role

SUBJECT = "reconciler"
_TTL_S, _EARLY_S, _TIMEOUT_S = 600, 60, 10
GiveToken = Callable[[], str]


def token_source(source: Source) -> GiveToken:
    """Gives a token that is good for at least a minute. Raises Misconfigured."""
    for name in ("RECONCILER_TOKEN_FILE", "RECONCILER_TOKEN_URL", "JWT_SIGNING_KEY_FILE", "JWT_SIGNING_KEY"):
        value = source.text(name, "")
        if value:
            return _SOURCES[name](value, source)
    raise Misconfigured("RECONCILER_TOKEN_FILE, RECONCILER_TOKEN_URL or JWT_SIGNING_KEY_FILE must be set")


def _of_file(path: str, _source: Source) -> GiveToken:
    return lambda: _text(path).strip()


def _of_key_file(path: str, source: Source) -> GiveToken:
    return _of_key(_text(path), source)


def _of_key(pem: str, _source: Source) -> GiveToken:
    key = tokens.read_signing_key(pem, name="the gateway's key")

    def sign() -> tuple[str, float]:
        return tokens.mint(key, subject=SUBJECT, roles={Role.ADMIN}, seller_id=None, ttl_s=_TTL_S), _TTL_S

    return _kept(sign)


def _of_issuer(url: str, source: Source) -> GiveToken:
    if not url.startswith(("http://", "https://")):
        raise Misconfigured("RECONCILER_TOKEN_URL is not an HTTP address")
    said = {
        "grant_type": "client_credentials",
        "client_id": source.text("RECONCILER_CLIENT_ID"),
        "client_secret": _text(source.text("RECONCILER_CLIENT_SECRET_FILE")).strip(),
    }
    return _kept(lambda: _asked(url, said))


def _asked(url: str, said: dict[str, str]) -> tuple[str, float]:
    request = urllib.request.Request(url, data=urllib.parse.urlencode(said).encode())  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            answer = json.load(response)
        return str(answer["access_token"]), float(answer.get("expires_in", _TTL_S))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"the issuer gives no token: {type(error).__name__}") from error


def _kept(get: Callable[[], tuple[str, float]]) -> GiveToken:
    """The same one until shortly before its end."""
    token, good_until_s = "", 0.0

    def give() -> str:
        nonlocal token, good_until_s
        if time.monotonic() >= good_until_s:
            token, ttl_s = get()
            good_until_s = time.monotonic() + ttl_s - _EARLY_S
        return token

    return give


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {type(error).__name__}") from error


_SOURCES = {
    "RECONCILER_TOKEN_FILE": _of_file,
    "RECONCILER_TOKEN_URL": _of_issuer,
    "JWT_SIGNING_KEY_FILE": _of_key_file,
    "JWT_SIGNING_KEY": _of_key,
}
