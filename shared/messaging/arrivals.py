"""Deliveries on their way from the message loop to the lane that works on them.

Owns: waiting for them without polling, dropping those of a lost connection. Must not know: what a lane does.
"""

from __future__ import annotations

from collections import deque

import eventlet
from eventlet.event import Event

from shared.messaging.delivery import Delivery
from shared.pace import Pace


class Arrivals:
    """One lane's queue: filled by the loop's thread, emptied by the lane's. Prefetch bounds its length.

    ``pace``: how long a batch waits for more before it is handed out; None where each delivery goes on its own.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace
        self._waiting: deque[Delivery] = deque()
        self._wake_up = Event()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def add(self, delivery: Delivery) -> None:
        if self._is_closed:
            _give_back(delivery)
            return
        self._waiting.append(delivery)
        self._wake()

    def close(self) -> None:
        """Hand out nothing more. What still waits, or comes after all, goes back to the broker.

        At once, and not with the connection: that one stays open until what is in hand is done, and whoever waits for
        an answer meanwhile would wait for nothing, though another replica could give it.
        """
        self._is_closed = True
        while self._waiting:
            _give_back(self._waiting.popleft())
        self._wake()

    def take(self, limit: int) -> list[Delivery] | None:
        """What has arrived, up to ``limit``; waits for the first. None once closed.

        Those of a lost connection are skipped: the broker delivers them again.
        """
        while not self._is_closed:
            self._gather(limit)
            batch: list[Delivery] = []
            while self._waiting and len(batch) < limit:
                delivery = self._waiting.popleft()
                if delivery.is_live:
                    batch.append(delivery)
            if batch:
                self._count(batch)
                return batch
            self._wake_up.wait()
            self._wake_up = Event()
        return None

    def _gather(self, limit: int) -> None:
        if self._pace and self._waiting and len(self._waiting) < limit and (pause_s := self._pace.pause_s()):
            eventlet.sleep(pause_s)

    def _count(self, batch: list[Delivery]) -> None:
        if self._pace:
            self._pace.took(len(batch))

    def _wake(self) -> None:
        if not self._wake_up.ready():
            self._wake_up.send()


def _give_back(delivery: Delivery) -> None:
    if delivery.is_live:
        delivery.requeue()
