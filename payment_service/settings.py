"""The payment service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from payment_service.domain import Rules
from shared.config import Source


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``psp_database_url``: where the simulated provider keeps its own book; its own database, not ours."""

    rules: Rules
    psp_database_url: str

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            rules=Rules(psp_limit=timedelta(seconds=source.seconds("PSP_LIMIT_S", 30))),
            psp_database_url=source.text("PSP_DATABASE_URL"),
        )
