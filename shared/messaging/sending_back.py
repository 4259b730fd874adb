"""One dead letter on its way back to a work queue, or why it cannot go there.

Owns: how it is published, and the reasons. Must not know: which one is sent, or what becomes of it in its old place.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pika.exceptions import NackError, ShortStringTooLong, UnroutableError, UnsupportedAMQPFieldException

from shared.messaging.letters import Letter, fresh_properties

UNREADABLE, UNKNOWN_ORIGIN, CANNOT_BE_SENT = "unreadable", "unknown_origin", "cannot_be_sent"
"""Codes of what lies in the letter itself: it stays a dead letter whatever is repaired."""
_IS_NO_MESSAGE = (ShortStringTooLong, UnsupportedAMQPFieldException, struct.error, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Why not all were moved; ``code`` is stable."""

    code: str
    detail: str


class CannotBeMoved(Exception):
    """``stop`` says why. The letter is where it was."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.stop = Stop(code=code, detail=detail[:300])


def refuse_unsendable(letter: Letter, destination: str, work_queues: Collection[str]) -> None:
    """Raises CannotBeMoved for what can be known before it is tried."""
    if letter.is_unreadable:
        raise CannotBeMoved(UNREADABLE, "its properties are lost, and with them which event it is")
    if destination not in work_queues:
        raise CannotBeMoved(UNKNOWN_ORIGIN, f"{destination[:100]!r} is no work queue")


def send_back(channel: Any, letter: Letter, destination: str, work_queues: Collection[str]) -> None:
    """Published to ``destination`` as if it were new, and confirmed; the channel must confirm. Raises CannotBeMoved."""
    refuse_unsendable(letter, destination, work_queues)
    try:
        channel.basic_publish("", destination, letter.body, fresh_properties(letter), mandatory=True)
    except UnroutableError as error:
        raise CannotBeMoved("unroutable", f"there is no queue {destination}") from error
    except NackError as error:
        raise CannotBeMoved("refused", f"{destination} takes no more messages") from error
    except _IS_NO_MESSAGE as error:
        raise CannotBeMoved(CANNOT_BE_SENT, f"{type(error).__name__}: {error}") from error
