"""Which tokens are believed: signed by us, for us, now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.login import EVERYBODY, KEY, token
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.keys import OwnKeys
from gateway.auth.verifier import LEEWAY_S, LONGEST_TOKEN, Verifier
from gateway.request_errors import Unauthenticated
from shared.errors import Misconfigured
from shared.identity import Role
from shared.tokens import mint, new_key_pem, public_jwk, read_public_keys, read_signing_key, thumbprint

PUBLIC_PEM = KEY.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OTHER = read_signing_key(new_key_pem(), name="another key")
VERIFIER = Verifier(OwnKeys(KEY))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "ordersaga", "aud": "ordersaga", "sub": "anna", "roles": ["USER"], "iat": now, "exp": now + 60}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(
    said: dict[str, Any], header: dict[str, Any] | None = None, key: Any = None, algorithm: str = "ES256"
) -> str:
    headers = {"kid": KEY.kid, **(header or {})}
    return jwt.encode(said, key or KEY.private, algorithm=algorithm, headers=headers)


def by_hand(header: Any, said: Any, secret: bytes | None = None) -> str:
    """A token that no library would make."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, said)]
    body = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    signature = hmac.new(secret, body.encode(), hashlib.sha256).digest() if secret else b"x"
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def refusal(text: str, verifier: Verifier = VERIFIER) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verifier.identity_of(text)
    return str(caught.value)


def test_a_good_token_says_who_bears_it() -> None:
    for _ in ("checked", "remembered"):
        assert VERIFIER.identity_of(token(EVERYBODY)) == EVERYBODY


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": 0}, "expired"),
        ({"exp": int(time.time()) - LEEWAY_S - 1}, "expired"),
        ({"nbf": int(time.time()) + 864_000}, "not valid yet"),
        ({"iat": int(time.time()) + 864_000}, "not valid yet"),
        ({"iss": "someone"}, "not meant"),
        ({"aud": "someone"}, "not meant"),
        ({"aud": ["a", "b"]}, "not meant"),
        ({"iss": None}, "not valid"),
        ({"aud": None}, "not valid"),
        ({"exp": None}, "not valid"),
        ({"iat": None}, "not valid"),
        ({"sub": None}, "not valid"),
        ({"exp": "soon"}, "not valid"),
        ({"exp": float("inf")}, "not valid"),
        ({"exp": float("nan")}, "not valid"),
        ({"nbf": [1]}, "not valid"),
        ({"sub": ""}, "subject"),
        ({"sub": "x" * 65}, "subject"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": "a\x85b"}, "subject"),
        ({"sub": "\ud800"}, "subject"),
        ({"seller_id": ""}, "shop"),
        ({"seller_id": "x" * 65}, "shop"),
        ({"seller_id": "a\x00"}, "shop"),
        ({"seller_id": 7}, "shop"),
    ],
)
def test_a_token_that_says_something_else(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(signed(claims(**changes)))


@pytest.mark.parametrize("subject", ["x" * 64, "auth0|5f7c8ec7c33c", "Änne Müller", "\U0001f600"])
def test_names_of_all_the_world(subject: str) -> None:
    assert VERIFIER.identity_of(signed(claims(sub=subject))).subject == subject


@pytest.mark.parametrize("roles", [None, [], ["KING"], ["user"], {"USER": True}, 7, [["USER"]], "KING"])
def test_without_a_role_that_is_known_it_is_somebody_who_may_nothing(roles: Any) -> None:
    assert VERIFIER.identity_of(signed(claims(roles=roles))).roles == frozenset()


def test_nobody_can_say_that_they_are_trusted() -> None:
    identity = VERIFIER.identity_of(signed(claims(is_trusted=True, roles=["USER", "ADMIN"])))

    assert (identity.is_trusted, identity.roles) == (False, {Role.USER, Role.ADMIN})


def test_an_expired_token_is_refused_though_it_was_accepted_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a token that was accepted, when its time is over, then what was remembered of it does not count."""
    import datetime as real

    text = signed(claims())
    VERIFIER.identity_of(text)
    later = time.time() + 120

    class Later(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Any:
            return real.datetime.fromtimestamp(later, tz)

    monkeypatch.setattr("gateway.auth.verifier.time.time", lambda: later)
    monkeypatch.setattr("jwt.api_jwt.datetime", Later)

    assert "expired" in refusal(text)


class TestSignatures:
    def test_none_is_no_signature(self) -> None:
        for algorithm in ("none", "None", "NONE", "nOnE"):
            text = by_hand({"alg": algorithm, "kid": KEY.kid}, claims())
            assert "signed in a way" in refusal(text)
            assert refusal(text.rpartition(".")[0] + ".") == "That is not a token"

    def test_the_public_key_is_not_a_secret_to_sign_with(self) -> None:
        """The classic confusion: HS256 with our public key as the secret."""
        for secret in (PUBLIC_PEM, PUBLIC_PEM.strip(), json.dumps(public_jwk(KEY.public)).encode()):
            for algorithm in ("HS256", "ES256"):
                text = by_hand({"alg": algorithm, "kid": KEY.kid, "typ": "JWT"}, claims(), secret)
                assert "not" in refusal(text)

    def test_another_key(self) -> None:
        assert "not valid" in refusal(signed(claims(), key=OTHER.private))
        assert "key that is accepted" in refusal(signed(claims(), {"kid": OTHER.kid}, key=OTHER.private))

    def test_a_key_of_another_kind(self) -> None:
        rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert "signed in a way" in refusal(signed(claims(), key=rsa_key, algorithm="RS256"))
        p384 = ec.generate_private_key(ec.SECP384R1())
        assert "signed in a way" in refusal(signed(claims(), key=p384, algorithm="ES384"))

    @pytest.mark.parametrize("kid", [None, "", 7, ["a"], {"a": 1}, "x" * 256, "../../etc/passwd", "' or 1=1", "\x00"])
    def test_a_kid_that_names_none_of_our_keys(self, kid: Any) -> None:
        header = {"alg": "ES256", "typ": "JWT"} | ({} if kid is None else {"kid": kid})
        assert refusal(by_hand(header, claims()))

    def test_keys_that_a_token_brings_along_are_not_looked_at(self) -> None:
        header = {"kid": OTHER.kid, "jwk": public_jwk(OTHER.public), "jku": "http://127.0.0.1:9/jwks.json"}
        assert "key that is accepted" in refusal(signed(claims(), header, key=OTHER.private))

    def test_extensions_that_must_be_understood_are_not(self) -> None:
        assert refusal(signed(claims(), {"crit": ["exp"], "exp": 1}))

    def test_a_changed_letter(self) -> None:
        header, body, signature = signed(claims()).split(".")
        richer = base64.urlsafe_b64encode(json.dumps(claims(roles=["ADMIN"])).encode()).rstrip(b"=").decode()

        assert "not valid" in refusal(f"{header}.{richer}.{signature}")
        assert "not valid" in refusal(f"{header}.{body}.{signature[:-6]}AAAAAA")

    def test_an_empty_signature_of_zeroes(self) -> None:
        header, body, _ = signed(claims()).split(".")
        zeroes = base64.urlsafe_b64encode(bytes(64)).rstrip(b"=").decode()
        assert "not valid" in refusal(f"{header}.{body}.{zeroes}")


class TestShapes:
    @pytest.mark.parametrize(
        "text",
        ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "a b.c.d", "é.é.é", "a.b.c\n", "x" * (LONGEST_TOKEN + 1), "a.b.c="],
    )
    def test_not_a_token(self, text: str) -> None:
        assert refusal(text) == "That is not a token"

    def test_one_that_is_too_long(self) -> None:
        assert refusal(signed(claims(more="x" * LONGEST_TOKEN))) == "That is not a token"

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"null",
            b"[]",
            b"7",
            b"[" * 5_000,
            b'{"a":' * 900,
            b"\xff\xfe",
            b'{"alg": 1e999}',
            b'{"alg": "ES256"',
            b"{}",
        ],
    )
    def test_a_header_that_is_not_one(self, header: bytes) -> None:
        assert refusal(by_hand(header, claims()))

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[" * 4_000, b"\xff", b'{"exp": 1e999}', b"7"])
    def test_a_body_that_is_not_one_though_it_is_signed(self, body: bytes) -> None:
        text = jwt.api_jws.encode(body, KEY.private, algorithm="ES256", headers={"kid": KEY.kid})
        assert refusal(text)

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(
            st.text(max_size=400), st.from_regex(r"[A-Za-z0-9_-]{0,90}(\.[A-Za-z0-9_-]{0,90}){0,3}", fullmatch=True)
        )
    )
    def test_whatever_comes_it_is_refused_in_words(self, text: str) -> None:
        assert refusal(text)

    @settings(max_examples=300, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]),
            st.one_of(
                st.sampled_from(["ES256", "none", "HS256", "RS256", KEY.kid, True, False]),
                st.none()
                | st.integers()
                | st.floats()
                | st.text(max_size=20)
                | st.lists(st.text(max_size=3), max_size=3),
            ),
        ),
        st.one_of(st.none(), st.just(claims()), st.dictionaries(st.text(max_size=5), st.integers())),
    )
    def test_no_header_opens_anything_without_a_signature(self, header: dict[str, Any], said: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert refusal(by_hand(header, said, secret=PUBLIC_PEM))

    @settings(max_examples=200, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "roles", "seller_id", "jti"]),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(max_size=70),
                st.lists(st.one_of(st.text(max_size=6), st.integers()), max_size=3),
                st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
            ),
        )
    )
    def test_whatever_is_signed_is_an_identity_or_refused(self, changes: dict[str, Any]) -> None:
        try:
            text = signed({**claims(), **changes})
        except (TypeError, ValueError, UnicodeEncodeError):
            return
        try:
            identity = VERIFIER.identity_of(text)
        except Unauthenticated:
            return
        assert 1 <= len(identity.subject) <= 64
        assert identity.subject.encode()
        assert identity.seller_id is None or 1 <= len(identity.seller_id) <= 64


class TestRotation:
    def test_tokens_of_a_retired_key_are_accepted_until_they_expire(self) -> None:
        """Given a token of the old key, when there is a new one and the old is retired, then both are believed."""
        old = mint(KEY, subject="anna", roles=[Role.USER])
        keys = OwnKeys(OTHER, [KEY.public])

        assert Verifier(keys).identity_of(old).subject == "anna"
        assert Verifier(keys).identity_of(mint(OTHER, subject="bo", roles=[])).subject == "bo"
        assert [key["kid"] for key in keys.jwks["keys"]] == [OTHER.kid, KEY.kid]
        assert "accepted" in refusal(old, Verifier(OwnKeys(OTHER)))

    def test_a_key_that_signs_and_is_retired_is_shown_once(self) -> None:
        assert len(OwnKeys(KEY, [KEY.public]).jwks["keys"]) == 1


class TestKeys:
    def test_the_thumbprint_is_that_of_the_rfc(self) -> None:
        """RFC 7638, section 3, over the members of an EC key in their order."""
        jwk = public_jwk(KEY.public)
        text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        assert thumbprint(KEY.public) == digest == KEY.kid

    @pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
    def test_another_curve_is_refused(self, curve: ec.EllipticCurve) -> None:
        from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

        key = ec.generate_private_key(curve)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

        with pytest.raises(Misconfigured, match="THE_KEY is not a P-256 key"):
            read_signing_key(private, name="THE_KEY")
        with pytest.raises(Misconfigured, match="not a P-256 key"):
            read_public_keys(public, name="THE_KEYS")

    @pytest.mark.parametrize(
        "text", ["", "secret", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", "é"]
    )
    def test_what_is_no_key_is_refused_without_being_shown(self, text: str) -> None:
        with pytest.raises(Misconfigured, match="THE_KEY is not an unencrypted private key") as caught:
            read_signing_key(text, name="THE_KEY")
        assert "secret" not in str(caught.value)
        assert "c2Vj" not in str(caught.value)

    def test_several_public_keys_in_one_file(self) -> None:
        other = OTHER.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        keys = read_public_keys((PUBLIC_PEM + b"\n" + other).decode(), name="KEYS")
        assert [thumbprint(key) for key in keys] == [KEY.kid, OTHER.kid]

    @pytest.mark.parametrize(
        "text", ["", "hello", PUBLIC_PEM.decode() + "rest", new_key_pem(), "x" + PUBLIC_PEM.decode()[1:]]
    )
    def test_what_is_no_file_of_public_keys(self, text: str) -> None:
        with pytest.raises(Misconfigured, match="KEYS"):
            read_public_keys(text, name="KEYS")
