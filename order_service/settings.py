"""The order service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from order_service.domain import Rules
from shared.config import Source
from shared.inbox import HORIZON, read_horizon


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``pending_deadline``: how long an order may wait for its first answer before it is cancelled."""

    pending_deadline: timedelta
    rules: Rules
    inbox_horizon: timedelta = HORIZON

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            inbox_horizon=read_horizon(source),
            pending_deadline=timedelta(seconds=source.seconds("PENDING_DEADLINE_S", 900)),
            rules=Rules(reserved_grace=timedelta(seconds=source.seconds("RESERVED_GRACE_S", 120))),
        )
