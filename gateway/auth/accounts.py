"""Who has an account: read from a file, or the three of development.

Owns: an account, the file's form and the well-known accounts. Must not know: how a password is checked, or tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import argon2
from argon2.exceptions import InvalidHashError

from gateway.auth.names import RESERVED_SUBJECTS, is_name
from gateway.json_body import parse_json
from gateway.request_errors import MalformedJson
from shared.errors import Misconfigured
from shared.identity import Identity, Role

LONGEST_LOGIN = 254
_MEMBERS = {"id", "name", "roles", "sellerId", "passwordHash"}
_OPTIONAL = {"sellerId"}
# Everybody who logs in makes the gateway use that much: a file must not be able to ask for gigabytes or minutes.
_MOST_MEMORY_KIB, _MOST_ROUNDS = 65_536, 10
_LEAST_MEMORY_KIB, _LEAST_LENGTH = 7_168, 8


@dataclass(frozen=True, kw_only=True)
class Account:
    """``name`` is what its owner logs in with, such as an e-mail address."""

    identity: Identity
    name: str
    password_hash: str


class Accounts:
    """By name, whatever its case. Raises Misconfigured for two with the same name or id."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._by_name: dict[str, Account] = {}
        ids: set[str] = set()
        for account in accounts:
            if folded(account.name) in self._by_name:
                raise Misconfigured(f"two accounts have the name {account.name!r}")
            if account.identity.subject in ids:
                raise Misconfigured(f"two accounts have the id {account.identity.subject!r}")
            self._by_name[folded(account.name)] = account
            ids.add(account.identity.subject)
        self._marks = {account.identity.subject: _mark(account) for account in self._by_name.values()}

    def find(self, name: str) -> Account | None:
        return self._by_name.get(folded(name))

    def all(self) -> list[Account]:
        return list(self._by_name.values())

    def mark_of(self, subject: str) -> str | None:
        """Another one whenever the account's roles, shop or password are others; None: there is no such account.

        What was begun under one mark ends with it, so a new password logs its owner out everywhere.
        """
        return self._marks.get(subject)


def _mark(account: Account) -> str:
    return sha256(f"{account.identity.header()} {account.password_hash}".encode()).hexdigest()[:32]


def folded(name: str) -> str:
    """What two ways to write one name have in common."""
    return name.strip().casefold()


def _well_known(subject: str, role: Role, salt_and_hash: str, seller_id: str | None = None) -> Account:
    return Account(
        identity=Identity(subject=subject, roles=frozenset({role}), seller_id=seller_id),
        name=f"{role.lower()}@ordersaga.example",
        password_hash=f"$argon2id$v=19$m=19456,t=2,p=1${salt_and_hash}",
    )


DEVELOPMENT_PASSWORDS = {"user-1": "User1234!", "seller-1": "Seller123!", "admin-1": "Admin123!"}
"""By the account's id; they stand in the README too, and production refuses these accounts."""
DEVELOPMENT_ACCOUNTS = (
    _well_known("user-1", Role.USER, "7/UBIBFeZ/7Gfzf7W2W7yA$/a3s0CI/dt/7MQQ34A7sJtGqBi855VM16PUHpZoOUxw"),
    _well_known(
        "seller-1",
        Role.SELLER,
        "R1sK2VJv8ztWJUyI4rT8dQ$wf2fyqGoLVJ6L2jMKslk7GvTANKA7OiA0hnZZmSAK8c",
        seller_id="seller-1",
    ),
    _well_known("admin-1", Role.ADMIN, "1OlHChfamhhqapFuXWbQmQ$H0A6la22tBoiRB9vlp/FndWPrL7ml/VcL7Lz++DjOtI"),
)


def load_accounts(path: Path) -> list[Account]:
    """The accounts of ``{"users": [{"id", "name", "roles", "sellerId"?, "passwordHash"}]}``. Raises Misconfigured."""
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"USERS_FILE {path} cannot be read: {error.strerror}") from error
    except MalformedJson as error:
        raise Misconfigured(f"USERS_FILE {path} is not JSON: {error}") from error
    entries = document.get("users") if isinstance(document, dict) else None
    if not isinstance(entries, list) or set(document) != {"users"}:
        raise Misconfigured(f'USERS_FILE {path} should be {{"users": [...]}}')
    if not entries:
        raise Misconfigured(f"USERS_FILE {path} has no user in it")
    return [_read_account(entry, f"USERS_FILE {path}, user {number}") for number, entry in enumerate(entries, start=1)]


def refuse_development_accounts(accounts: Iterable[Account]) -> None:
    """Their passwords are known to everybody: raises Misconfigured for one that has such a name, id or password."""
    names = {account.name for account in DEVELOPMENT_ACCOUNTS}
    ids = {account.identity.subject for account in DEVELOPMENT_ACCOUNTS}
    hashes = {account.password_hash for account in DEVELOPMENT_ACCOUNTS}
    for account in accounts:
        if folded(account.name) in names or account.identity.subject in ids or account.password_hash in hashes:
            raise Misconfigured(
                f"{account.name} is an account of development, whose password everybody knows: not for production"
            )


def _read_account(entry: Any, place: str) -> Account:
    if not isinstance(entry, dict):
        raise Misconfigured(f"{place}: should be an object")
    unknown, missing = set(entry) - _MEMBERS, _MEMBERS - _OPTIONAL - set(entry)
    if unknown or missing:
        wrong = f"{min(unknown)!r} is not known" if unknown else f"{min(missing)!r} is missing"
        raise Misconfigured(f"{place}: {wrong}")
    return Account(
        identity=_read_identity(entry, place),
        name=_read_login(entry["name"], place),
        password_hash=_read_hash(entry["passwordHash"], place),
    )


def _read_identity(entry: Mapping[str, Any], place: str) -> Identity:
    subject, seller_id = entry["id"], entry.get("sellerId")
    if not is_name(subject) or subject in RESERVED_SUBJECTS:
        raise Misconfigured(f"{place}: id should be 1 to 64 characters, and not {' or '.join(RESERVED_SUBJECTS)}")
    roles = _read_roles(entry["roles"], place)
    if seller_id is not None and not is_name(seller_id):
        raise Misconfigured(f"{place}: sellerId should be 1 to 64 characters")
    if (Role.SELLER in roles) != (seller_id is not None):
        raise Misconfigured(f"{place}: a SELLER has a sellerId, and nobody else")
    return Identity(subject=subject, roles=roles, seller_id=seller_id)


def _read_roles(value: Any, place: str) -> frozenset[Role]:
    known = [role.value for role in Role]
    if not isinstance(value, list) or not value or any(role not in known for role in value):
        raise Misconfigured(f"{place}: roles should be a list of {', '.join(known)}, with at least one")
    return frozenset(Role(role) for role in value)


def _read_login(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_LOGIN or not value.isprintable():
        raise Misconfigured(f"{place}: name should be 1 to {LONGEST_LOGIN} printable characters")
    return value.strip()


def _read_hash(value: Any, place: str) -> str:
    """The hash is not shown: an error ends in a log."""
    try:
        parameters = argon2.extract_parameters(value)
    except (InvalidHashError, AttributeError, TypeError, ValueError) as error:
        raise Misconfigured(f"{place}: passwordHash is not an argon2 hash (see python -m gateway.auth)") from error
    if parameters.type is not argon2.Type.ID:
        raise Misconfigured(f"{place}: passwordHash should be argon2id")
    if parameters.hash_len < _LEAST_LENGTH or parameters.salt_len < _LEAST_LENGTH:
        raise Misconfigured(f"{place}: passwordHash has a salt or a hash that is too short")
    if not (_LEAST_MEMORY_KIB <= parameters.memory_cost <= _MOST_MEMORY_KIB and parameters.time_cost <= _MOST_ROUNDS):
        raise Misconfigured(
            f"{place}: passwordHash should use {_LEAST_MEMORY_KIB} to {_MOST_MEMORY_KIB} KiB "
            f"and at most {_MOST_ROUNDS} rounds"
        )
    return str(value)
