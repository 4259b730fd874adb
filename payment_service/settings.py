"""The payment service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from payment_service.domain import Rules
from shared.config import Source
from shared.inbox import HORIZON, read_horizon


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``psp_database_url``: where the simulated provider keeps its own book; its own database, not ours.

    ``psp_call_timeout``: seconds that one call to the provider may take. Without ``psp_webhook_secret`` every webhook
    is refused.
    """

    rules: Rules
    psp_database_url: str
    psp_call_timeout: float = 10.0
    psp_webhook_secret: str | None = field(default=None, repr=False)
    inbox_horizon: timedelta = HORIZON

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            inbox_horizon=read_horizon(source),
            rules=Rules(psp_limit=timedelta(seconds=source.seconds("PSP_LIMIT_S", 30))),
            psp_database_url=source.text("PSP_DATABASE_URL"),
            psp_call_timeout=source.seconds("PSP_CALL_TIMEOUT_S", 10.0),
            psp_webhook_secret=source.secret("PSP_WEBHOOK_SECRET"),
        )
