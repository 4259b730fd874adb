"""Deliveries of a process that ends: what it has not begun goes to somebody else at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shared.messaging.arrivals import Arrivals
from shared.messaging.delivery import Delivery


class Channel:
    """Remembers what was given back."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.connection: Any = object() if is_open else None
        self.given_back: list[int] = []

    def basic_reject(self, tag: int, *, requeue: bool) -> None:
        assert requeue
        self.given_back.append(tag)

    def delivery(self, tag: int) -> Delivery:
        return Delivery(message=SimpleNamespace(channel=self, delivery_tag=tag), queue="q")


def test_what_still_waits_goes_back_when_the_lane_closes() -> None:
    channel, arrivals = Channel(), Arrivals()
    for tag in (1, 2, 3):
        arrivals.add(channel.delivery(tag))
    taken = arrivals.take(1)
    assert taken is not None
    assert [delivery.message.delivery_tag for delivery in taken] == [1]

    arrivals.close()

    assert channel.given_back == [2, 3]
    assert arrivals.take(1) is None


def test_what_comes_after_that_goes_back_too() -> None:
    channel, arrivals = Channel(), Arrivals()
    arrivals.close()
    arrivals.add(channel.delivery(7))
    assert channel.given_back == [7]


def test_a_lost_connection_has_given_everything_back_already() -> None:
    channel, arrivals = Channel(is_open=False), Arrivals()
    arrivals.add(channel.delivery(1))
    arrivals.close()
    assert channel.given_back == []
