"""Who asks: what travels with a request, and what somebody is to a thing."""

from __future__ import annotations

import json

import pytest

from shared.errors import InvalidRequest
from shared.identity import ANONYMOUS, TRUSTED, Identity, Party, Role, read_identity

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
BOTH = Identity(subject="ada", roles=frozenset({Role.USER, Role.SELLER}), seller_id="shop")


@pytest.mark.parametrize("identity", [ADA, SHOP, ADMIN, BOTH, ANONYMOUS])
def test_the_header_says_who_somebody_is(identity: Identity) -> None:
    assert read_identity(identity.header()) == identity


def test_without_a_header_the_caller_holds_the_brokers_password() -> None:
    assert read_identity(None) is TRUSTED


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "[]",
        "null",
        7,
        {"subject": "ada"},
        json.dumps({"subject": "", "roles": [], "sellerId": None}),
        json.dumps({"subject": "x" * 65, "roles": [], "sellerId": None}),
        json.dumps({"subject": "ada", "roles": ["ROOT"], "sellerId": None}),
        json.dumps({"subject": "ada", "roles": 7, "sellerId": None}),
        json.dumps({"subject": "ada", "roles": [], "sellerId": 7}),
        json.dumps({"subject": "ada", "roles": []}),
    ],
)
def test_a_header_that_is_none_is_refused_and_never_trusted(header: object) -> None:
    with pytest.raises(InvalidRequest):
        read_identity(header)


@pytest.mark.parametrize(
    ("identity", "user_id", "seller_id", "parties"),
    [
        (ADA, "ada", "shop", (Party.CUSTOMER,)),
        (ADA, "bob", "shop", ()),
        (ADA, None, None, ()),
        (SHOP, "ada", "shop", (Party.SELLER,)),
        (SHOP, "sue", "other", ()),
        (SHOP, None, None, ()),
        (ADMIN, "ada", "shop", (Party.OPERATOR,)),
        (BOTH, "ada", "shop", (Party.CUSTOMER, Party.SELLER)),
        (ANONYMOUS, "anonymous", None, ()),
        (TRUSTED, "ada", "shop", tuple(Party)),
    ],
)
def test_what_somebody_is_to_a_thing(
    identity: Identity, user_id: str | None, seller_id: str | None, parties: tuple[Party, ...]
) -> None:
    assert identity.parties_to(user_id=user_id, seller_id=seller_id) == parties


def test_a_trusted_caller_has_every_role_and_an_anonymous_one_none() -> None:
    assert all(TRUSTED.has(role) for role in Role)
    assert not any(ANONYMOUS.has(role) for role in Role)
