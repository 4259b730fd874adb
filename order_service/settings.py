"""The order service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from order_service.deadlines import Rules
from shared.config import Source
from shared.inbox import HORIZON, read_horizon

ARCHIVE_AFTER = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``archive_after``: how long an order is left alone once it is over, before it is put away. None: for ever."""

    rules: Rules
    inbox_horizon: timedelta = HORIZON
    archive_after: timedelta | None = ARCHIVE_AFTER

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            inbox_horizon=read_horizon(source),
            archive_after=_archive_after(source),
            rules=Rules(
                pending_deadline=timedelta(seconds=source.seconds("PENDING_DEADLINE_S", 900)),
                approval_deadline=timedelta(seconds=source.seconds("APPROVAL_DEADLINE_S", 86_400)),
                reserved_grace=timedelta(seconds=source.seconds("RESERVED_GRACE_S", 120)),
                finish_deadline=timedelta(seconds=source.seconds("FINISH_DEADLINE_S", 300)),
                flags_overdue=source.choice("ON_DEADLINE", ("cancel", "flag"), "cancel") == "flag",
            ),
        )


def _archive_after(source: Source) -> timedelta | None:
    name = "ORDERS_ARCHIVE_AFTER_S"
    if source.text(name, "default") == "0":
        return None
    return timedelta(seconds=source.seconds(name, ARCHIVE_AFTER.total_seconds()))
