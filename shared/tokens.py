"""Access tokens of our own: the key they are signed with, what they say, how they are made.

Owns: keys as PEM and JWK, thumbprints, claims. Must not know: who may have a token (the gateway's login decides), HTTP,
or where a key is kept.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm

from shared.errors import Misconfigured
from shared.identity import Role

ALGORITHM = "ES256"
ISSUER = "ordersaga"
AUDIENCE = "ordersaga"
SELLER_CLAIM = "seller_id"
ROLES_CLAIM = "roles"
DEFAULT_TTL_S = 900

_END_OF_KEY = "-----END PUBLIC KEY-----"


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private P-256 key and the name (kid) that tokens call it by."""

    private: ec.EllipticCurvePrivateKey
    kid: str

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.private.public_key()


def derived_secret(key: SigningKey, purpose: str) -> bytes:
    """32 bytes that whoever has the key can make again, and that tell nothing about it or about other purposes."""
    number = key.private.private_numbers().private_value
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(number.to_bytes(32, "big"))


def new_key_pem() -> str:
    """A fresh private key; whoever writes it to a file gives that mode 600."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_signing_key(pem: str, *, name: str) -> SigningKey:
    """``name`` is how the error calls it; the key itself is never shown. Raises Misconfigured."""
    try:
        private = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured(f"{name} is not an unencrypted private key in PEM form") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not _is_p256(private):
        raise Misconfigured(f"{name} is not a P-256 key (openssl ecparam -name prime256v1 -genkey -noout)")
    return SigningKey(private=private, kid=thumbprint(private.public_key()))


def read_public_keys(pem: str, *, name: str) -> list[ec.EllipticCurvePublicKey]:
    """All public keys of one file, one after the other. Raises Misconfigured if there is none, or another kind."""
    blocks = [part + _END_OF_KEY for part in pem.split(_END_OF_KEY)[:-1]]
    rest = pem.rpartition(_END_OF_KEY)[2]
    if not blocks or rest.strip():
        raise Misconfigured(f"{name} should hold public keys in PEM form and nothing else")
    return [_public_key(block, name) for block in blocks]


def _public_key(pem: str, name: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.strip().encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured(f"{name} holds something that is not a public key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key):
        raise Misconfigured(f"{name} holds a key that is not a P-256 key")
    return key


def _is_p256(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bool:
    return isinstance(key.curve, ec.SECP256R1)


def thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    """RFC 7638: the same key has the same name, whoever computes it."""
    members = ECAlgorithm.to_jwk(key, as_dict=True)
    said = {name: members[name] for name in ("crv", "kty", "x", "y")}
    digest = sha256(json.dumps(said, separators=(",", ":"), sort_keys=True).encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """As it stands in a JWKS."""
    members = ECAlgorithm.to_jwk(key, as_dict=True)
    said = {name: members[name] for name in ("kty", "crv", "x", "y")}
    return {**said, "use": "sig", "alg": ALGORITHM, "kid": thumbprint(key)}


def mint(
    key: SigningKey,
    *,
    subject: str,
    roles: Iterable[Role],
    seller_id: str | None = None,
    ttl_s: float = DEFAULT_TTL_S,
) -> str:
    """A bearer token; valid from now on for ``ttl_s`` seconds."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        ROLES_CLAIM: sorted(roles),
        "iat": now,
        "nbf": now,
        "exp": int(now + ttl_s),
        "jti": str(uuid4()),
    }
    if seller_id is not None:
        claims[SELLER_CLAIM] = seller_id
    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})
