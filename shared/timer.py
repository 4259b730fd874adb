"""Cron entrypoints of the services. They fire on every replica: a job takes only what no other one has locked.

Owns: the schedules in use, and that a failed tick is reported and the next one comes. Must not know: any job.
"""

from __future__ import annotations

from typing import Any

from nameko_cron import ConcurrencyPolicy, Cron

from shared.logs import get_logger

log = get_logger(__name__)

EVERY_SECOND = "* * * * * *"
EVERY_MINUTE = "* * * * *"


class Timer(Cron):
    """``@timer(EVERY_SECOND)``. Ticks missed while a job ran, or by a jump of the clock, are skipped."""

    def __init__(self, schedule: str, **kwargs: Any) -> None:
        super().__init__(schedule, concurrency=ConcurrencyPolicy.SKIP, **kwargs)

    def handle_result(self, worker_ctx: Any, result: Any, exc_info: Any) -> Any:
        if exc_info is not None:
            log.warning("timer_failed", job=self.method_name, error=f"{exc_info[0].__name__}: {exc_info[1]}"[:300])
        return super().handle_result(worker_ctx, result, exc_info)


timer = Timer.decorator
