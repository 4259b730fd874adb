"""An order service that keeps an audit log, as the gateway's tests see it.

Owns: entries newest first, keys that are claimed once. Must not know: what any single test promises.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from harness.services import FakeServices
from shared.errors import DatabaseUnavailable, IdempotencyKeyReused
from shared.event_schema import moment_text
from shared.identity import Identity

PAGE = 2


class AuditServices(FakeServices):
    """``fails_after`` so many entries its database is out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []
        self.fails_after: int | None = None

    def call(
        self, service: str, method: str, timeout_s: float | None = None, caller: Identity | None = None, **kwargs: Any
    ) -> Any:
        if (service, method) == ("order_service", "record_audit"):
            return self._record(caller, **kwargs)
        if (service, method) == ("order_service", "list_audit"):
            return self._page(**kwargs)
        return super().call(service, method, timeout_s, caller, **kwargs)

    def _record(self, caller: Identity | None, idempotency_key: str | None = None, **entry: Any) -> dict[str, bool]:
        if self.fails_after is not None and len(self.entries) >= self.fails_after:
            raise DatabaseUnavailable("not now")
        assert caller is not None
        for known in self.entries:
            if idempotency_key and known["key"] == idempotency_key:
                if (known["action"], known["before"]) != (entry["action"], entry["before"]):
                    raise IdempotencyKeyReused("another request")
                return {"replayed": True}
        at = moment_text(datetime.now(UTC))
        self.entries.insert(0, {"after": None, **entry, "key": idempotency_key, "at": at, "actor": caller.subject})
        return {"replayed": False}

    def _page(self, limit: int, cursor: str | None, **wanted: str) -> dict[str, Any]:
        found = [e for e in self.entries if all(e[name] == value for name, value in wanted.items())]
        begin = int(cursor or 0)
        return {
            "entries": found[begin : begin + PAGE],
            "nextCursor": str(begin + PAGE) if begin + PAGE < len(found) else None,
        }
