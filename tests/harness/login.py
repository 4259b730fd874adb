"""Acting as somebody: tokens that the gateway under test believes.

Owns: the key that tests sign with, and a few people. Must not know: what any single test promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, Accounts
from gateway.auth.composition import Authentication, with_own_login
from gateway.auth.keys import OwnKeys
from gateway.services import Services
from gateway.settings import HttpSettings
from shared.identity import Identity, Role
from shared.tokens import mint, new_key_pem, read_signing_key

KEY_PEM = new_key_pem()
KEY = read_signing_key(KEY_PEM, name="the tests' key")

EVERYBODY = Identity(subject="anna", roles=frozenset(Role), seller_id="s1")
"""Has every role: for tests that are about something else."""
USER = Identity(subject="anna", roles=frozenset({Role.USER}))
SELLER = Identity(subject="sam", roles=frozenset({Role.SELLER}), seller_id="s1")
ADMIN = Identity(subject="ada", roles=frozenset({Role.ADMIN}))


def authentication(accounts: Accounts | None = None) -> Authentication:
    """With the tests' key, and the accounts of development if there are no others."""
    return with_own_login(OwnKeys(KEY), accounts or Accounts(DEVELOPMENT_ACCOUNTS))


def token(identity: Identity = EVERYBODY, *, ttl_s: float = 86_400) -> str:
    """For a day: some are made when tests are collected, long before they run."""
    return mint(KEY, subject=identity.subject, roles=identity.roles, seller_id=identity.seller_id, ttl_s=ttl_s)


def bearer(identity: Identity = EVERYBODY) -> dict[str, str]:
    """Headers of a request in somebody's name."""
    return {"Authorization": f"Bearer {token(identity)}"}


def client_of(
    services: Services,
    identity: Identity | None = EVERYBODY,
    settings: HttpSettings | None = None,
    *,
    accounts: Accounts | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FlaskClient:
    """A client of a gateway in front of ``services``, logged in as ``identity``; None: as nobody.

    A request's own Authorization header replaces the client's.
    """
    app = create_app(settings or HttpSettings(), services, authentication(accounts), is_stopping=is_stopping)
    client = app.test_client()
    if identity is not None:
        environ: dict[str, Any] = client.environ_base
        environ["HTTP_AUTHORIZATION"] = bearer(identity)["Authorization"]
    return client
