"""Something an operator does outside the services, recorded in the audit log before and after, and once for each key.

Owns: what a repeated Idempotency-Key gets. Must not know: what is done.

Two entries: one that it was asked for, with the key, before anything happens; one with the outcome. The first is also
the claim of the key: if it cannot be written, nothing is done. A repeated key gets the outcome that was recorded; if
there is none, whoever did it was interrupted, and that is the answer: doing it again is for somebody who has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.access import caller
from gateway.request_id import request_id
from gateway.services import ORDER_SERVICE, services
from shared.errors import IdempotencyKeyInProgress, OrderSagaError
from shared.logs import get_logger

log = get_logger(__name__)

LONGEST_RUN = timedelta(seconds=30)
_ENTRIES_AT_ONCE = 100
_MOST_PAGES = 20


def once_recorded(
    action: str,
    object_type: str,
    object_id: str,
    wanted: Mapping[str, Any],
    run: Callable[[], dict[str, Any]],
    *,
    key: str,
) -> tuple[dict[str, Any] | None, bool]:
    """(outcome, whether it is an earlier request's). The outcome is None if that one was interrupted.

    Raises IdempotencyKeyInProgress, IdempotencyKeyReused, and whatever asking the order service raises.
    """
    said = {**wanted, "idempotencyKey": key}
    entry = {"action": action, "object_type": object_type, "object_id": object_id, "before": said}
    if _record(**entry, idempotency_key=key)["replayed"]:
        return _outcome_of(action, object_id, key), True
    outcome = run()
    try:
        _record(**entry, after=outcome)
    except OrderSagaError as error:
        # It is done: saying so to whoever asked is worth more than an error that hides it.
        log.error("outcome_not_recorded", action=action, object_id=object_id, outcome=outcome, error=str(error)[:300])
    return outcome, False


def _record(**entry: Any) -> Any:
    return services().call(ORDER_SERVICE, "record_audit", request_id=request_id(), **entry)


def _outcome_of(action: str, object_id: str, key: str) -> dict[str, Any] | None:
    """Newest first: the outcome, if there is one, comes before the entry that it was asked for."""
    cursor = None
    for _ in range(_MOST_PAGES):
        page = services().call(
            ORDER_SERVICE,
            "list_audit",
            limit=_ENTRIES_AT_ONCE,
            cursor=cursor,
            actor=caller().subject,
            object_id=object_id,
        )
        for entry in page["entries"]:
            if entry["action"] == action and (entry["before"] or {}).get("idempotencyKey") == key:
                return _finished(entry)
        cursor = page["nextCursor"]
        if cursor is None:
            break
    return None


def _finished(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    outcome: dict[str, Any] | None = entry["after"]
    if outcome is None and datetime.now(UTC) - datetime.fromisoformat(entry["at"]) < LONGEST_RUN:
        raise IdempotencyKeyInProgress("a request with this Idempotency-Key is still running")
    return outcome
