"""Answers to operators who have a customer's addresses forgotten.

Owns: reading such a request, its line in the audit log, how far it has come. Must not know: tables, Nameko, HTTP.
"""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, fields

from order_service import erasures
from order_service.access import refuse_all_but_operators
from order_service.requests import as_uuid
from shared import audit
from shared.database import Transaction
from shared.envelope import new_id
from shared.errors import ErasureNotFound
from shared.event_schema import Moment, PayloadSchema, load_request, text
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import LONGEST_NAME, Identity


class ErasureSchema(PayloadSchema):
    class Meta:
        unknown = RAISE

    user_id = text(LONGEST_NAME, data_key="userId")
    note = text(500)


class ErasureView(PayloadSchema):
    id = fields.UUID()
    user_id = fields.String(data_key="userId")
    note = fields.String()
    requested_by = fields.String(data_key="requestedBy")
    requested_at = Moment(data_key="requestedAt")
    erased = fields.Integer()
    skipped = fields.Integer()
    finished_at = Moment(data_key="finishedAt")


_WANTED, _VIEW = ErasureSchema(), ErasureView()


def request_erasure(
    tx: Transaction, caller: Identity, user_id: Any, note: Any, idempotency_key: Any, correlation_id: Any
) -> dict[str, Any]:
    """{"erasure", "replayed"}; the timer does the work. Raises Forbidden, InvalidRequest, and what `once` raises."""
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, correlation_id)
    wanted = load_request(_WANTED, {"userId": user_id, "note": note}, "erasure")

    def begin() -> Any:
        erasure_id = new_id()
        erasures.begin(tx, erasure_id, wanted["user_id"], wanted["note"], caller.subject)
        after = {"erasureId": str(erasure_id), "note": wanted["note"]}
        audit.record(tx, caller, "erase_user", "user", wanted["user_id"], request_id=correlation_id, after=after)
        return _VIEW.dump(erasures.find(tx, erasure_id))

    key = owned_key(caller, idempotency_key)
    erasure, replayed = once(tx, "request_erasure", key, {"userId": user_id, "note": note}, begin)
    return {"erasure": erasure, "replayed": replayed}


def get_erasure(tx: Transaction, caller: Identity, erasure_id: Any) -> dict[str, Any]:
    """Raises Forbidden, ErasureNotFound."""
    refuse_all_but_operators(caller)
    id_ = as_uuid(erasure_id)
    found = None if id_ is None else erasures.find(tx, id_)
    if found is None:
        raise ErasureNotFound("no such erasure", {"id": str(erasure_id)[:64]})
    answer: dict[str, Any] = _VIEW.dump(found)
    return answer
