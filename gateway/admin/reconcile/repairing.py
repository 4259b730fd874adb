"""One repair, after another look: what is no longer found is not repaired.

Owns: when a repair is done, and what is answered. Must not know: HTTP, keys and the audit log (see recorded), how a
service repairs.
"""

from __future__ import annotations

from typing import Any

from gateway.admin.reconcile.asking import Asker
from gateway.admin.reconcile.kinds import Discrepancy
from shared.errors import OrderSagaError, TransientError

NOT_FOUND = "It is not found (any more), or something is happening to the order just now"
NO_REPAIR = "Nothing here repairs it: an operator has to decide"


def repair_found(
    asker: Asker,
    code: str,
    order_id: str,
    subject: str | None,
    *,
    quiet_s: float,
    key: str,
    request_id: str | None,
) -> dict[str, Any]:
    """{"repaired", "did", "detail"}. What a service is asked to do, it does once for each ``key``.

    Raises TransientError where a service could not be asked: safe to repeat with the same key.
    """
    found = asker.compared([order_id], quiet_s).discrepancies
    wanted = next((d for d in found if d.code == code and (subject is None or d.subject == subject)), None)
    if wanted is None:
        return {"repaired": False, "did": None, "detail": NOT_FOUND}
    if wanted.repair is None:
        return {"repaired": False, "did": None, "detail": NO_REPAIR}
    return _repaired(asker, wanted, order_id, key, request_id)


def _repaired(asker: Asker, wanted: Discrepancy, order_id: str, key: str, request_id: str | None) -> dict[str, Any]:
    assert wanted.repair is not None  # noqa: S101 - its caller has looked
    try:
        did = asker.repair(wanted.repair, order_id, wanted.code, key, request_id)
    except TransientError:
        raise
    except OrderSagaError as error:
        return {"repaired": False, "did": None, "detail": str(error)}
    detail = None if did else "The event is in nobody's outbox any more"
    return {"repaired": did is not None, "did": did, "detail": detail}
