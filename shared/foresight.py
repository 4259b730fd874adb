"""What a service would do with a message, answered by doing it and taking it back.

Owns: the verdicts; the very handler in a transaction that is never committed, so that the answer is the one that the
message would get now, and nothing of it stays: no row, no event, nothing to be done at the provider.
Must not know: what any service does. Each message is looked at by itself, on the state as it is: what an earlier one
of the same list would change is not there yet.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, Protocol

from sqlalchemy import text

from shared import inbox
from shared.database import Sessions, Transaction, transaction
from shared.envelope import Received
from shared.errors import Forbidden, InvalidRequest, OlderThanHorizon, OrderSagaError, PermanentError
from shared.event_schema import EventSchema
from shared.identity import Identity, Role
from shared.messaging.loading import load_event

MOST_AT_ONCE = 100
WILL_APPLY, NO_EFFECT, ALREADY_APPLIED = "will_apply", "no_effect", "already_applied"
ORDER_TERMINAL, UNKNOWN_ORDER = "order_terminal", "unknown_order"
OLDER_THAN_HORIZON, INVALID, WILL_FAIL, UNKNOWN = "older_than_horizon", "invalid", "will_fail", "unknown"
VERDICTS = (
    WILL_APPLY,
    NO_EFFECT,
    ALREADY_APPLIED,
    ORDER_TERMINAL,
    UNKNOWN_ORDER,
    OLDER_THAN_HORIZON,
    INVALID,
    WILL_FAIL,
    UNKNOWN,
)

# A row that is in use is an answer too; nobody waits long for a forecast, and nobody's work waits for one.
_BRIEFLY = text("set local lock_timeout = '500ms'")
# Of the unpublished rows alone, which have an index.
_FOLLOWING = text("""
select event_type from outbox where published_at is null and causation_id = :event_id order by id
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the handler made of the event. ``decision`` in words; the flags say how the order stood before."""

    decision: str
    is_changed: bool = True
    is_terminal: bool = False
    is_unknown: bool = False


class Rehearsal(Protocol):
    """One service's side: run the handler on ``event`` within ``tx``, and say what it did."""

    def __call__(self, tx: Transaction, event: Received[Any]) -> Outcome: ...


class _Enough(Exception):
    """Takes everything back."""


def foresee(
    sessions: Sessions,
    caller: Identity,
    letters: Any,
    schemas: Mapping[str, type[EventSchema]],
    rehearse: Rehearsal,
    *,
    horizon: timedelta,
) -> list[dict[str, Any]]:
    """For each of ``letters`` {"verdict", "decision", "events"}: one of VERDICTS, in words, and what would follow.

    A letter is {"event", "body" (base64), "properties", "headers"}. Writes nothing. Raises Forbidden, InvalidRequest.
    """
    if not caller.has(Role.ADMIN):
        raise Forbidden("this is for operators")
    if not isinstance(letters, list) or not 1 <= len(letters) <= MOST_AT_ONCE:
        raise InvalidRequest(f"letters must be a list of 1 to {MOST_AT_ONCE}")
    return [_foresee_one(sessions, _read(letter), schemas, rehearse, horizon) for letter in letters]


def _read(letter: Any) -> dict[str, Any]:
    try:
        event, properties, headers = letter["event"], dict(letter["properties"]), dict(letter["headers"])
        return {"event": str(event), "body": b64decode(letter["body"]), "properties": properties, "headers": headers}
    except (KeyError, TypeError, ValueError, NotBase64) as error:
        raise InvalidRequest("a letter needs event, body (base64), properties and headers") from error


def _foresee_one(
    sessions: Sessions,
    letter: Mapping[str, Any],
    schemas: Mapping[str, type[EventSchema]],
    rehearse: Rehearsal,
    horizon: timedelta,
) -> dict[str, Any]:
    schema = schemas.get(letter["event"])
    if schema is None:
        return _verdict(INVALID, f"this service does not consume {letter['event'][:100]}")
    parts = {name: letter[name] for name in ("body", "properties", "headers")}
    try:
        event = load_event(letter["event"], "", schema(), **parts)
    except OrderSagaError as error:
        return _verdict(INVALID, f"{error.code}: {error}")
    except Exception as error:
        # As in the consumer: a header or body of a kind nobody thought of.
        return _verdict(INVALID, f"{type(error).__name__}: {error}")
    try:
        return _rehearsed(sessions, event, rehearse, horizon)
    except OlderThanHorizon as error:
        return _verdict(OLDER_THAN_HORIZON, str(error))
    except PermanentError as error:
        return _verdict(WILL_FAIL, f"{error.code}: {error}")
    except OrderSagaError as error:
        return _verdict(UNKNOWN, f"{error.code}: {error}")
    except Exception as error:
        return _verdict(WILL_FAIL, f"{type(error).__name__}: {error}")


def _rehearsed(sessions: Sessions, event: Received[Any], rehearse: Rehearsal, horizon: timedelta) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def play(tx: Transaction) -> NoReturn:
        tx.execute(_BRIEFLY)
        if not inbox.claim(tx, [event]):
            found.append(_verdict(ALREADY_APPLIED, "its id is in the inbox: it would be dropped"))
            raise _Enough
        inbox.refuse_older([event], tx.now - horizon)
        outcome = rehearse(tx, event)
        rows = tx.fetch(_FOLLOWING, event_id=str(event.envelope.event_id))
        found.append(_verdict(_word(outcome), outcome.decision, [row.event_type for row in rows]))
        raise _Enough

    try:
        with transaction(sessions) as tx:
            play(tx)
    except _Enough:
        return found[0]


def _word(outcome: Outcome) -> str:
    if outcome.is_unknown:
        return UNKNOWN_ORDER
    if outcome.is_terminal:
        return ORDER_TERMINAL
    return WILL_APPLY if outcome.is_changed else NO_EFFECT


def _verdict(verdict: str, decision: str, events: Sequence[str] = ()) -> dict[str, Any]:
    return {"verdict": verdict, "decision": decision[:500], "events": list(events)}


def change_in_words(before: str, after: str) -> str:
    """ "HELD → RELEASED", or that nothing changes."""
    return f"{before} → {after}" if before != after else f"stays {after}"
