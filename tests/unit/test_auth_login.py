"""Logging in over HTTP: tokens for the right password, one answer for everything else."""

from __future__ import annotations

from threading import Event
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from harness.login import EVERYBODY, KEY, client_of
from harness.services import FakeServices
from harness.waiting import wait_until

from gateway.auth import passwords
from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, Account, Accounts
from gateway.auth.limits import RateLimits
from gateway.auth.passwords import AT_A_TIME, LoginBusy, Passwords, hash_password
from gateway.settings import HttpSettings

URL = "/api/v1/auth/token"
SELLER = {"username": "seller@ordersaga.example", "password": "Seller123!"}


@pytest.fixture
def client() -> FlaskClient:
    return client_of(FakeServices(), None, HttpSettings(rate_limits=RateLimits(login="")))


def test_the_right_password_is_worth_a_token(client: FlaskClient) -> None:
    response = client.post(URL, json=SELLER)

    body = response.get_json()
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    assert {**body, "accessToken": ""} == {
        "accessToken": "",
        "tokenType": "Bearer",
        "expiresIn": 900,
        "roles": ["SELLER"],
    }
    claims = jwt.decode(body["accessToken"], KEY.public, algorithms=["ES256"], audience="ordersaga", issuer="ordersaga")
    assert (claims["sub"], claims["roles"], claims["seller_id"]) == ("seller-1", ["SELLER"], "seller-1")
    assert claims["exp"] - claims["iat"] == 900
    assert claims["nbf"] == claims["iat"]
    assert jwt.get_unverified_header(body["accessToken"]) == {"alg": "ES256", "typ": "JWT", "kid": KEY.kid}


def test_no_two_tokens_have_one_id(client: FlaskClient) -> None:
    tokens = [client.post(URL, json=SELLER).get_json()["accessToken"] for _ in range(2)]

    assert len({jwt.decode(token, options={"verify_signature": False})["jti"] for token in tokens}) == 2


def test_the_token_opens_what_its_roles_open() -> None:
    services = FakeServices()
    services.answers["inventory_service.list_products"] = {"products": [], "nextCursor": None}
    client = client_of(services, None)
    token = client.post(URL, json=SELLER).get_json()["accessToken"]

    response = client.get("/api/v1/products", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 200
    [caller] = services.callers
    assert caller is not None
    assert (caller.subject, caller.seller_id) == ("seller-1", "seller-1")


@pytest.mark.parametrize(
    "credentials",
    [
        {**SELLER, "password": "seller123!"},
        {**SELLER, "password": "Seller123! "},
        {**SELLER, "password": "Sëller123!"},
        {**SELLER, "password": "\U0001f511" * 256},
        {**SELLER, "username": "nobody@ordersaga.example"},
        {**SELLER, "username": "seller-1"},
        {**SELLER, "username": "\u017feller@ordersaga.example.org"},
    ],
)
def test_whatever_is_wrong_the_answer_is_the_same(client: FlaskClient, credentials: dict[str, str]) -> None:
    response = client.post(URL, json=credentials)

    body = response.get_json()
    assert (response.status_code, body["code"]) == (401, "invalid_credentials")
    assert body["detail"] == "User name or password is wrong"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="ordersaga"'


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"username": "a"}, "#/password"),
        ({"password": "a"}, "#/username"),
        ({**SELLER, "username": ""}, "#/username"),
        ({**SELLER, "username": "x" * 255}, "#/username"),
        ({**SELLER, "username": "a\x00"}, "#/username"),
        ({**SELLER, "username": "a\ud800"}, "#/username"),
        ({**SELLER, "password": "x" * 257}, "#/password"),
        ({**SELLER, "password": ["x"]}, "#/password"),
        ({**SELLER, "otp": "1"}, "#/otp"),
    ],
)
def test_a_request_of_another_shape(client: FlaskClient, body: dict[str, Any], pointer: str) -> None:
    response = client.post(URL, json=body)

    assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, pointer)


def test_not_json(client: FlaskClient) -> None:
    assert client.post(URL, data="{", content_type="application/json").status_code == 400
    assert client.post(URL, data=SELLER).status_code == 415
    assert client.post(URL, json=[1]).status_code == 422


def test_the_keys_are_published(client: FlaskClient) -> None:
    response = client.get("/.well-known/jwks.json")

    [key] = response.get_json()["keys"]
    assert (key["kid"], key["alg"], key["use"], key["crv"]) == (KEY.kid, "ES256", "sig", "P-256")
    assert "d" not in key
    assert response.headers["Cache-Control"] == "public, max-age=300"
    token = client.post(URL, json=SELLER).get_json()["accessToken"]
    assert jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"], audience="ordersaga")["sub"] == "seller-1"


class TestPasswords:
    def test_an_unknown_name_costs_as_much_as_a_known_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given accounts with hashes of their own cost, then a name nobody has is checked at that cost too."""
        checked: list[str] = []
        monkeypatch.setattr(passwords, "_matches", lambda password_hash, _: bool(checked.append(password_hash)))
        costly = DEVELOPMENT_ACCOUNTS[0].password_hash.replace("t=2", "t=4")
        account = Account(identity=EVERYBODY, name="anna", password_hash=costly)

        known = Passwords(Accounts([account]))
        assert known.identity_of("anna", "wrong") is None
        assert known.identity_of("nobody", "wrong") is None

        first, second = checked
        assert first.rpartition("$")[0] == second.rpartition("$")[0]
        assert first != second

    def test_nobody_has_the_password_of_nobody(self) -> None:
        everybody = Passwords(Accounts(DEVELOPMENT_ACCOUNTS))

        assert everybody.identity_of("nobody", "User1234!") is None
        assert Passwords(Accounts(())).identity_of("nobody", "") is None

    def test_a_hash_is_argon2id_as_owasp_recommends(self) -> None:
        assert hash_password("secret").startswith("$argon2id$v=19$m=19456,t=2,p=1$")

    def test_a_damaged_hash_is_a_wrong_password(self) -> None:
        damaged = DEVELOPMENT_ACCOUNTS[0].password_hash[:-3] + "@@@"

        assert Passwords(Accounts([Account(identity=EVERYBODY, name="a", password_hash=damaged)])).identity_of(
            "a", "User1234!"
        ) is None  # fmt: skip

    def test_only_a_few_are_checked_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given as many checks as may run, when one more comes, then it is refused, and later ones are not."""
        from concurrent.futures import ThreadPoolExecutor

        running: list[str] = []
        go_on = Event()

        def slow(_hash: str, password: str) -> bool:
            running.append(password)
            return go_on.wait(10)

        monkeypatch.setattr(passwords, "_matches", slow)
        everybody = Passwords(Accounts(DEVELOPMENT_ACCOUNTS), wait_s=0.01)
        name = DEVELOPMENT_ACCOUNTS[0].name
        with ThreadPoolExecutor(AT_A_TIME) as clients:
            begun = [clients.submit(everybody.identity_of, name, f"{n}") for n in range(AT_A_TIME)]
            wait_until(lambda: len(running) == AT_A_TIME, "the checks run")

            with pytest.raises(LoginBusy):
                everybody.identity_of(name, "one too many")

            go_on.set()
            assert all(future.result() is not None for future in begun)
        assert everybody.identity_of(name, "later") is not None

    def test_being_busy_is_503_with_a_time_to_come_back(
        self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*_: Any) -> None:
            raise LoginBusy("Too many people log in")

        monkeypatch.setattr(Passwords, "identity_of", busy)

        response = client.post(URL, json=SELLER)

        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
