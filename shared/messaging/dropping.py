"""Dead letters taken away for good, so that none of them comes back.

Owns: how many acknowledgements one channel may send. Must not know: who asks, or why.

RabbitMQ's channel hands an acknowledgement to a quorum queue without waiting. Once 32 are on their way it keeps the
next ones to itself until some have arrived, and if the channel is closed meanwhile it forgets them: those letters lie
in the queue again, although they were acknowledged (seen: 40 dropped, 7 of them back). So a channel sends fewer, and
then makes room for another. One acknowledgement may be for all up to a certain letter: the oldest are quick to go.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice, takewhile
from typing import Protocol

from shared.messaging.brief_connection import BriefConnection
from shared.messaging.fingerprints import fingerprint
from shared.messaging.letters import Letter
from shared.messaging.window import hold_oldest

AT_ONCE = 24
BACK_WITHIN_S = 1.0
LOOK_AGAIN_S = 0.1

Held = tuple[int, Letter | None]
"""Delivery tag and a letter that is to go, or None: that one stays."""


class Selection(Protocol):
    """Which letters are to go."""

    def look(self) -> Callable[[Letter], bool]:
        """Asked once for each letter of one look, in order: is it one of those that are still to go?"""
        ...

    def gone(self, letter: Letter) -> None: ...

    def is_done(self) -> bool: ...


class Oldest:
    """So many, whichever they are."""

    def __init__(self, count: int) -> None:
        self._left = count

    def look(self) -> Callable[[Letter], bool]:
        room = iter(range(self._left))
        return lambda _letter: next(room, None) is not None

    def gone(self, letter: Letter) -> None:
        self._left -= 1

    def is_done(self) -> bool:
        return self._left <= 0


class These:
    """Those with these fingerprints, one each."""

    def __init__(self, prints: Collection[str]) -> None:
        self.left = Counter(prints)

    def look(self) -> Callable[[Letter], bool]:
        left = Counter(self.left)

        def is_meant(letter: Letter) -> bool:
            print_ = fingerprint(letter)
            left[print_] -= 1
            return left[print_] >= 0

        return is_meant

    def gone(self, letter: Letter) -> None:
        self.left[fingerprint(letter)] -= 1

    def is_done(self) -> bool:
        return self.left.total() <= 0


def only(is_meant: Callable[[Letter], bool]) -> Callable[[Letter], Letter | None]:
    """Keeps those that are meant in memory, and of the others only that they are there."""

    def keep(letter: Letter) -> Letter | None:
        return letter if is_meant(letter) else None

    return keep


def drop(
    connection: BriefConnection, queue: str, depth: Callable[[], int], selection: Selection, *, limit_s: float
) -> Iterator[Letter]:
    """Each letter that is gone, until all are, or none of them is there, or it would take longer than ``limit_s``.

    ``queue`` is the one of the dead letters itself.
    """
    enough_at = time.monotonic() + limit_s
    missing_since = None
    while not selection.is_done() and time.monotonic() < enough_at:
        connection.go_on()
        held = hold_oldest(connection, queue, depth(), only(selection.look()))
        if not any(letter for _, letter in held):
            # What the channel before held is back in its place a moment after it was closed.
            missing_since = missing_since or time.monotonic()
            if time.monotonic() - missing_since >= BACK_WITHIN_S:
                return
            connection.renew_channel()
            connection.read(LOOK_AGAIN_S)
            continue
        missing_since = None
        for tag, letters, is_for_all_before in islice(_acknowledgements(held), AT_ONCE):
            connection.channel.basic_ack(tag, multiple=is_for_all_before)
            for letter in letters:
                selection.gone(letter)
                yield letter
        # Closing it is answered when all that it was told has been passed on.
        connection.renew_channel()


def _acknowledgements(held: list[Held]) -> Iterator[tuple[int, list[Letter], bool]]:
    """Tag, whom it is for, and whether it is for all up to that tag: the first ones together, the others one by one."""
    first = [letter for _, letter in takewhile(lambda one: one[1] is not None, held) if letter is not None]
    if first:
        yield held[len(first) - 1][0], first, True
    for tag, letter in held[len(first) :]:
        if letter is not None:
            yield tag, [letter], False
