"""The oldest messages of a quorum queue, held by one consumer, and put back in their places if they are not taken away.

Owns: holding without changing the order. Must not know: what a message is for.

A quorum queue hands out first what was put back, in the order in which it was put back; only what one consumer held
when its channel closed is put back in the order of the queue. So everybody holds the same number, and never more:
whoever held fewer than somebody before would put them back behind the rest of those.
"""

from __future__ import annotations

import time
from typing import Any

from shared.messaging.brief_connection import BriefConnection
from shared.messaging.letters import Letter

SIZE = 100
QUIET_S = 1.0

Held = tuple[int, Letter]
"""Delivery tag and message."""


def hold_oldest(connection: BriefConnection, queue: str, there: int) -> list[Held]:
    """In order: SIZE of them, or ``there`` if there are fewer; fewer still if somebody else holds some.

    Those that are not acknowledged go back when the connection closes.
    """
    held: list[Held] = []

    def arrived(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
        held.append((method.delivery_tag, Letter(body=body, properties=properties)))

    wanted = min(SIZE, there)
    if not wanted:
        return held
    channel = connection.channel
    channel.basic_qos(prefetch_count=wanted)
    consumer = channel.basic_consume(queue, arrived, auto_ack=False)
    quiet_at = time.monotonic() + QUIET_S
    while len(held) < wanted and (left_s := quiet_at - time.monotonic()) > 0:
        connection.read(left_s)
    # Each acknowledgement would bring one more.
    channel.basic_cancel(consumer)
    return held
