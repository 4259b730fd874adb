"""Cron entrypoints of the services. They fire on every replica: a job takes only what no other one has locked.

Owns: the schedules in use, and that a failed tick is reported and the next one comes. Must not know: any job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from croniter import croniter
from nameko_cron import ConcurrencyPolicy, Cron

from shared.logs import get_logger
from shared.messaging import figures

log = get_logger(__name__)

EVERY_SECOND = "* * * * * *"
EVERY_MINUTE = "* * * * *"


class Timer(Cron):
    """``@timer(EVERY_SECOND)``. Ticks missed while a job ran, or by a jump of the clock, are skipped."""

    def __init__(self, schedule: str, **kwargs: Any) -> None:
        super().__init__(schedule, concurrency=ConcurrencyPolicy.SKIP, **kwargs)

    def _get_next_interval(self) -> Iterator[float]:
        """Counted from now each time. Nameko's counts on from its start: after a clock that was set back by an hour it
        sleeps for an hour, after one that was set forward it catches up on every tick.
        """
        while True:
            now = time.time()
            yield max(croniter(self.schedule, now).get_next(float) - now, 0.0)

    def handle_timer_tick(self) -> None:
        # One run at a time, so the entrypoint has room for when it began.
        self._began = time.perf_counter()
        super().handle_timer_tick()

    def handle_result(self, worker_ctx: Any, result: Any, exc_info: Any) -> Any:
        figures.TIMER_SECONDS.labels(self.method_name).observe(time.perf_counter() - self._began)
        if exc_info is not None:
            figures.TIMER_ERRORS.labels(self.method_name, figures.code_of(exc_info[1])).inc()
            log.warning("timer_failed", job=self.method_name, error=f"{exc_info[0].__name__}: {exc_info[1]}"[:300])
        return super().handle_result(worker_ctx, result, exc_info)


timer = Timer.decorator
