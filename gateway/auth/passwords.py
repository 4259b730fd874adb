"""Passwords: argon2id, with bounded memory, and as slow for a name that nobody has.

Owns: how a password is hashed and checked, and how many at a time. Must not know: accounts' files, tokens, HTTP.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from gateway.auth.accounts import Account, Accounts
from shared.errors import TransientError
from shared.identity import Identity

_NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$WWxecHVbAmc/ypQibIJYlA$pkloMscTA8TqgJCRHTgKrfZf7o24ztqU12kKKFwTN6Y"
# What OWASP recommends where memory is short.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)
AT_A_TIME = 2
_WAIT_S = 1.0


class LoginBusy(TransientError):
    """Each check needs 19 MiB for a moment, so only a few run at a time."""

    code = "transient_error"


def hash_password(password: str) -> str:
    return _HASHER.hash(password)


class Passwords:
    """Checks who has which password. Safe from any thread."""

    def __init__(self, accounts: Accounts, *, wait_s: float = _WAIT_S) -> None:
        self._accounts = accounts
        self._wait_s = wait_s
        self._turns = BoundedSemaphore(AT_A_TIME)
        # Always the same few threads (started at the first use, so after the fork): the C library keeps the freed
        # 19 MiB for each thread that ever asked for them, and the server has many.
        self._threads = ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="password")
        # Somebody's hash that no password has, as costly as the others: an unknown name takes as long as a known one.
        self._nobody = Account(identity=Identity(subject="nobody"), name="", password_hash=_costly_as(accounts))

    def identity_of(self, name: str, password: str) -> Identity | None:
        """Who it is; None for a wrong password and for an unknown name alike. Raises LoginBusy."""
        account = self._accounts.find(name)
        is_right = self._is_right((account or self._nobody).password_hash, password)
        return account.identity if account is not None and is_right else None

    def _is_right(self, password_hash: str, password: str) -> bool:
        if not self._turns.acquire(timeout=self._wait_s):
            raise LoginBusy("Too many people log in at this moment; try again")
        try:
            return self._threads.submit(_matches, password_hash, password).result()
        finally:
            self._turns.release()


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


def _costly_as(accounts: Accounts) -> str:
    """A hash with the cost of the first account's; its password was never known to anybody."""
    known = accounts.all()
    if not known:
        return _NOBODYS_HASH
    head, _, digest = known[0].password_hash.rpartition("$")
    other = "B" if digest[0] == "A" else "A"
    return f"{head}${other}{digest[1:]}"
