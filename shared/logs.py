"""Structured logs: one constant event name per line, then fields. Ids, never objects or secrets.

Owns: where logs go (stderr) and their shape. Must not know: what is logged.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

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


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module; safe to call at import, it reads its configuration at first use."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger
