"""Puts the parts of the login together, once, before any worker is forked: all workers share accounts and keys.

Owns: which parts there are for which settings. Must not know: what the parts do, Flask.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, Account, Accounts, load_accounts, refuse_development_accounts
from gateway.auth.jwks import IssuerKeys
from gateway.auth.keys import OwnKeys, load_own_keys
from gateway.auth.login import Login
from gateway.auth.passwords import Passwords
from gateway.auth.settings import AuthSettings
from gateway.auth.verifier import Verifier
from shared.tokens import DEFAULT_TTL_S, derived_secret, new_key_pem, read_signing_key


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """``login`` is None where another issuer logs people in.

    ``session_secret`` signs the cookies of the dashboard: all gateways that share it share their logins. ``mark_of``
    says of a subject under which mark a session of theirs holds; None: under none (see :meth:`Accounts.mark_of`).
    """

    verifier: Verifier
    session_secret: bytes
    mark_of: Callable[[str], str | None]
    login: Login | None = None


def authentication(settings: AuthSettings) -> Authentication:
    """Raises Misconfigured."""
    if settings.issuer is not None:
        return Authentication(
            verifier=Verifier(IssuerKeys(settings.issuer.jwks_url), settings.issuer),
            session_secret=settings.session_secret.encode() or secrets.token_bytes(32),
            # Their accounts are not ours: nobody here learns of a change before the session ends.
            mark_of=lambda _subject: "",
        )
    return with_own_login(load_own_keys(settings), Accounts(_accounts(settings)), settings.token_ttl_s)


def with_own_login(keys: OwnKeys, accounts: Accounts, ttl_s: int = DEFAULT_TTL_S) -> Authentication:
    login = Login(passwords=Passwords(accounts), keys=keys, ttl_s=ttl_s)
    return Authentication(
        verifier=Verifier(keys),
        session_secret=derived_secret(keys.signing, "dashboard sessions"),
        mark_of=accounts.mark_of,
        login=login,
    )


def nobody() -> Authentication:
    """Nobody has an account, and no token is believed: all that is not public is closed."""
    return with_own_login(OwnKeys(read_signing_key(new_key_pem(), name="the new key")), Accounts(()))


def _accounts(settings: AuthSettings) -> list[Account]:
    if not settings.users_file:
        return list(DEVELOPMENT_ACCOUNTS) if settings.is_development else []
    accounts = load_accounts(Path(settings.users_file))
    if not settings.is_development:
        refuse_development_accounts(accounts)
    return accounts
