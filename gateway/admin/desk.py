"""Where views find the dead letters on the broker.

Owns: the seam between the endpoints and the broker's queues. Must not know: AMQP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar, cast

from flask import Flask, current_app

from shared.errors import BrokerUnavailable
from shared.messaging.dead_letters import Moved, Stop
from shared.messaging.hands import Glimpse
from shared.messaging.letters import Letter

_EXTENSION = "ordersaga.dead_letters"

T = TypeVar("T")


class HeldLetters(Protocol):
    """See shared.messaging.hands.Hands, which is one."""

    def glimpses(self, queue: str) -> Sequence[Glimpse]: ...

    def copies(self, queue: str) -> Counter[str]: ...

    def send(self, queue: str, print_: str, destination: str) -> Stop | None: ...


class DeadLetterDesk(Protocol):
    """See shared.messaging.dead_letters.DeadLetters, which is one."""

    def is_reachable(self) -> bool: ...

    def depths(self) -> dict[str, int | None]: ...

    def backlogs(self) -> dict[str, int | None]: ...

    def depth(self, queue: str) -> int: ...

    def each(self, queue: str, see: Callable[[Letter], T | None]) -> list[T]: ...

    def in_hand(self, wanted: Mapping[str, Collection[str]]) -> AbstractContextManager[HeldLetters]: ...

    def unsendable(self, letter: Letter, queue: str) -> Stop | None: ...

    def redrive(self, queue: str, count: int) -> Moved: ...

    def discard(self, queue: str, count: int) -> Moved: ...

    def discard_these(self, queue: str, prints: Collection[str]) -> Moved: ...


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
