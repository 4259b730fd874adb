"""What operators do outside the services, such as on the broker, put into this service's audit log.

Owns: reading such a request, and recording it once for each key. Must not know: what was done.
"""

from __future__ import annotations

from typing import Any

from order_service.access import refuse_all_but_operators
from shared import audit
from shared.database import Transaction
from shared.envelope import is_short_text
from shared.errors import InvalidRequest
from shared.idempotency import check_request_ids, once, owned_key
from shared.identity import Identity


def read_audit_entry(
    action: Any, object_type: Any, object_id: Any, request_id: Any, before: Any, after: Any
) -> dict[str, Any]:
    """The entry's parts by the names that `audit.record` has for them. Raises InvalidRequest."""
    texts = {"action": action, "objectType": object_type, "objectId": object_id}
    errors = {name: ["must be a short text"] for name, value in texts.items() if not is_short_text(value)}
    objects = {"before": before, "after": after}
    errors |= {n: ["must be an object"] for n, v in objects.items() if v is not None and not isinstance(v, dict)}
    if errors:
        raise InvalidRequest("no entry of the audit log", {"errors": errors})
    check_request_ids(None, request_id)
    return {
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "request_id": request_id,
        "before": before,
        "after": after,
    }


def record_audit(tx: Transaction, caller: Identity, entry: dict[str, Any], idempotency_key: Any) -> dict[str, bool]:
    """{"replayed"}: whether the key was there before, and so nothing was recorded.

    Raises Forbidden, InvalidRequest, and what `once` raises.
    """
    refuse_all_but_operators(caller)
    check_request_ids(idempotency_key, None)

    def write() -> dict[str, bool]:
        audit.record(tx, caller, **entry)
        return {"recorded": True}

    # A repeated request may come with another request id.
    said = {name: value for name, value in entry.items() if name != "request_id"}
    _, replayed = once(tx, "record_audit", owned_key(caller, idempotency_key), said, write)
    return {"replayed": replayed}
