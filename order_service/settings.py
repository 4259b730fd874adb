"""The order service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from order_service.deadlines import Rules
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
                pending_deadline=timedelta(seconds=source.seconds("PENDING_DEADLINE_S", 900)),
                approval_deadline=timedelta(seconds=source.seconds("APPROVAL_DEADLINE_S", 86_400)),
                reserved_grace=timedelta(seconds=source.seconds("RESERVED_GRACE_S", 120)),
                finish_deadline=timedelta(seconds=source.seconds("FINISH_DEADLINE_S", 300)),
                flags_overdue=source.choice("ON_DEADLINE", ("cancel", "flag"), "cancel") == "flag",
            ),
        )
