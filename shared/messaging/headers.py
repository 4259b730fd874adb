"""What is written beside a message that failed.

Owns: the names of these headers. Must not know: who writes or reads them, or with which client library.
"""

from __future__ import annotations

from typing import Any

ATTEMPTS_HEADER = "x-attempts"
ERROR_HEADER = "x-error"
ERROR_CODE_HEADER = "x-error-code"
FAILED_AT_HEADER = "x-failed-at"
ORIGIN_QUEUE_HEADER = "x-origin-queue"
ORIGIN_EXCHANGE_HEADER = "x-origin-exchange"
UNREADABLE_HEADER = "x-unreadable-properties"
"""In place of all properties of a message that a client library cannot read."""
CHAOS_COPY_HEADER = "x-chaos-copy"
"""On what a chaos switch put into a queue once more, so that it is not doubled again."""

FAILURE_HEADERS = (
    ERROR_HEADER,
    ERROR_CODE_HEADER,
    FAILED_AT_HEADER,
    ORIGIN_QUEUE_HEADER,
    ORIGIN_EXCHANGE_HEADER,
)


def is_deaths_header(name: str) -> bool:
    """The broker's own record (x-death, x-first-death-reason, ...).

    RabbitMQ 3.x takes it for a dead-letter cycle when such a message fails again, and drops it.
    """
    return "-death" in name


def count_of(value: Any) -> int:
    """What a header says as a number of times; whatever cannot be one is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
