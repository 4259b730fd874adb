"""Idempotency keys of requests: the same key and payload get the same answer, and the effect happens once.

Owns: the table's shape, claiming keys, remembering answers. Must not know: what a request does.
Everything happens in the transaction of the effect, so an answer is remembered exactly when its effect is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from sqlalchemy import DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declarative_mixin, declared_attr, mapped_column

from shared.database import Transaction
from shared.envelope import is_short_text
from shared.errors import IdempotencyKeyInProgress, IdempotencyKeyReused, InvalidRequest, OrderSagaError
from shared.identity import Identity

KEPT_HOURS = 24
LONGEST_KEY = 255


@declarative_mixin
class IdempotencyKeyTable:
    """Columns of ``idempotency_keys``; each service's models.py makes the table out of it."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[str] = mapped_column(Text)
    answer: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805
        return (Index("idempotency_keys_created", "created_at"),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What became of a key: to be executed (``answer`` and ``error`` None), answered before, or refused."""

    answer: Any = None
    error: OrderSagaError | None = None

    @property
    def is_new(self) -> bool:
        return self.answer is None and self.error is None


# The advisory lock is held until the end of the transaction and is only tried: a request that is still running is
# told apart at once, where a blocked insert would make the second caller wait for the first.
_LOCK = text("""
select key, pg_try_advisory_xact_lock(hashtextextended(cast(:scope as text) || ' ' || key, 0)) as is_locked
from unnest(cast(:keys as text[])) as wanted(key)
""")
_FIND = text(f"""
select key, request_hash, answer from idempotency_keys
where scope = :scope and key = any(cast(:keys as text[]))
  and created_at > cast(:now as timestamptz) - interval '{KEPT_HOURS} hours'
""")  # noqa: S608
_REMEMBER = text("""
insert into idempotency_keys (scope, key, request_hash, answer, created_at)
select :scope, key, request_hash, answer, cast(:now as timestamptz)
from json_to_recordset(cast(:rows as json)) as r(key text, request_hash text, answer jsonb)
on conflict (scope, key) do update
set request_hash = excluded.request_hash, answer = excluded.answer, created_at = excluded.created_at
""")
PURGE = text(f"""
delete from idempotency_keys where ctid = any(array(
    select ctid from idempotency_keys
    where created_at < cast(:now as timestamptz) - interval '{KEPT_HOURS} hours' limit 1000))
""")  # noqa: S608


def check_request_ids(key: Any, correlation_id: Any) -> None:
    """Both come from the caller and may be None. Raises InvalidRequest, naming the one that is wrong.

    The correlation id travels as an AMQP property: one that does not fit there could never be published.
    """
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= LONGEST_KEY):
        raise _not_short("idempotencyKey")
    if correlation_id is not None and not is_short_text(correlation_id):
        raise _not_short("correlationId")


def _not_short(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is not a short text", {"errors": {name: ["must be a short text"]}})


def owned_key(caller: Identity, key: str | None) -> str | None:
    """The key as it is kept: each caller's keys are their own, so that nobody meets another's answers.

    A subject may hold any character; quoted, it ends at the first slash.
    """
    return key if key is None or caller.is_trusted else f"{quote(caller.subject, safe='')}/{key}"


def request_hash(request: Mapping[str, Any]) -> str:
    """The same for the same JSON values, whatever the order of keys."""
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


def claim(tx: Transaction, scope: str, hashes: Mapping[str, str]) -> dict[str, Claim]:
    """A Claim for each key of ``hashes`` (key → request hash). New keys stay locked until the transaction ends."""
    if not hashes:
        return {}
    locked = {row.key: row.is_locked for row in tx.fetch(_LOCK, scope=scope, keys=list(hashes))}
    # A statement of its own, after the locks: its snapshot sees what the last holder of a lock committed.
    found = {row.key: row for row in tx.fetch(_FIND, scope=scope, keys=list(hashes), now=tx.now)}
    return {key: _verdict(key, hash_, locked[key], found.get(key)) for key, hash_ in hashes.items()}


def _verdict(key: str, hash_: str, is_locked: bool, found: Any) -> Claim:
    if found is not None and found.request_hash == hash_:
        return Claim(answer=found.answer)
    if found is not None:
        return Claim(error=IdempotencyKeyReused("this Idempotency-Key was used with another request"))
    if not is_locked:
        return Claim(error=IdempotencyKeyInProgress("a request with this Idempotency-Key is still running"))
    return Claim()


def once(tx: Transaction, scope: str, key: str | None, request: Any, run: Callable[[], Any]) -> tuple[Any, bool]:
    """(answer, whether it is that of an earlier request): ``run`` happens at most once for each key of ``scope``.

    ``request`` is all that the answer depends on, what the path names included. Without a key it is run each time.
    Raises IdempotencyKeyReused, IdempotencyKeyInProgress and whatever ``run`` raises (the key then stays free).
    """
    if key is None:
        return run(), False
    hash_ = request_hash(request)
    claimed = claim(tx, scope, {key: hash_})[key]
    if claimed.error:
        raise claimed.error
    if not claimed.is_new:
        return claimed.answer, True
    answer = run()
    remember(tx, scope, [(key, hash_, answer)])
    return answer, False


def remember(tx: Transaction, scope: str, answers: Sequence[tuple[str, str, Any]]) -> None:
    """Keep (key, request hash, answer) for KEPT_HOURS."""
    rows = [{"key": k, "request_hash": h, "answer": a} for k, h, a in answers]
    tx.save(_REMEMBER, rows, scope=scope, now=tx.now)
