"""The finance service's settings: names, defaults, units. Reads them from the environment it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from shared.change_data.captured import STREAM
from shared.config import Source


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``stale_after``: how old what is known of a database may be before it is called stale."""

    stale_after: timedelta
    stream: str = STREAM

    @classmethod
    def read(cls, source: Source) -> Settings:
        return cls(
            stale_after=timedelta(seconds=source.seconds("FINANCE_STALE_AFTER_S", 60)),
            stream=source.text("FINANCE_STREAM", STREAM),
        )
