"""The finance service as Nameko runs it: entrypoints only.

Owns: which request goes to which function. Must not know: what happens there.
"""

from __future__ import annotations

from typing import Any

from nameko_sqlalchemy import Database

from finance_service import requests
from finance_service.models import Base
from shared.caller import CallerProvider
from shared.database import ENGINE_OPTIONS, transaction
from shared.health import health_of
from shared.messaging.rpc import rpc
from shared.settings_provider import SettingsProvider
from shared.trace_provider import TraceProvider


class FinanceService:
    """Requests of the finance service."""

    name = "finance_service"
    database = Database(Base, engine_options=ENGINE_OPTIONS)
    settings = SettingsProvider()
    caller = CallerProvider()
    traces = TraceProvider()

    @rpc
    def finance_report(
        self,
        since: Any,
        until: Any,
        seller_id: Any = None,
        currency: Any = None,
        limit: Any = 50,
        cursor: Any = None,
    ) -> dict[str, Any]:
        wanted = {"since": since, "until": until, "seller_id": seller_id, "currency": currency}
        with transaction(self.database) as tx:
            return requests.finance_report(tx, self.caller, self.settings, **wanted, limit=limit, cursor=cursor)

    @rpc
    def finance_figures(self, since: Any, until: Any, currency: Any = None) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.finance_figures(tx, self.caller, self.settings, since=since, until=until, currency=currency)

    @rpc
    def finance_differences(
        self, since: Any, until: Any, seller_id: Any = None, currency: Any = None
    ) -> dict[str, Any]:
        wanted = {"since": since, "until": until, "seller_id": seller_id, "currency": currency}
        with transaction(self.database) as tx:
            return requests.finance_differences(tx, self.caller, **wanted)

    @rpc
    def finance_state(self) -> dict[str, Any]:
        with transaction(self.database) as tx:
            return requests.finance_state(tx, self.caller, self.settings)

    @rpc
    def health(self) -> dict[str, Any]:
        return health_of(self.name, self.database)
