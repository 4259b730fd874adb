"""Listens to what is sent to databases, for traces.

Owns: when a statement began and ended. Must not know: any statement, or the values in it.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from shared.tracing.work import Work

_BEGAN = "ordersaga_began_ns"


def listen(current: ContextVar[Work | None]) -> None:
    """To every engine of this process, for good."""

    def began(conn: Any, _cursor: Any, _statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        if current.get() is not None:
            conn.info[_BEGAN] = time.time_ns()

    def ended(conn: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        _note(current.get(), conn, statement, None)

    def failed(context: Any) -> None:
        if context.connection is not None and context.statement is not None:
            _note(current.get(), context.connection, context.statement, context.original_exception)

    event.listen(Engine, "before_cursor_execute", began)
    event.listen(Engine, "after_cursor_execute", ended)
    event.listen(Engine, "handle_error", failed)


def _note(work: Work | None, conn: Any, statement: str, error: BaseException | None) -> None:
    # A connection that broke has no info any more; its error is enough.
    began = None if conn.invalidated or conn.closed else conn.info.pop(_BEGAN, None)
    if work is not None and began is not None:
        work.sent((statement, began, time.time_ns(), error))
