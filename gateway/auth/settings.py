"""What the login can be told from outside.

Owns: names, defaults and limits of its settings, and what production refuses. Must not know: ``os.environ``, nor what
is in the files that are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from shared.config import Source
from shared.errors import Misconfigured
from shared.identity import Role
from shared.tokens import DEFAULT_TTL_S, ROLES_CLAIM, SELLER_CLAIM

PRODUCTION, DEVELOPMENT = "production", "development"
DEVELOPMENT_SECRET = "for-trying-out"  # noqa: S105 -- a mark by which secrets are refused
_LONGEST_TTL_S = 86_400
# Asymmetric only: with a shared secret, whoever can check tokens could make them, and "none" is no signature at all.
_ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")


@dataclass(frozen=True, kw_only=True)
class IssuerSettings:
    """Somebody else's tokens: Keycloak, Auth0, any issuer with a JWKS."""

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...] = ("ES256", "RS256")
    roles_claim: str = ROLES_CLAIM
    seller_claim: str = SELLER_CLAIM
    role_names: Mapping[str, Role] = field(
        default_factory=lambda: MappingProxyType({role.value: role for role in Role})
    )


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """``issuer``: somebody else logs people in; without it we do, with accounts and a key of our own."""

    mode: str = PRODUCTION
    users_file: str = ""
    signing_key: str = ""
    signing_key_file: str = ""
    retired_keys_file: str = ""
    token_ttl_s: int = DEFAULT_TTL_S
    issuer: IssuerSettings | None = None
    # Only beside an issuer: else it follows from our own key.
    session_secret: str = ""

    @property
    def is_development(self) -> bool:
        return self.mode == DEVELOPMENT

    @property
    def makes_its_key(self) -> bool:
        """No key was handed in, and none is somebody else's: one is made at the start."""
        return self.issuer is None and not (self.signing_key or self.signing_key_file)

    @classmethod
    def read(cls, source: Source) -> AuthSettings:
        settings = cls(
            mode=source.choice("ORDERSAGA_MODE", (PRODUCTION, DEVELOPMENT), PRODUCTION),
            users_file=source.text("USERS_FILE", ""),
            signing_key=source.text("JWT_SIGNING_KEY", ""),
            signing_key_file=source.text("JWT_SIGNING_KEY_FILE", ""),
            retired_keys_file=source.text("JWT_RETIRED_KEYS_FILE", ""),
            token_ttl_s=source.count("TOKEN_TTL_S", DEFAULT_TTL_S),
            issuer=_read_issuer(source),
            session_secret=source.text("SESSION_SECRET", ""),
        )
        if settings.token_ttl_s > _LONGEST_TTL_S:
            raise Misconfigured(
                f"TOKEN_TTL_S is out of range: at most {_LONGEST_TTL_S}, for no token can be taken back"
            )
        if settings.signing_key and settings.signing_key_file:
            raise Misconfigured("JWT_SIGNING_KEY and JWT_SIGNING_KEY_FILE are both set: which one is meant?")
        if not settings.is_development:
            _refuse_half_a_login(settings)
            _refuse_development_secrets(source)
        return settings


def _refuse_half_a_login(settings: AuthSettings) -> None:
    if settings.issuer is not None:
        return
    if not (settings.signing_key or settings.signing_key_file):
        raise Misconfigured(
            "production needs JWT_SIGNING_KEY or JWT_SIGNING_KEY_FILE, or an issuer of its own (TOKEN_ISSUER, "
            "TOKEN_AUDIENCE, TOKEN_JWKS_URL); ORDERSAGA_MODE=development makes a key by itself"
        )
    if not settings.users_file:
        raise Misconfigured("production needs USERS_FILE: the well-known accounts exist in development only")


def _refuse_development_secrets(source: Source) -> None:
    """In anything that was handed in, files too: what is not read today may be tomorrow."""
    guilty = sorted(
        name
        for name, value in source.values.items()
        if DEVELOPMENT_SECRET in value or (name.endswith("_FILE") and DEVELOPMENT_SECRET in _content(value))
    )
    if guilty:
        raise Misconfigured(f"{guilty[0]} holds a secret for trying out; production needs one of its own")


def _content(path: str) -> str:
    """Nothing, if it cannot be read: whoever needs the file says so."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _read_issuer(source: Source) -> IssuerSettings | None:
    names = ("TOKEN_ISSUER", "TOKEN_AUDIENCE", "TOKEN_JWKS_URL")
    missing = [name for name in names if not source.values.get(name)]
    if len(missing) == len(names):
        return None
    if missing:
        raise Misconfigured(f"{missing[0]} is not set: another issuer needs {', '.join(names)}")
    url = source.text("TOKEN_JWKS_URL")
    if not re.match(r"https?://[^\s/]", url):
        raise Misconfigured("TOKEN_JWKS_URL must be an address that begins with https:// (or http://)")
    return IssuerSettings(
        issuer=source.text("TOKEN_ISSUER"),
        audience=source.text("TOKEN_AUDIENCE"),
        jwks_url=url,
        algorithms=_algorithms(source.text("TOKEN_ALGORITHMS", "ES256,RS256")),
        roles_claim=source.text("TOKEN_ROLES_CLAIM", ROLES_CLAIM),
        seller_claim=source.text("TOKEN_SELLER_CLAIM", SELLER_CLAIM),
        role_names=_role_names(source.text("TOKEN_ROLE_NAMES", "")),
    )


def _algorithms(text: str) -> tuple[str, ...]:
    named = tuple(name.strip() for name in text.split(","))
    for name in named:
        if name not in _ALGORITHMS:
            raise Misconfigured(f"TOKEN_ALGORITHMS: {name!r} is none of {', '.join(_ALGORITHMS)}")
    return named


def _role_names(text: str) -> Mapping[str, Role]:
    """``customer=USER,shopkeeper=SELLER``; without any, roles are called what they are called here."""
    if not text:
        return MappingProxyType({role.value: role for role in Role})
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        names = {theirs.strip(): Role(ours.strip()) for theirs, _, ours in pairs}
    except ValueError as error:
        raise Misconfigured(f"TOKEN_ROLE_NAMES: {error}; should be like customer=USER,shop=SELLER") from error
    if "" in names:
        raise Misconfigured("TOKEN_ROLE_NAMES should be like customer=USER,shop=SELLER")
    return MappingProxyType(names)
