"""A dead letter as it lies in its queue, and as it goes back to work.

Owns: what its headers say, and what is left out when it is sent again. Must not know: connections or queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pika

from shared.messaging.headers import (
    ATTEMPTS_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    FAILED_AT_HEADER,
    FAILURE_HEADERS,
    ORIGIN_EXCHANGE_HEADER,
    ORIGIN_QUEUE_HEADER,
    UNREADABLE_HEADER,
    count_of,
    is_deaths_header,
)

_BROKERS_REASON_HEADER = "x-first-death-reason"
BROKERS_COUNTERS = {"x-delivery-count", "x-acquired-count"}
"""How often the broker handed it out: another number at each look."""
# To whom it should be copied: CC and BCC would bring it to other queues too.
_NOT_FOR_A_SECOND_TIME = BROKERS_COUNTERS | {"CC", "BCC"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """``properties`` are pika's. Anybody may have written them: nothing about their values is certain."""

    body: bytes
    properties: Any

    @property
    def headers(self) -> Mapping[Any, Any]:
        return self.properties.headers or {}

    @property
    def is_unreadable(self) -> bool:
        """What it was sent with is lost to us, its id too: it cannot be sent again as it was."""
        return UNREADABLE_HEADER in self.headers

    @property
    def event_id(self) -> str | None:
        return _text(self.properties.message_id)

    @property
    def type(self) -> str | None:
        return _text(self.properties.type)

    @property
    def correlation_id(self) -> str | None:
        return _text(self.properties.correlation_id)

    @property
    def reason(self) -> str | None:
        """Our error's code; for what the broker itself set aside its own word, such as delivery_limit."""
        return _text(self.headers.get(ERROR_CODE_HEADER)) or _text(self.headers.get(_BROKERS_REASON_HEADER))

    @property
    def error(self) -> str | None:
        return _text(self.headers.get(ERROR_HEADER))

    @property
    def failed_at(self) -> str | None:
        return _text(self.headers.get(FAILED_AT_HEADER))

    @property
    def attempts(self) -> int:
        return count_of(self.headers.get(ATTEMPTS_HEADER))

    @property
    def origin_queue(self) -> str | None:
        """Where it failed; None if the broker set it aside, which says so in its own way."""
        return _text(self.headers.get(ORIGIN_QUEUE_HEADER))

    @property
    def origin_exchange(self) -> str | None:
        return _text(self.headers.get(ORIGIN_EXCHANGE_HEADER))


def fresh_properties(letter: Letter) -> pika.BasicProperties:
    """As it was sent first: no attempts, no failure; an old expiration or a foreign user would lose it again."""
    old = letter.properties
    return pika.BasicProperties(
        content_type=old.content_type,
        content_encoding=old.content_encoding,
        headers={name: value for name, value in letter.headers.items() if _is_kept(name)},
        delivery_mode=2,
        priority=old.priority,
        correlation_id=old.correlation_id,
        reply_to=old.reply_to,
        message_id=old.message_id,
        timestamp=old.timestamp,
        type=old.type,
        app_id=old.app_id,
    )


def _is_kept(name: object) -> bool:
    # Where it came from first is worth keeping: from the default exchange nobody would know.
    return name == ORIGIN_EXCHANGE_HEADER or not (
        not isinstance(name, str)
        or name == ATTEMPTS_HEADER
        or name in FAILURE_HEADERS
        or name in _NOT_FOR_A_SECOND_TIME
        or is_deaths_header(name)
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
