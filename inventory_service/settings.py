"""The inventory service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from inventory_service.domain import Rules
from shared.config import Source
from shared.inbox import HORIZON, read_horizon


@dataclass(frozen=True, kw_only=True)
class Settings:
    rules: Rules
    inbox_horizon: timedelta = HORIZON

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            inbox_horizon=read_horizon(source),
            rules=Rules(
                reservation_ttl=timedelta(seconds=source.seconds("RESERVATION_TTL_S", 1800)),
                manual_payment_ttl=timedelta(seconds=source.seconds("MANUAL_PAYMENT_TTL_S", 1800)),
            ),
        )
