"""What production refuses, and what development makes by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import argon2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.processes import ROOT

from gateway.auth.composition import authentication
from gateway.auth.settings import AuthSettings
from gateway.auth.verifier import Verifier
from gateway.settings import GatewaySettings
from shared.config import Source
from shared.errors import Misconfigured
from shared.identity import Role
from shared.tokens import mint, new_key_pem, read_signing_key

KEY_PEM = new_key_pem()
ISSUER = {"TOKEN_ISSUER": "https://i.example", "TOKEN_AUDIENCE": "api", "TOKEN_JWKS_URL": "https://i.example/jwks"}
OWN_HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8_000, parallelism=1).hash("own")


@pytest.fixture
def users(tmp_path: Path) -> str:
    account = {"id": "u", "name": "anna", "roles": ["USER"], "passwordHash": OWN_HASH}
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"users": [account]}))
    return str(path)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_text(KEY_PEM)
    path.chmod(0o600)
    return path


def read(**values: str) -> AuthSettings:
    return AuthSettings.read(Source(values=values))


class TestProduction:
    """The default: nobody has to ask for it."""

    def test_needs_a_key(self, users: str) -> None:
        with pytest.raises(Misconfigured, match="production needs JWT_SIGNING_KEY"):
            read(USERS_FILE=users)

    def test_needs_accounts(self) -> None:
        with pytest.raises(Misconfigured, match="production needs USERS_FILE"):
            read(JWT_SIGNING_KEY=KEY_PEM)

    def test_with_both_it_starts(self, users: str, key_file: Path) -> None:
        for key in ({"JWT_SIGNING_KEY": KEY_PEM}, {"JWT_SIGNING_KEY_FILE": str(key_file)}):
            login = authentication(read(USERS_FILE=users, **key)).login
            assert login is not None
            assert login.grant("anna", "own").roles == (Role.USER,)

    def test_with_another_issuer_it_needs_neither(self) -> None:
        assert authentication(read(**ISSUER)).login is None

    def test_refuses_accounts_of_development(self, tmp_path: Path) -> None:
        account = {"id": "admin-1", "name": "root", "roles": ["ADMIN"], "passwordHash": OWN_HASH}
        path = tmp_path / "users.json"
        path.write_text(json.dumps({"users": [account]}))
        values = {"JWT_SIGNING_KEY": KEY_PEM, "USERS_FILE": str(path)}

        with pytest.raises(Misconfigured, match="not for production"):
            authentication(read(**values))
        assert authentication(read(**values, ORDERSAGA_MODE="development")).login is not None

    @pytest.mark.parametrize("name", ["AMQP_URI", "TOKEN_JWKS_URL", "RABBITMQ_MANAGEMENT_URL", "JWT_SIGNING_KEY"])
    def test_refuses_secrets_of_development(self, name: str) -> None:
        values = {**ISSUER, name: "https://someone:for-trying-out@example.org/"}

        with pytest.raises(Misconfigured, match=f"{name} holds a secret for trying out") as caught:
            read(**values)
        assert "someone" not in str(caught.value)
        assert read(**values, ORDERSAGA_MODE="development").issuer is not None

    def test_refuses_secrets_of_development_in_files(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text("for-trying-out\n")

        with pytest.raises(Misconfigured, match="AMQP_PASSWORD_FILE holds a secret for trying out"):
            read(**ISSUER, AMQP_PASSWORD_FILE=str(path))
        path.write_text("our own\n")
        assert read(**ISSUER, AMQP_PASSWORD_FILE=str(path)).issuer is not None

    @pytest.mark.parametrize("mode", [0o604, 0o644, 0o606])
    def test_refuses_a_key_that_others_can_read(self, users: str, key_file: Path, mode: int) -> None:
        key_file.chmod(mode)
        values = {"USERS_FILE": users, "JWT_SIGNING_KEY_FILE": str(key_file)}

        with pytest.raises(Misconfigured, match="every user of this machine"):
            authentication(read(**values))
        assert authentication(read(**values, ORDERSAGA_MODE="development")).login is not None

    def test_has_no_accounts_that_are_built_in(self, users: str) -> None:
        login = authentication(read(JWT_SIGNING_KEY=KEY_PEM, USERS_FILE=users)).login
        assert login is not None
        assert login.passwords.identity_of("admin@ordersaga.example", "Admin123!") is None


class TestDevelopment:
    def test_makes_a_key_and_has_three_accounts(self) -> None:
        auth = authentication(read(ORDERSAGA_MODE="development"))

        assert auth.login is not None
        granted = auth.login.grant("seller@ordersaga.example", "Seller123!")
        assert auth.verifier.identity_of(granted.token).seller_id == "seller-1"

    def test_with_a_file_has_only_its_accounts(self, users: str) -> None:
        login = authentication(read(ORDERSAGA_MODE="development", USERS_FILE=users)).login
        assert login is not None
        assert login.passwords.identity_of("anna", "own") is not None
        assert login.passwords.identity_of("admin@ordersaga.example", "Admin123!") is None


class TestKeys:
    def test_retired_keys_from_a_file(self, tmp_path: Path, users: str) -> None:
        old = read_signing_key(new_key_pem(), name="old")
        file = tmp_path / "retired.pem"
        file.write_bytes(old.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        values = {"JWT_SIGNING_KEY": KEY_PEM, "USERS_FILE": users, "JWT_RETIRED_KEYS_FILE": str(file)}

        verifier: Verifier = authentication(read(**values)).verifier

        assert verifier.identity_of(mint(old, subject="anna", roles=[])).subject == "anna"

    @pytest.mark.parametrize("name", ["JWT_SIGNING_KEY_FILE", "JWT_RETIRED_KEYS_FILE"])
    @pytest.mark.parametrize("content", [None, b"", b"secret", b"\xff\xfe"])
    def test_a_file_that_is_none(self, tmp_path: Path, name: str, content: bytes | None) -> None:
        file = tmp_path / "file.pem"
        if content is not None:
            file.write_bytes(content)

        with pytest.raises(Misconfigured, match=name) as caught:
            authentication(read(**{"ORDERSAGA_MODE": "development", name: str(file)}))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ORDERSAGA_MODE": "test"}, "ORDERSAGA_MODE must be one of"),
        ({"TOKEN_TTL_S": "0"}, "TOKEN_TTL_S"),
        ({"TOKEN_TTL_S": "86401"}, "TOKEN_TTL_S is out of range"),
        ({"JWT_SIGNING_KEY": "a", "JWT_SIGNING_KEY_FILE": "b"}, "both set"),
        ({"TOKEN_ISSUER": "https://i"}, "TOKEN_AUDIENCE is not set"),
        ({"TOKEN_JWKS_URL": "https://i"}, "TOKEN_ISSUER is not set"),
        ({"TOKEN_ISSUER": "i", "TOKEN_JWKS_URL": "https://i"}, "TOKEN_AUDIENCE is not set"),
        ({**ISSUER, "TOKEN_JWKS_URL": "file:///etc/passwd"}, "TOKEN_JWKS_URL must be"),
        ({**ISSUER, "TOKEN_JWKS_URL": "i.example/jwks"}, "TOKEN_JWKS_URL must be"),
        ({**ISSUER, "TOKEN_ALGORITHMS": "none"}, "'none' is none of"),
        ({**ISSUER, "TOKEN_ALGORITHMS": "RS256,HS256"}, "'HS256' is none of"),
        ({**ISSUER, "TOKEN_ALGORITHMS": "RS256,"}, "'' is none of"),
        ({**ISSUER, "TOKEN_ROLE_NAMES": "customer"}, "TOKEN_ROLE_NAMES"),
        ({**ISSUER, "TOKEN_ROLE_NAMES": "customer=KING"}, "TOKEN_ROLE_NAMES"),
        ({**ISSUER, "TOKEN_ROLE_NAMES": "=USER"}, "TOKEN_ROLE_NAMES"),
        ({**ISSUER, "TOKEN_ROLE_NAMES": "a=USER,,"}, "TOKEN_ROLE_NAMES"),
    ],
)
def test_a_setting_that_cannot_be_meant(values: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read(**{"ORDERSAGA_MODE": "development", **values})


def test_another_issuer() -> None:
    issuer = read(**ISSUER, TOKEN_ALGORITHMS="RS256, PS256", TOKEN_ROLE_NAMES="a=b=USER, c = ADMIN").issuer

    assert issuer is not None
    assert issuer.algorithms == ("RS256", "PS256")
    assert issuer.role_names == {"a=b": Role.USER, "c": Role.ADMIN}
    assert read(**ISSUER).issuer.algorithms == ("ES256", "RS256")  # type: ignore[union-attr]


def test_the_gateway_reads_all_of_it() -> None:
    values = {"AMQP_URI": "amqp://b", "ORDERSAGA_MODE": "development", "WRITE_RATE_LIMIT": "1/hour"}
    settings = GatewaySettings.read(Source(values=values))
    assert (settings.auth.is_development, settings.http.rate_limits.write) == (True, "1/hour")


def started(*arguments: str, text: str = "", **values: str) -> Any:
    """A process that ends by itself before it opens a socket."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **values}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=60, check=False)


def test_a_gateway_that_may_not_start_ends_with_2_and_says_why() -> None:
    ended = started("gateway", AMQP_URI="amqp://guest:guest@127.0.0.1:1/%2F")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("gateway: production needs JWT_SIGNING_KEY")


def test_a_password_can_be_hashed_by_hand() -> None:
    ended = started("gateway.auth", text="a secret\n")

    assert ended.returncode == 0
    assert argon2.PasswordHasher().verify(ended.stdout.strip(), "a secret")
    assert started("gateway.auth").returncode == 1
