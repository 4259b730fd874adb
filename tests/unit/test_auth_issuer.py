"""Somebody else's tokens, by settings alone: a little Keycloak that rotates its keys, breaks and comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.testing import FlaskClient
from harness.services import FakeServices
from jwt.algorithms import RSAAlgorithm

from gateway.app import create_app
from gateway.auth import jwks
from gateway.auth.composition import authentication
from gateway.auth.jwks import ASKED_AT_MOST_EVERY_S, KEPT_FOR_S, IssuerKeys, read_jwks
from gateway.auth.settings import AuthSettings
from gateway.auth.verifier import Verifier
from gateway.request_errors import IssuerUnavailable, Unauthenticated
from gateway.settings import HttpSettings
from shared.config import Source
from shared.identity import Identity, Role
from shared.tokens import mint, new_key_pem, public_jwk, read_signing_key

ISSUER, AUDIENCE = "https://keycloak.example/realms/shop", "ordersaga-api"
# Making one takes a while: they are shared.
RSA_KEYS = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048) for kid in ("first", "second")}


def rsa_jwk(key: str, /, **changes: Any) -> dict[str, Any]:
    """As Keycloak shows it, with a certificate that nobody needs."""
    members = RSAAlgorithm.to_jwk(RSA_KEYS[key].public_key(), as_dict=True)
    return {
        **{name: members[name] for name in ("kty", "n", "e")},
        "kid": key,
        "alg": "RS256",
        "use": "sig",
        "x5c": ["MIIC"],
        "x5t": "abc",
        **changes,
    }


def keycloak_token(kid: str = "first", **changes: Any) -> str:
    """An access token as Keycloak writes it: no nbf, roles in realm_access, several audiences."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": [AUDIENCE, "account"],
        "sub": "f3b0c2a4-0a51-4a1e-9a77-0d5a1b7a9c11",
        "typ": "Bearer",
        "azp": "shop-web",
        "iat": now,
        "exp": now + 300,
        "jti": "1",
        "realm_access": {"roles": ["offline_access", "customer", "shopkeeper"]},
        "shop": {"id": "shop-7"},
        "scope": "openid email",
    }
    return jwt.encode({**claims, **changes}, RSA_KEYS[kid], algorithm="RS256", headers={"kid": kid})


class Issuer:
    """Serves its keys on a port of its own, and counts who asks."""

    def __init__(self) -> None:
        self.keys: list[Any] = [rsa_jwk("first"), rsa_jwk("second", kid="enc", use="enc", alg="RSA-OAEP")]
        self.asked = 0
        self.status = 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/realms/shop/protocol/openid-connect/certs"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys(issuer.url, clock=clock)


def settings_for(url: str, **more: str) -> AuthSettings:
    said = {"TOKEN_ISSUER": ISSUER, "TOKEN_AUDIENCE": AUDIENCE, "TOKEN_JWKS_URL": url}
    roles = {
        "TOKEN_ROLES_CLAIM": "realm_access.roles",
        "TOKEN_ROLE_NAMES": "customer=USER, shopkeeper=SELLER",
        "TOKEN_SELLER_CLAIM": "shop.id",
    }
    return AuthSettings.read(Source(values={**said, **roles, **more}))


def verifier_for(url: str, **more: str) -> Verifier:
    return authentication(settings_for(url, **more)).verifier


class TestByItsSettingsAlone:
    def test_a_token_of_keycloak_opens_the_gateway(self, issuer: Issuer) -> None:
        services = FakeServices()
        services.answers["inventory_service.list_products"] = {"products": [], "nextCursor": None}
        client = self.client(services, issuer)

        response = client.get("/api/v1/products", headers={"Authorization": f"Bearer {keycloak_token()}"})

        assert response.status_code == 200
        assert services.callers == [
            Identity(
                subject="f3b0c2a4-0a51-4a1e-9a77-0d5a1b7a9c11",
                roles=frozenset({Role.USER, Role.SELLER}),
                seller_id="shop-7",
            )
        ]

    def test_it_logs_people_in_and_we_do_not(self, issuer: Issuer) -> None:
        client = self.client(FakeServices(), issuer)

        response = client.post("/api/v1/auth/token", json={"username": "user@ordersaga.example", "password": "x"})

        assert (response.status_code, response.get_json()["code"]) == (404, "not_found")
        assert client.get("/.well-known/jwks.json").status_code == 404
        assert "/api/v1/auth/token" not in client.get("/openapi.json").get_json()["paths"]

    def test_while_it_is_down_and_was_never_up_nobody_can_be_checked(self, issuer: Issuer) -> None:
        issuer.status = 500
        client = self.client(FakeServices(), issuer)

        response = client.get("/api/v1/products", headers={"Authorization": f"Bearer {keycloak_token()}"})

        assert (response.status_code, response.get_json()["code"]) == (503, "issuer_unavailable")
        assert response.headers["Retry-After"] == "1"
        live = client.get("/health/live", headers={"Authorization": f"Bearer {keycloak_token()}"})
        assert live.status_code == 200

    @staticmethod
    def client(services: FakeServices, issuer: Issuer) -> FlaskClient:
        return create_app(HttpSettings(), services, authentication(settings_for(issuer.url))).test_client()


class TestWhatItsTokensSay:
    def test_roles_of_auth0_are_called_like_an_address(self, issuer: Issuer) -> None:
        verifier = verifier_for(
            issuer.url,
            TOKEN_ROLES_CLAIM="https://shop.example/roles",
            TOKEN_SELLER_CLAIM="https://shop.example/shop",
            TOKEN_ROLE_NAMES="",
        )
        said = {"https://shop.example/roles": ["ADMIN", "SELLER"], "https://shop.example/shop": "s-9"}

        identity = verifier.identity_of(keycloak_token(sub="auth0|5f7c8ec7", **said))

        assert identity == Identity(
            subject="auth0|5f7c8ec7", roles=frozenset({Role.ADMIN, Role.SELLER}), seller_id="s-9"
        )

    def test_with_names_given_ours_mean_nothing(self, issuer: Issuer) -> None:
        token = keycloak_token(realm_access={"roles": ["ADMIN", "customer"]})
        assert verifier_for(issuer.url).identity_of(token).roles == {Role.USER}

    @pytest.mark.parametrize("realm_access", [None, [], "customer", {"roles": None}, {"roles": {"customer": 1}}, 7])
    def test_roles_in_another_shape_are_none(self, issuer: Issuer, realm_access: Any) -> None:
        identity = verifier_for(issuer.url).identity_of(keycloak_token(realm_access=realm_access))
        assert identity.roles == frozenset()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"iss": "https://keycloak.example/realms/other"}, "not meant"),
            ({"aud": ["account"]}, "not meant"),
            ({"exp": 1}, "expired"),
            ({"shop": {"id": "x" * 65}}, "shop"),
            ({"sub": "broker"}, "nobody may have"),
            ({"sub": "anonymous"}, "nobody may have"),
        ],
    )
    def test_a_token_that_is_for_somebody_else(self, issuer: Issuer, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(Unauthenticated, match=words):
            verifier_for(issuer.url).identity_of(keycloak_token(**changes))

    def test_our_own_tokens_are_not_believed_then(self, issuer: Issuer) -> None:
        key = read_signing_key(new_key_pem(), name="ours")
        issuer.keys.append(public_jwk(key.public))
        with pytest.raises(Unauthenticated, match="not meant"):
            verifier_for(issuer.url).identity_of(mint(key, subject="anna", roles=[Role.ADMIN]))

    def test_only_the_algorithms_of_the_settings(self, issuer: Issuer) -> None:
        with pytest.raises(Unauthenticated, match="signed in a way"):
            verifier_for(issuer.url, TOKEN_ALGORITHMS="ES256").identity_of(keycloak_token())

    def test_a_key_is_for_its_own_algorithm_only(self, issuer: Issuer) -> None:
        claims = jwt.decode(keycloak_token(), options={"verify_signature": False})
        token = jwt.encode(claims, RSA_KEYS["first"], algorithm="PS256", headers={"kid": "first"})
        with pytest.raises(Unauthenticated, match="key that is accepted"):
            verifier_for(issuer.url, TOKEN_ALGORITHMS="RS256,PS256").identity_of(token)

        issuer.keys = [{name: value for name, value in rsa_jwk("first").items() if name != "alg"}]
        verifier = verifier_for(issuer.url, TOKEN_ALGORITHMS="RS256,PS256")
        assert verifier.identity_of(token).seller_id == "shop-7"


class TestItsKeys:
    def test_are_fetched_once(self, keys: IssuerKeys, issuer: Issuer) -> None:
        assert all(keys.find("first") is not None for _ in range(50))
        assert issuer.asked == 1

    def test_a_new_one_is_fetched_when_a_token_names_it(self, keys: IssuerKeys, issuer: Issuer, clock: Clock) -> None:
        """Given known keys, when the issuer rotates them, then the first token of the new one has them fetched."""
        verifier = Verifier(keys, settings_for(issuer.url).issuer)  # type: ignore[arg-type]
        assert verifier.identity_of(keycloak_token("first"))
        issuer.keys = [rsa_jwk("second"), rsa_jwk("first")]
        clock.now += ASKED_AT_MOST_EVERY_S

        assert verifier.identity_of(keycloak_token("second"))
        assert verifier.identity_of(keycloak_token("first"))
        assert issuer.asked == 2

    def test_invented_names_have_them_fetched_every_few_seconds_at_most(
        self, keys: IssuerKeys, issuer: Issuer, clock: Clock
    ) -> None:
        for number in range(100):
            assert keys.find(f"invented-{number}") is None
        assert issuer.asked == 1

        clock.now += ASKED_AT_MOST_EVERY_S
        assert [keys.find(f"again-{number}") for number in range(100)] == [None] * 100
        assert issuer.asked == 2

    def test_invented_names_do_not_wait_for_a_slow_issuer(self, clock: Clock) -> None:
        """Given known keys and an issuer that is being asked, then another unknown name is told to come again."""
        is_asked, may_answer = Event(), Event()
        may_answer.set()

        def slow(_url: str) -> bytes:
            is_asked.set()
            assert may_answer.wait(10)
            return json.dumps({"keys": [rsa_jwk("first")]}).encode()

        keys = IssuerKeys("https://keycloak.example", fetch=slow, clock=clock)
        assert keys.find("first") is not None
        is_asked.clear()
        may_answer.clear()
        clock.now += ASKED_AT_MOST_EVERY_S
        asking = Thread(target=keys.find, args=("invented",))
        asking.start()
        assert is_asked.wait(10)

        with pytest.raises(IssuerUnavailable, match="being fetched"):
            keys.find("another")
        assert keys.find("first") is not None

        may_answer.set()
        asking.join(10)
        assert keys.find("another") is None

    def test_a_withdrawn_one_is_forgotten_after_a_while(self, keys: IssuerKeys, issuer: Issuer, clock: Clock) -> None:
        verifier = Verifier(keys, settings_for(issuer.url).issuer)  # type: ignore[arg-type]
        token = keycloak_token("first")
        assert verifier.identity_of(token)
        issuer.keys = [rsa_jwk("second")]
        clock.now += KEPT_FOR_S + 1

        with pytest.raises(Unauthenticated, match="key that is accepted"):
            verifier.identity_of(token)

    def test_the_old_ones_are_kept_while_it_is_down(self, keys: IssuerKeys, issuer: Issuer, clock: Clock) -> None:
        """Given known keys, when the issuer is down for hours, then its old tokens are still good."""
        assert keys.find("first") is not None
        issuer.status = 503
        clock.now += 3 * 3600

        assert keys.find("first") is not None
        with pytest.raises(IssuerUnavailable):
            keys.find("second")

        issuer.status, issuer.keys = 200, [rsa_jwk("second")]
        clock.now += ASKED_AT_MOST_EVERY_S
        assert keys.find("second") is not None

    def test_nobody_there(self, clock: Clock) -> None:
        gone = Issuer()
        gone.stop()
        keys = IssuerKeys(gone.url, clock=clock)
        with pytest.raises(IssuerUnavailable):
            keys.find("first")

    @pytest.mark.parametrize(
        "answer", [b"", b"nothing", b"[]", b'{"keys": 7}', b'{"keys"', b"\xff", b"[" * 20_000, OSError("gone")]
    )
    def test_an_answer_that_is_none_keeps_the_old_ones(self, clock: Clock, answer: Any) -> None:
        answers = [json.dumps({"keys": [rsa_jwk("first")]}).encode(), answer]

        def fetch(_url: str) -> bytes:
            next_answer = answers.pop(0)
            if isinstance(next_answer, Exception):
                raise next_answer
            return bytes(next_answer)

        keys = IssuerKeys("http://issuer.example", fetch=fetch, clock=clock)
        before = keys.find("first")
        clock.now += KEPT_FOR_S + 1

        assert keys.find("first") is before
        assert answers == []

    def test_a_document_without_end_is_not_read_to_it(self, issuer: Issuer) -> None:
        issuer.keys = ["x" * 1_000_000]
        with pytest.raises(ValueError, match="too large"):
            jwks.fetch(issuer.url)

    @pytest.mark.parametrize(
        "entry",
        [
            7,
            {},
            rsa_jwk("first", kid=7),
            rsa_jwk("first", use="enc"),
            rsa_jwk("first", alg="RSA-OAEP"),
            rsa_jwk("first", alg="HS256"),
            rsa_jwk("first", n="!"),
            rsa_jwk("first", n=None),
            rsa_jwk("first", kty="oct", k="c2VjcmV0"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
            {"kty": "EC", "crv": "secp256k1", "x": "a", "y": "b", "kid": "k"},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k"},
            {"kty": "EC", "crv": ["P-256"], "x": "AA", "y": "AA", "kid": "k"},
        ],
    )
    def test_one_that_cannot_check_a_signature_is_passed_over(self, entry: Any) -> None:
        found = read_jwks(json.dumps({"keys": [entry, rsa_jwk("second")]}).encode())
        assert list(found) == ["second"]
