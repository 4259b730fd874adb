"""The oldest messages of a quorum queue, held by one consumer, and put back in their places if they are not taken away.

Owns: holding without changing the order. Must not know: what a message is for.

A quorum queue hands out first what was put back, in the order in which it was put back; only what one consumer held
when its channel closed is put back in the order of the queue. So everybody holds the same number, and never more:
whoever held fewer than somebody before would put them back behind the rest of those.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from shared.messaging.brief_connection import BriefConnection
from shared.messaging.letters import Letter

SIZE = 2_000
QUIET_S = 1.0
LONGEST_S = 8.0

T = TypeVar("T")


def hold_oldest(
    connection: BriefConnection, queue: str, there: int, read: Callable[[Letter], T]
) -> list[tuple[int, T]]:
    """Delivery tag and what ``read`` makes of each, in order: SIZE of them, or ``there`` if there are fewer; fewer
    still if somebody else holds some. Only what ``read`` keeps is kept in memory.

    Those that are not acknowledged go back when the connection closes.
    """
    held: list[tuple[int, T]] = []

    def arrived(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
        held.append((method.delivery_tag, read(Letter(body=body, properties=properties))))

    wanted = min(SIZE, there)
    if not wanted:
        return held
    channel = connection.channel
    channel.basic_qos(prefetch_count=wanted)
    consumer = channel.basic_consume(queue, arrived, auto_ack=False)
    _let_arrive(connection, held, wanted)
    # Each acknowledgement would bring one more.
    channel.basic_cancel(consumer)
    return held


def _let_arrive(connection: BriefConnection, held: list[tuple[int, T]], wanted: int) -> None:
    """Until all are there, or none came for a while, or it takes too long."""
    began = quiet_since = time.monotonic()
    while len(held) < wanted:
        left_s = min(quiet_since + QUIET_S, began + LONGEST_S) - time.monotonic()
        if left_s <= 0:
            return
        before = len(held)
        connection.read(left_s)
        if len(held) > before:
            quiet_since = time.monotonic()
            connection.go_on()
