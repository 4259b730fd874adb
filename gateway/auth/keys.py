"""The keys that tokens are checked with, by the name that a token calls its key.

Owns: our own keys, those that were retired, and how all are published. Must not know: what a token says, HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.settings import AuthSettings
from shared.errors import Misconfigured
from shared.tokens import ALGORITHM, SigningKey, new_key_pem, public_jwk, read_public_keys, read_signing_key, thumbprint

_OTHERS = 0o007
# A container sees the secrets that were meant for it, and has no other users; compose gives such a file no owner.
_MOUNTED_SECRETS = Path("/run/secrets")


@dataclass(frozen=True, kw_only=True)
class VerificationKey:
    """A public key and the algorithms that it is for: a token cannot choose to have it used as something else."""

    public: Any
    algorithms: frozenset[str]


class KeySource(Protocol):
    def find(self, kid: str) -> VerificationKey | None:
        """The key of that name; None if there is none. Raises IssuerUnavailable where that cannot be known."""
        ...


class OwnKeys:
    """One key that signs, and older ones whose tokens are accepted until they expire."""

    def __init__(self, signing: SigningKey, retired: Sequence[ec.EllipticCurvePublicKey] = ()) -> None:
        self.signing = signing
        public = {thumbprint(key): key for key in (signing.public, *retired)}
        self._by_kid = {
            kid: VerificationKey(public=key, algorithms=frozenset({ALGORITHM})) for kid, key in public.items()
        }
        self.jwks: dict[str, Any] = {"keys": [public_jwk(key) for key in public.values()]}

    def find(self, kid: str) -> VerificationKey | None:
        return self._by_kid.get(kid)


def load_own_keys(settings: AuthSettings) -> OwnKeys:
    """From the settings; in development without a key, a new one that lives as long as this process and its children.

    Raises Misconfigured.
    """
    retired = []
    if settings.retired_keys_file:
        text = _read(Path(settings.retired_keys_file), "JWT_RETIRED_KEYS_FILE")
        retired = read_public_keys(text, name="JWT_RETIRED_KEYS_FILE")
    return OwnKeys(_signing_key(settings), retired)


def _signing_key(settings: AuthSettings) -> SigningKey:
    if settings.signing_key:
        return read_signing_key(settings.signing_key, name="JWT_SIGNING_KEY")
    if settings.signing_key_file:
        return _key_in(Path(settings.signing_key_file), must_be_private=not settings.is_development)
    if settings.is_development:
        return read_signing_key(new_key_pem(), name="the new key")
    raise Misconfigured("JWT_SIGNING_KEY or JWT_SIGNING_KEY_FILE is not set")


def _key_in(path: Path, *, must_be_private: bool) -> SigningKey:
    text = _read(path, "JWT_SIGNING_KEY_FILE")
    if must_be_private and path.parent != _MOUNTED_SECRETS and path.stat().st_mode & _OTHERS:
        raise Misconfigured(f"JWT_SIGNING_KEY_FILE {path} can be read by every user of this machine (chmod 600)")
    return read_signing_key(text, name=f"JWT_SIGNING_KEY_FILE {path}")


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise Misconfigured(f"{name} {path} cannot be read: {os.strerror(error.errno or 0)}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{name} {path} is not in PEM form") from error
