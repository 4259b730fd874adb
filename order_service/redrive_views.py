"""A redrive run as it is shown, found, ended and written into the audit log.

Owns: the shape of a run's document, the audit log's entries about runs. Must not know: when any of it is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from order_service import redrive_queries as queries
from order_service.redrive_schemas import LetterView
from order_service.redriving import ENDED_BADLY, LetterState, RunState
from shared import audit
from shared.database import Transaction
from shared.errors import RedriveNotFound
from shared.event_schema import moment_text
from shared.identity import Identity

LETTER = LetterView()
_OBJECT = "redrive"
_MOST_TROUBLED = 10


def require(tx: Transaction, run_id: Any, *, for_update: bool = False) -> Row[Any]:
    row = queries.run_row(tx, read_id(run_id), for_update=for_update)
    if row is None:
        raise RedriveNotFound("no such redrive", {"id": str(run_id)[:64]})
    return row


def read_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise RedriveNotFound("no such redrive", {"id": str(value)[:64]}) from None


def stop(
    tx: Transaction, caller: Identity, row: Row[Any], reason: str, detail: str | None, request_id: str | None
) -> None:
    run = replace(queries.run_of(row), state=RunState.STOPPED, reason=reason, detail=detail)
    queries.save_run(tx, row.id, run)
    audit_end(tx, caller, row.id, RunState.STOPPED, reason, detail, request_id)


def audit_end(
    tx: Transaction,
    caller: Identity,
    run_id: UUID,
    state: RunState,
    reason: str | None,
    detail: str | None,
    request_id: str | None,
) -> None:
    counts = queries.counts(tx, [run_id])[run_id]
    after = {"state": state, "reason": reason, "detail": detail, "letters": counts}
    audit_run(tx, caller, "finish_redrive" if state is RunState.DONE else "stop_redrive", run_id, request_id, after)


def audit_run(
    tx: Transaction, caller: Identity, action: str, run_id: UUID, request_id: str | None, after: Mapping[str, Any]
) -> None:
    audit.record(tx, caller, action, _OBJECT, run_id, request_id=request_id, after=after)


def document_of(tx: Transaction, run_id: UUID) -> dict[str, Any]:
    row = queries.run_row(tx, run_id)
    if row is None:
        raise RedriveNotFound("no such redrive", {"id": str(run_id)})
    shown = document(row, queries.counts(tx, [run_id])[run_id])
    return {**shown, "troubled": _troubled(tx, run_id)}


def _troubled(tx: Transaction, run_id: UUID) -> list[Any]:
    """A few of those that failed again, or of which nothing is known."""
    found = (queries.letter_rows(tx, run_id, after=0, state=str(s), limit=_MOST_TROUBLED) for s in ENDED_BADLY)
    return [LETTER.dump(row) for rows in found for row in rows]


def document(row: Row[Any], counts: Mapping[str, int]) -> dict[str, Any]:
    letters = {_camel(state): counts.get(state, 0) for state in LetterState}
    return {
        "id": str(row.id),
        "state": row.state,
        "reason": row.reason,
        "detail": row.detail,
        "filter": row.filter,
        "pace": {
            "first": row.first,
            "factor": float(row.factor),
            "most": row.most,
            "perSecond": float(row.per_second),
        },
        "total": sum(counts.values()),
        "letters": letters,
        "nextBatch": row.size,
        "createdBy": row.created_by,
        "createdAt": moment_text(row.created_at),
        "updatedAt": moment_text(row.updated_at),
        "endedAt": moment_text(row.ended_at) if row.ended_at else None,
        "troubled": [],
    }


def _camel(state: LetterState) -> str:
    first, *others = state.lower().split("_")
    return first + "".join(word.capitalize() for word in others)
