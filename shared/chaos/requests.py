"""Answers to operators who make trouble on purpose, see what there is of it, or end it.

Owns: the checks, who may, and what the audit log says. Must not know: Nameko, HTTP, how trouble is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared import audit
from shared.chaos import switches
from shared.chaos.kinds import KINDS, LONGEST_S, PROVIDER_TARGET, USUAL_S, Kind, Where
from shared.database import Transaction
from shared.errors import ChaosDisabled, Forbidden, InvalidRequest
from shared.idempotency import check_request_ids
from shared.identity import Identity, Role

LONGEST_NOTE = 500
_OBJECT_TYPE = "chaos"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What a service lets be troubled, if it ``is_allowed``: its work queues, and the provider if it calls that."""

    service: str
    queues: Sequence[str]
    calls_provider: bool
    is_allowed: bool

    def targets(self, kind: Kind) -> tuple[str, ...]:
        if kind.where is Where.PROVIDER:
            return (PROVIDER_TARGET,) if self.calls_provider else ()
        return (self.service, *self.queues) if kind.where is Where.CONSUMER else (self.service,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A switch as it was asked for. One of ``duration_s`` and ``until`` is None, or both."""

    kind: str
    target: str
    amount: float
    note: str
    duration_s: float | None
    until: datetime | None


def refuse_where_disabled(ground: Ground) -> None:
    """Raises ChaosDisabled."""
    if not ground.is_allowed:
        raise ChaosDisabled("trouble is not made on purpose here: CHAOS_ENABLED is off")


def list_chaos(tx: Transaction, caller: Identity) -> list[dict[str, Any]]:
    """Every switch that is on, with how long it stays so. Raises Forbidden."""
    _require_operator(caller)
    return [switch.document() for switch in switches.active(tx)]


def set_chaos(tx: Transaction, caller: Identity, ground: Ground, wanted: Any, correlation_id: Any) -> dict[str, Any]:
    """The switch that is now on. Safe to repeat: the same kind and target are one switch.

    ``wanted``: kind, target, amount (of kinds that have one), note, and durationS or until.
    Raises Forbidden, ChaosDisabled, InvalidRequest.
    """
    _require_operator(caller)
    refuse_where_disabled(ground)
    check_request_ids(None, correlation_id)
    wish = read_wish(wanted, ground)
    switch = switches.set_switch(
        tx,
        kind=wish.kind,
        target=wish.target,
        amount=wish.amount,
        note=wish.note,
        set_by=caller.subject,
        until=_end_of(tx, wish),
    )
    said = switch.document()
    audit.record(tx, caller, "set_chaos", _OBJECT_TYPE, switch.id, request_id=correlation_id, after=said)
    return said


def clear_chaos(tx: Transaction, caller: Identity, switch_id: Any, correlation_id: Any) -> list[dict[str, Any]]:
    """Those that were on and are off now: the one with this id, or all. Safe to repeat.

    Also where trouble may not be made: ending it is always allowed. Raises Forbidden, InvalidRequest.
    """
    _require_operator(caller)
    check_request_ids(None, correlation_id)
    ended = [switch.document() for switch in switches.clear(tx, _id_of(switch_id))]
    for said in ended:
        audit.record(tx, caller, "clear_chaos", _OBJECT_TYPE, said["id"], request_id=correlation_id, before=said)
    return ended


def read_wish(wanted: Any, ground: Ground) -> Wish:
    """Raises InvalidRequest, naming all that is wrong."""
    if not isinstance(wanted, dict):
        raise InvalidRequest("not a switch", {"errors": {"switch": ["must be an object"]}})
    kind = KINDS.get(wanted["kind"]) if isinstance(wanted.get("kind"), str) else None
    errors = _faults(wanted, kind, ground)
    if errors or kind is None:
        raise InvalidRequest("nothing is switched on", {"errors": {name: [words] for name, words in errors.items()}})
    duration_s, until = wanted.get("durationS"), wanted.get("until")
    return Wish(
        kind=wanted["kind"],
        target=wanted["target"],
        amount=float(wanted.get("amount") or 0),
        note=wanted["note"],
        duration_s=None if duration_s is None else float(duration_s),
        until=None if until is None else _moment(until),
    )


def _faults(wanted: dict[str, Any], kind: Kind | None, ground: Ground) -> dict[str, str]:
    if kind is None:
        return {"kind": f"one of {', '.join(KINDS)}"}
    targets = ground.targets(kind)
    found = {
        "target": None if wanted.get("target") in targets else f"one of {', '.join(targets) or 'none here'}",
        "amount": _amount_fault(wanted.get("amount"), kind),
        "note": None if _is_note(wanted.get("note")) else f"must say why, in up to {LONGEST_NOTE} characters",
        "durationS": _duration_fault(wanted.get("durationS")),
        "until": _until_fault(wanted),
    }
    return {name: words for name, words in found.items() if words}


def _is_note(note: Any) -> bool:
    """What a log line and a table can hold, as the gateway has it: no control characters, no half of a pair."""
    if not isinstance(note, str) or not note.strip() or len(note) > LONGEST_NOTE:
        return False
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in note)


def _amount_fault(amount: Any, kind: Kind) -> str | None:
    if not kind.has_amount:
        return None if amount is None else "this kind has none"
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount <= kind.most:
        return f"a number above 0, up to {kind.most:g} ({kind.unit})"
    return None


def _duration_fault(duration_s: Any) -> str | None:
    if duration_s is None:
        return None
    is_number = isinstance(duration_s, int | float) and not isinstance(duration_s, bool)
    return None if is_number and 0 < duration_s <= LONGEST_S else f"seconds above 0, up to {LONGEST_S}"


def _until_fault(wanted: dict[str, Any]) -> str | None:
    until = wanted.get("until")
    if until is None:
        return None
    if wanted.get("durationS") is not None:
        return "either this or durationS"
    return None if _moment(until) else "a time with its zone such as 2026-01-31T12:00:00Z"


def _moment(until: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(until)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _end_of(tx: Transaction, wish: Wish) -> datetime:
    if wish.until is None:
        return switches.until_of(tx, wish.duration_s or USUAL_S)
    if not tx.now < wish.until <= switches.until_of(tx, LONGEST_S):
        errors = {"until": [f"not over yet, and within {LONGEST_S} s"]}
        raise InvalidRequest("nothing is switched on", {"errors": errors})
    return wish.until


def _id_of(switch_id: Any) -> UUID | None:
    try:
        return None if switch_id is None else UUID(switch_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest("not an id", {"errors": {"id": ["must be a UUID"]}}) from None


def _require_operator(caller: Identity) -> None:
    if not caller.has(Role.ADMIN):
        raise Forbidden("chaos is for operators")
