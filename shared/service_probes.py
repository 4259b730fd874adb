"""What a running service says of itself to probes and to Prometheus.

Owns: which parts of a Nameko container are looked at, and when they count as well. Must not know: any service.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nameko_sqlalchemy import Database

from shared.database import SessionFactory
from shared.messaging.chaos_watch import ChaosWatch
from shared.messaging.message_loop import MessageLoop
from shared.metrics import collect_from, gauge
from shared.probes import Probes, Report
from shared.table_figures import TableFigure, TableFigures

# The watchdog ends a process whose loop was silent for longer than this; a probe may say so before.
LIVE_WITHIN_S = 30.0

_BROKER_CONNECTED = gauge("ordersaga_broker_connected", "1 while this process consumes from all of its queues")
_LOOP_SILENT = gauge("ordersaga_message_loop_silent_seconds", "Since the message loop last went round")


def probes_of(container: Any, figures: Iterable[TableFigure]) -> Probes:
    """Registers what Prometheus asks of the container, too: once per process."""
    loop: MessageLoop = container.shared_extensions[MessageLoop]
    database = next(d for d in container.dependencies if isinstance(d, Database))
    tables = TableFigures(SessionFactory(database.Session), figures)
    collect_from(tables)
    _BROKER_CONNECTED.set_function(lambda: loop.is_connected)
    _LOOP_SILENT.set_function(lambda: loop.silent_s)
    chaos: ChaosWatch | None = container.shared_extensions.get(ChaosWatch)
    return Probes(live=lambda: _live(loop), ready=lambda: _ready(loop, tables, chaos))


def _live(loop: MessageLoop) -> Report:
    silent_s = round(loop.silent_s, 1)
    return Report(is_good=silent_s < LIVE_WITHIN_S, parts={"messageLoopSilentSeconds": silent_s})


def _ready(loop: MessageLoop, tables: TableFigures, chaos: ChaosWatch | None) -> Report:
    """Trouble that is made on purpose is shown, and judged by what comes of it."""
    parts = {"database": _word(tables.ask().is_up), "broker": _word(loop.is_connected)}
    draining = {"draining": True} if loop.is_draining else {}
    marks = chaos.memory.marks() if chaos else []
    shown = {**parts, **draining, **({"chaos": marks} if marks else {})}
    return Report(is_good=set(parts.values()) == {"up"}, parts=shown)


def _word(is_up: bool) -> str:
    return "up" if is_up else "down"
