"""Where views find the dead letters on the broker.

Owns: the seam between the endpoints and the broker's queues. Must not know: AMQP.
"""

from __future__ import annotations

from typing import Protocol, cast

from flask import Flask, current_app

from shared.errors import BrokerUnavailable
from shared.messaging.dead_letters import Moved
from shared.messaging.letters import Letter

_EXTENSION = "ordersaga.dead_letters"


class DeadLetterDesk(Protocol):
    """See shared.messaging.dead_letters.DeadLetters, which is one."""

    def is_reachable(self) -> bool: ...

    def depths(self) -> dict[str, int | None]: ...

    def depth(self, queue: str) -> int: ...

    def peek(self, queue: str, limit: int) -> list[Letter]: ...

    def redrive(self, queue: str, count: int) -> Moved: ...

    def discard(self, queue: str, count: int) -> Moved: ...


def register_desk(app: Flask, desk: DeadLetterDesk | None) -> None:
    app.extensions[_EXTENSION] = desk


def desk_if_any() -> DeadLetterDesk | None:
    return cast(DeadLetterDesk | None, current_app.extensions.get(_EXTENSION))


def desk() -> DeadLetterDesk:
    """Raises BrokerUnavailable if this application was made without one."""
    found = desk_if_any()
    if found is None:
        raise BrokerUnavailable("This gateway has no way to the broker's queues")
    return found
