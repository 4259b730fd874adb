"""Structured logs: one constant event name per line, then fields. Ids, never objects or secrets.

Owns: where logs go (stderr) and their shape. Must not know: what is logged.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from shared.tracing import current_trace_id

_NOISY = ("amqp", "kombu", "pika", "alembic.runtime.migration", "sqlalchemy")
# Logs every failed worker with its traceback, and so with the payload; our entrypoints say what failed, without.
_TOO_TALKATIVE = "nameko.containers"


def configure_logs(*, process: str, level: str = "INFO", style: str = "json") -> None:
    """Send this process's logs, our own and the libraries', to stderr as JSON lines (or for a person: console)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process(process),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if style == "console" else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    _express.process = process if style == "json" and logging.getLevelName(level) <= logging.INFO else None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_TOO_TALKATIVE).setLevel(logging.CRITICAL)


def _add_process(process: str) -> Any:
    def add(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["process"] = process
        return event

    return add


def _add_trace(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if (trace_id := current_trace_id()) is not None:
        event["trace_id"] = trace_id
    return event


class _Express:
    """``process`` is None where lines must go the usual way: for a person, or not at all at this level."""

    process: str | None = None


_express = _Express()


def say_often(log: Any, event: str, /, **fields: Any) -> None:
    """The same line as ``log.info`` for a tenth of its cost: for what is said of each request and each batch.

    UUIDs may be given as they are. What is bound to the context is not in it.
    """
    if _express.process is None:
        log.info(event, **{name: _plain(value) for name, value in fields.items()})
        return
    trace_id = current_trace_id()
    line = {
        "event": event,
        **fields,
        **({"trace_id": trace_id} if trace_id else {}),
        "level": "info",
        "timestamp": datetime.now(UTC),
        "process": _express.process,
    }
    try:
        text = orjson.dumps(line, default=str, option=_FORM)
    except TypeError:
        # Half a character, as anybody can put into a path: no UTF-8, but JSON has a way to write it.
        log.info(event, **{name: _plain(value) for name, value in fields.items()})
        return
    # A full disk is no reason to fail: the lines are lost, as those of any other logger are.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()


_FORM = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return value if value is None or isinstance(value, str | int | float | dict) else str(value)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module; safe to call at import, it reads its configuration at first use."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger
