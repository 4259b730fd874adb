"""Has what a worker does told together: its statements in one trace, its log lines with what was asked, and by whom.

Owns: where in Nameko's context that stands. Must not know: any method.
"""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider
from structlog.contextvars import bind_contextvars

from shared import tracing

ASKED_KEY = "ordersaga.asked"


class TraceProvider(DependencyProvider):
    """Injects nothing. Workers that no message asked for (timers) get work of their own, which ends with them."""

    def worker_setup(self, worker_ctx: Any) -> None:
        tracing.enter(worker_ctx.data.get(tracing.WORK_KEY))
        if (asked := worker_ctx.data.get(ASKED_KEY)) is not None:
            # A worker is a green thread of its own: what is bound here ends with it.
            bind_contextvars(**asked)

    def worker_teardown(self, worker_ctx: Any) -> None:
        tracing.leave(is_done=tracing.WORK_KEY not in worker_ctx.data)
