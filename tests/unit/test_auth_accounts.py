"""Accounts: what a file of them must look like, and what is too well known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import argon2
import pytest

from gateway.auth.accounts import DEVELOPMENT_ACCOUNTS, Accounts, load_accounts, refuse_development_accounts
from gateway.auth.passwords import Passwords
from shared.errors import Misconfigured
from shared.identity import Role

HASH = DEVELOPMENT_ACCOUNTS[0].password_hash
ANNA = {"id": "u-1", "name": "anna@shop.example", "roles": ["USER"], "passwordHash": HASH}
SAM = {"id": "s-1", "name": "sam", "roles": ["USER", "SELLER"], "sellerId": "shop-1", "passwordHash": HASH}


def file_of(folder: Path, *users: Any) -> Path:
    path = folder / "users.json"
    path.write_text(json.dumps({"users": users}))
    return path


def test_a_file_of_accounts(tmp_path: Path) -> None:
    anna, sam = load_accounts(file_of(tmp_path, ANNA, SAM))

    assert (anna.name, anna.identity.subject, anna.identity.roles) == ("anna@shop.example", "u-1", {Role.USER})
    assert (sam.identity.seller_id, sam.identity.is_trusted) == ("shop-1", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "id should"),
        ({"id": 7}, "id should"),
        ({"id": "x" * 65}, "id should"),
        ({"id": "a\nb"}, "id should"),
        ({"id": "\ud800"}, "id should"),
        ({"id": "broker"}, "id should"),
        ({"id": "anonymous"}, "id should"),
        ({"name": ""}, "name should"),
        ({"name": "  "}, "name should"),
        ({"name": None}, "name should"),
        ({"name": "x" * 255}, "name should"),
        ({"name": "a\x07"}, "name should"),
        ({"roles": []}, "roles should"),
        ({"roles": "USER"}, "roles should"),
        ({"roles": ["user"]}, "roles should"),
        ({"roles": [["USER"]]}, "roles should"),
        ({"roles": ["SELLER"]}, "a SELLER has a sellerId"),
        ({"sellerId": "shop"}, "a SELLER has a sellerId"),
        ({"roles": ["SELLER"], "sellerId": ""}, "sellerId should"),
        ({"password": "secret"}, "'password' is not known"),
        ({"passwordHash": "User1234!"}, "not an argon2 hash"),
        ({"passwordHash": None}, "not an argon2 hash"),
        ({"passwordHash": HASH.replace("argon2id", "argon2i")}, "should be argon2id"),
        ({"passwordHash": HASH.replace("m=19456", "m=4194304")}, "KiB"),
        ({"passwordHash": HASH.replace("m=19456", "m=8")}, "KiB"),
        ({"passwordHash": HASH.replace("t=2", "t=1000")}, "rounds"),
        ({"passwordHash": HASH.rpartition("$")[0] + "$abc"}, "too short"),
    ],
)
def test_an_account_that_is_not_right_is_named_and_its_hash_not_shown(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        load_accounts(file_of(tmp_path, SAM, {**ANNA, **change}))

    assert "user 2" in str(caught.value)
    assert str(change.get("passwordHash", HASH)) not in str(caught.value)


@pytest.mark.parametrize("name", ["id", "name", "roles", "passwordHash"])
def test_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    incomplete = {key: value for key, value in ANNA.items() if key != name}

    with pytest.raises(Misconfigured, match=f"user 1: '{name}' is missing"):
        load_accounts(file_of(tmp_path, incomplete))


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "[]", '{"users": {}}', '{"users": []}', '{"users": [7]}', '{"users": [], "more": 1}',
     '{"users": [], "users": []}', "[" * 10_000],
)  # fmt: skip
def test_a_file_of_another_shape(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(text)

    with pytest.raises(Misconfigured, match="USERS_FILE"):
        load_accounts(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read: No such file"):
        load_accounts(tmp_path / "nowhere.json")


@pytest.mark.parametrize(("change", "words"), [({"id": "other"}, "name"), ({"name": "other"}, "id")])
def test_nobody_twice(tmp_path: Path, change: dict[str, str], words: str) -> None:
    shouting = {**ANNA, "name": "ANNA@Shop.Example"}
    accounts = load_accounts(file_of(tmp_path, ANNA, {**shouting, **change}))

    with pytest.raises(Misconfigured, match=f"two accounts have the {words}"):
        Accounts(accounts)


@pytest.mark.parametrize(
    "change",
    [{"id": "admin-1"}, {"name": "Admin@OrderSaga.example"}, {"passwordHash": DEVELOPMENT_ACCOUNTS[2].password_hash}],
)
def test_the_accounts_of_development_are_known_again(tmp_path: Path, change: dict[str, str]) -> None:
    own = argon2.PasswordHasher(time_cost=1, memory_cost=8_000, parallelism=1).hash("own")
    harmless = {**ANNA, "passwordHash": own}
    refuse_development_accounts(load_accounts(file_of(tmp_path, harmless)))

    with pytest.raises(Misconfigured, match="everybody knows"):
        refuse_development_accounts(load_accounts(file_of(tmp_path, {**harmless, **change})))


@pytest.mark.parametrize(
    ("name", "password", "subject", "roles", "seller_id"),
    [
        ("user@ordersaga.example", "User1234!", "user-1", {Role.USER}, None),
        ("seller@ordersaga.example", "Seller123!", "seller-1", {Role.SELLER}, "seller-1"),
        ("Admin@OrderSaga.Example ", "Admin123!", "admin-1", {Role.ADMIN}, None),
    ],
)
def test_the_accounts_of_development(
    name: str, password: str, subject: str, roles: set[Role], seller_id: str | None
) -> None:
    identity = Passwords(Accounts(DEVELOPMENT_ACCOUNTS)).identity_of(name, password)

    assert identity is not None
    assert (identity.subject, identity.roles, identity.seller_id) == (subject, roles, seller_id)
