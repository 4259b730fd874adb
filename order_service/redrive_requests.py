"""Answers to requests about redrive runs: made, looked at, stopped, resumed.

Owns: from RPC arguments to runs and back. Must not know: Nameko, HTTP, the broker; how a run is driven (redrive_steps).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from order_service import redrive_queries as queries
from order_service.access import refuse_all_but_operators
from order_service.redrive_schemas import NewRunSchema
from order_service.redrive_views import LETTER, audit_run, document, document_of, read_id, require, stop
from order_service.redriving import LetterState, RunState, resumed
from shared import pages
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import Conflict, NothingSelected
from shared.event_schema import load_request
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity

_NEW_RUN = NewRunSchema()


def create_redrive(
    tx: Transaction, caller: Identity, wanted: Any, idempotency_key: Any, request_id: Any
) -> dict[str, Any]:
    """{"redrive", "replayed"}: a run for exactly these letters.

    Raises Forbidden, InvalidRequest, NothingSelected where there are none, and what `once` raises.
    """
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, request_id)
    asked = load_request(_NEW_RUN, wanted, "wanted")

    def make() -> dict[str, Any]:
        if not asked["letters"]:
            raise NothingSelected("no dead letter that can be seen matches the filter")
        pace, run_id = asked["pace"], new_id()
        run = {
            "id": run_id,
            "filter": asked["filter"],
            "first": pace.first,
            "factor": pace.factor,
            "most": pace.most,
            "per_second": pace.per_second,
            "size": pace.beginning(),
            "created_by": caller.subject,
        }
        letters = [_new_letter(number, letter) for number, letter in enumerate(asked["letters"], 1)]
        queries.insert_run(tx, run, letters)
        left_out = sum(letter["state"] == LetterState.LEFT_OUT for letter in letters)
        after = {"filter": asked["filter"], "letters": len(letters), "leftOut": left_out}
        audit_run(tx, caller, "create_redrive", run_id, request_id, after)
        return document_of(tx, run_id)

    said = {"filter": asked["filter"], "pace": wanted["pace"]}
    return _once(tx, caller, "create_redrive", idempotency_key, said, make)


def get_redrive(tx: Transaction, caller: Identity, run_id: Any) -> dict[str, Any]:
    """Raises Forbidden, RedriveNotFound."""
    refuse_all_but_operators(caller)
    return document_of(tx, read_id(run_id))


def list_redrives(tx: Transaction, caller: Identity, limit: Any, cursor: Any, state: Any) -> dict[str, Any]:
    """{"redrives": newest first, "nextCursor"}. Raises Forbidden, InvalidRequest."""
    refuse_all_but_operators(caller)
    pages.check_limit(limit)
    wanted = pages.one_of("state", state, [str(s) for s in RunState])
    rows = queries.run_rows(tx, limit=limit + 1, before_id=pages.id_cursor(cursor), state=wanted)
    counts = queries.counts(tx, [row.id for row in rows])
    shown, next_cursor = pages.cut([document(row, counts[row.id]) for row in rows], limit, "id")
    return {"redrives": shown, "nextCursor": next_cursor}


def list_redrive_letters(
    tx: Transaction, caller: Identity, run_id: Any, limit: Any, cursor: Any, state: Any
) -> dict[str, Any]:
    """{"letters": in the order in which they go, "nextCursor"}. Raises Forbidden, InvalidRequest, RedriveNotFound."""
    refuse_all_but_operators(caller)
    pages.check_limit(limit)
    wanted = pages.one_of("state", state, [str(s) for s in LetterState])
    id_ = require(tx, run_id).id
    after = min(pages.number_cursor(cursor) or 0, 2**31 - 1)
    rows = queries.letter_rows(tx, id_, after=after, state=wanted, limit=limit + 1)
    shown, next_cursor = pages.cut([LETTER.dump(row) for row in rows], limit, "number")
    return {"letters": shown, "nextCursor": next_cursor}


def stop_redrive(
    tx: Transaction, caller: Identity, run_id: Any, note: Any, idempotency_key: Any, request_id: Any
) -> dict[str, Any]:
    """{"redrive", "replayed"}: nothing more is sent. Raises Conflict for a run that has ended."""
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, request_id)
    said = pages.filter_text("note", note)

    def stop_it() -> dict[str, Any]:
        row = require(tx, run_id, for_update=True)
        if row.state != RunState.RUNNING:
            raise Conflict(f"the run is {row.state}", {"state": row.state})
        stop(tx, caller, row, "operator", said, request_id)
        return document_of(tx, row.id)

    return _once(tx, caller, "stop_redrive", idempotency_key, {"run": str(run_id), "note": said}, stop_it)


def resume_redrive(
    tx: Transaction, caller: Identity, run_id: Any, idempotency_key: Any, request_id: Any
) -> dict[str, Any]:
    """{"redrive", "replayed"}: what is left of the selection goes on, one first. Raises Conflict unless STOPPED."""
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, request_id)

    def resume() -> dict[str, Any]:
        row = require(tx, run_id, for_update=True)
        if row.state != RunState.STOPPED:
            raise Conflict(f"the run is {row.state}", {"state": row.state})
        queries.save_run(tx, row.id, resumed(queries.run_of(row), tx.now))
        audit_run(tx, caller, "resume_redrive", row.id, request_id, {"state": RunState.RUNNING})
        return document_of(tx, row.id)

    return _once(tx, caller, "resume_redrive", idempotency_key, {"run": str(run_id)}, resume)


def _once(tx: Transaction, caller: Identity, scope: str, key: Any, said: Any, act: Callable[[], Any]) -> dict[str, Any]:
    shown, replayed = once(tx, scope, owned_key(caller, key), said, act)
    return {"redrive": shown, "replayed": replayed}


def _new_letter(number: int, said: Mapping[str, Any]) -> dict[str, Any]:
    letter = {name: value for name, value in said.items() if name != "code"}
    state = LetterState.LEFT_OUT if said["code"] else LetterState.SELECTED
    return {**letter, "number": number, "state": state, "detail": said["code"]}
