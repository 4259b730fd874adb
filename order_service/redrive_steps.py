"""A redrive run driven one step further: three requests, of whoever holds the letters.

Owns: the lease of whoever drives a run, what is written down before and after anything moves.
Must not know: Nameko, HTTP, the broker: whoever asks says what it saw.

`claim_redrive`: whose turn it is, which letters to look at. `plan_redrive`: what was seen; what is to be sent, which is
written down before anything moves. `record_redrive`: what was sent. Whoever dies between two of them leaves a lease
that lapses, and letters of which the next one sees what became of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from order_service import redrive_queries as queries
from order_service.access import refuse_all_but_operators
from order_service.redrive_schemas import OutcomesSchema, SightsSchema, WorkView
from order_service.redrive_views import audit_end, audit_run, document_of, require, stop
from order_service.redriving import ON_THE_WAY, POLL_S, Letter, LetterState, RunState, Sight, Step, believe, plan
from shared.database import Transaction
from shared.envelope import new_id
from shared.event_schema import load_request
from shared.idempotency import check_request_ids
from shared.identity import Identity

LEASE_S = 20.0
"""Longer than a look and the questions after it, or a batch, takes."""
BUSY = "busy"
_SIGHTS, _OUTCOMES, _WORK = SightsSchema(), OutcomesSchema(), WorkView()
_LEFT_OUT_FOR = ("unreadable", "unknown_origin", "cannot_be_sent")
_NOT_IN_HAND = "not_in_hand"


def claim_redrive(tx: Transaction, caller: Identity, run_id: Any) -> dict[str, Any]:
    """{"redrive", "step", "waitS", "lease", "letters"}: with a lease it is the caller's turn, and ``step`` is None."""
    refuse_all_but_operators(caller)
    row = require(tx, run_id, for_update=True)
    lease_id = new_id()
    if row.state != RunState.RUNNING or not queries.lease(tx, row.id, lease_id, LEASE_S):
        step = {RunState.DONE: Step.DONE, RunState.STOPPED: Step.STOPPED}.get(row.state, BUSY)
        wait_s = POLL_S if step == BUSY else 0.0
        return _step(tx, row.id, step, wait_s)
    letters = [_WORK.dump(letter) for letter in queries.in_work(tx, row.id, _upcoming(row))]
    return {**_step(tx, row.id, None, 0.0), "lease": str(lease_id), "letters": letters}


def plan_redrive(
    tx: Transaction, caller: Identity, run_id: Any, lease: Any, sights: Any, request_id: Any
) -> dict[str, Any]:
    """{"redrive", "step", "waitS", "batch": numbers}: what was seen is believed, what is to be sent written down.

    Without the lease (it lapsed, somebody else drives) the step is BUSY and nothing is written.
    """
    refuse_all_but_operators(caller)
    check_request_ids(None, request_id)
    seen = {s["number"]: s for s in load_request(_SIGHTS, {"sights": sights})["sights"]}
    row = require(tx, run_id, for_update=True)
    if not _is_leased(row, lease) or row.state != RunState.RUNNING:
        return {**_step(tx, row.id, BUSY, POLL_S), "batch": []}
    # Only what was looked at: more of the selection may have come into reach meanwhile.
    before = [queries.letter_of(r) for r in queries.in_work(tx, row.id, _upcoming(row)) if r.number in seen]
    believed = [believe(letter, _sight(seen[letter.number]), tx.now) for letter in before]
    counts = queries.counts(tx, [row.id])[row.id]
    open_letters = sum(counts.get(state, 0) for state in (LetterState.SELECTED, *ON_THE_WAY))
    planned = plan(queries.run_of(row), believed, tx.now, are_more=open_letters > len(before))
    rows = [_letter_row(_sending(letter, tx) if letter.number in planned.batch else letter) for letter in believed]
    changed = [r for r, letter in zip(rows, before, strict=True) if r != _letter_row(letter)]
    for r in changed:
        r["known"] = seen[r["number"]]["others"] if r["number"] in planned.batch else None
    queries.save_letters(tx, row.id, changed, [LetterState.SELECTED, *ON_THE_WAY])
    queries.save_run(tx, row.id, planned.run)
    if planned.batch:
        queries.renew(tx, row.id, row.lease, LEASE_S)
    else:
        queries.release(tx, row.id, row.lease)
    if planned.run.state is not RunState.RUNNING:
        audit_end(tx, caller, row.id, planned.run.state, planned.run.reason, planned.run.detail, request_id)
    return {**_step(tx, row.id, planned.step, planned.wait_s), "batch": list(planned.batch)}


def record_redrive(
    tx: Transaction, caller: Identity, run_id: Any, lease: Any, outcomes: Any, request_id: Any
) -> dict[str, Any]:
    """{"redrive"}: what became of the batch; gives the lease back. What is not spoken of stays SENDING."""
    refuse_all_but_operators(caller)
    check_request_ids(None, request_id)
    told = load_request(_OUTCOMES, {"outcomes": outcomes})["outcomes"]
    row = require(tx, run_id, for_update=True)
    rows = [_letter_row(_after_sending(outcome, tx)) for outcome in told]
    # Somebody else may have looked at them since, and knows better.
    queries.save_letters(tx, row.id, rows, [LetterState.SENDING])
    sent = [outcome["number"] for outcome in told if outcome["code"] is None]
    if sent:
        ids = queries.event_ids(tx, row.id, sent)
        audit_run(tx, caller, "redrive_batch", row.id, request_id, {"sent": len(sent), "eventIds": ids})
    refused = next((o for o in told if o["code"] not in (None, _NOT_IN_HAND, *_LEFT_OUT_FOR)), None)
    if refused and row.state == RunState.RUNNING:
        stop(tx, caller, row, refused["code"], refused["detail"], request_id)
    if row.lease is not None and _is_leased(row, lease):
        queries.release(tx, row.id, row.lease)
    return {"redrive": document_of(tx, row.id)}


def _sending(letter: Letter, tx: Transaction) -> Letter:
    return Letter(number=letter.number, state=LetterState.SENDING, since=tx.now)


def _after_sending(outcome: Mapping[str, Any], tx: Transaction) -> Letter:
    code, number = outcome["code"], outcome["number"]
    if code is None:
        return Letter(number=number, state=LetterState.SENT, since=tx.now)
    if code in _LEFT_OUT_FOR:
        return Letter(number=number, state=LetterState.LEFT_OUT, since=tx.now, detail=code)
    return Letter(number=number, state=LetterState.SELECTED, since=tx.now if code == _NOT_IN_HAND else None)


def _letter_row(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "state": letter.state,
        "since": letter.since,
        "detail": letter.detail,
        "known": None,
    }


def _sight(seen: Mapping[str, Any]) -> Sight:
    return Sight(is_there=seen["is_there"], failed_again=seen["failed_again"], is_applied=seen["is_applied"])


def _upcoming(row: Row[Any]) -> int:
    """Some more than the next batch: others may be in somebody else's hands."""
    return 2 * int(row.size) + 20


def _is_leased(row: Row[Any], lease: Any) -> bool:
    return row.lease is not None and str(row.lease) == lease


def _step(tx: Transaction, run_id: UUID, step: str | None, wait_s: float) -> dict[str, Any]:
    return {
        "redrive": document_of(tx, run_id),
        "step": step if step is None else str(step),
        "waitS": wait_s,
        "lease": None,
        "letters": [],
    }
