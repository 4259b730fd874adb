"""What operators ask of any service alike: its audit log, chaos switches, dead letters, backlog and health.

Owns: those entrypoints, once. Must not know: what any service is for; what it rehearses is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from shared import audit, inbox, reconciliation
from shared.chaos import requests as chaos_requests
from shared.database import transaction
from shared.foresight import foresee
from shared.health import health_of
from shared.messaging.batch_consumer import consumed_events
from shared.messaging.rpc import rpc


class Operations:
    """Beside a service's own entrypoints; ``rehearse`` is what its handlers would do with an event, without doing it.

    The service has ``name`` and the providers ``database``, ``settings``, ``caller`` and ``chaos``.
    """

    name: ClassVar[str]
    database: Any
    settings: Any
    caller: Any
    chaos: Any
    rehearse: ClassVar[Callable[..., Any]]

    @rpc
    def list_audit(
        self,
        limit: Any = 50,
        cursor: Any = None,
        actor: Any = None,
        object_id: Any = None,
        action: Any = None,
        object_type: Any = None,
        since: Any = None,
        until: Any = None,
    ) -> dict[str, Any]:
        wanted = audit.AuditFilter(
            actor=actor, action=action, object_type=object_type, object_id=object_id, since=since, until=until
        )
        with transaction(self.database) as tx:
            return audit.page(tx, self.caller, limit=limit, cursor=cursor, wanted=wanted)

    @rpc
    def list_chaos(self) -> list[dict[str, Any]]:
        with transaction(self.database) as tx:
            return chaos_requests.list_chaos(tx, self.caller)

    @rpc
    def set_chaos(self, switch: Any, correlation_id: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return chaos_requests.set_chaos(tx, self.caller, self.chaos.ground, switch, correlation_id)

    @rpc
    def clear_chaos(self, switch_id: Any = None, correlation_id: Any = None) -> list[dict[str, Any]]:
        with transaction(self.database) as tx:
            return chaos_requests.clear_chaos(tx, self.caller, switch_id, correlation_id)

    @rpc
    def foresee_events(self, letters: Any) -> list[dict[str, Any]]:
        rehearse = partial(type(self).rehearse, settings=self.settings)
        horizon = self.settings.inbox_horizon
        return foresee(self.database, self.caller, letters, consumed_events(type(self)), rehearse, horizon=horizon)

    @rpc
    def known_events(self, event_ids: Any) -> list[str]:
        with transaction(self.database) as tx:
            return inbox.known(tx, self.caller, event_ids)

    @rpc
    def reconcile_backlog(self) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciliation.backlog(tx, self.caller)

    @rpc
    def republish_event(
        self, order_id: Any, event_id: Any, idempotency_key: Any = None, correlation_id: Any = None
    ) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return reconciliation.republish(tx, self.caller, order_id, event_id, idempotency_key, correlation_id)

    @rpc
    def health(self) -> dict[str, Any]:
        return health_of(self.name, self.database, self.chaos.marks())
