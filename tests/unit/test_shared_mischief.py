"""What each kind of trouble does to a batch, with deliveries made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import eventlet
import pytest

from shared.chaos.memory import ChaosMemory
from shared.chaos.switches import Switch
from shared.errors import BrokerUnavailable
from shared.messaging.delivery import Delivery
from shared.messaging.headers import CHAOS_COPY_HEADER
from shared.messaging.mischief import Mischief
from shared.messaging.settlement import Settlement

SERVICE, QUEUE = "inventory_service", "inventory_service.ORDER_CREATED"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Pairs = list[tuple[Delivery, Any]]


class Channel:
    connection: Any = object()

    def __init__(self) -> None:
        self.settled: list[tuple[str, int]] = []

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.settled.append(("ack", tag))

    def basic_reject(self, tag: int, requeue: bool) -> None:
        self.settled.append(("requeue" if requeue else "reject", tag))


class Publisher:
    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def publish(self, body: bytes | str, **message: Any) -> None:
        if self.error:
            raise self.error
        self.published.append({"body": body, **message})


class Dead(BaseException):
    """In place of SIGKILL."""


def die() -> None:
    raise Dead


class World:
    """A Mischief with everything around it; ``chances`` come in turn."""

    def __init__(self, *chances: float) -> None:
        self.channel, self.publisher, self.memory = Channel(), Publisher(), ChaosMemory()
        self.is_ending = False
        numbers: Iterator[float] = iter(chances or (0.5,) * 99)
        settlement: Any = Settlement(SERVICE, self.publisher, (1, 5))  # type: ignore[arg-type]
        self.mischief = Mischief(
            self.memory,
            settlement,
            self.publisher,  # type: ignore[arg-type]
            targets=(SERVICE, QUEUE),
            is_ending=lambda: self.is_ending,
            chance=lambda: next(numbers),
            die=die,
        )

    def on(self, kind: str, amount: float = 1.0, target: str = QUEUE) -> World:
        switch = Switch(
            id=UUID(int=1),
            kind=kind,
            target=target,
            amount=amount,
            note="",
            set_by="x",
            set_at=NOW,
            until=NOW,
            remaining_s=60,
        )
        self.memory.learn([*self.memory.switches(), switch])
        return self

    def batch(self, *tags: int, redelivered: bool = False, **headers: Any) -> Pairs:
        return [(self._delivery(tag, redelivered, headers), tag) for tag in tags]

    def _delivery(self, tag: int, redelivered: bool, headers: dict[str, Any]) -> Delivery:
        message = SimpleNamespace(
            body=b"{}",
            properties={"message_id": f"m{tag}", "application_headers": headers},
            delivery_info={"exchange": "order_service.events", "redelivered": redelivered},
            delivery_tag=tag,
            channel=self.channel,
        )
        return Delivery(message=message, queue=QUEUE)


def test_without_a_switch_that_is_meant_for_it_a_batch_is_left_alone() -> None:
    world = World().on("consumer_error", target="inventory_service.ORDER_CANCELLED").on("relay_pause", target=SERVICE)
    batch = world.batch(1, 2)
    assert world.mischief.before(batch) == batch
    assert world.mischief.keeps_acknowledgement(batch) is False
    assert (world.channel.settled, world.publisher.published) == ([], [])


@pytest.mark.parametrize("target", [SERVICE, QUEUE])
def test_a_share_of_the_events_fails_and_the_others_are_handled(target: str) -> None:
    world = World(0.4, 0.6, 0.4).on("consumer_error", 0.5, target)
    left = world.mischief.before(world.batch(1, 2, 3))
    assert [tag for _, tag in left] == [2]
    assert world.channel.settled == [("ack", 1), ("ack", 3)]
    assert [m["exchange"] for m in world.publisher.published] == ["inventory_service.retry.1s"] * 2
    assert world.publisher.published[0]["headers"]["x-error-code"] == "chaos_error"


def test_a_refused_event_is_a_dead_letter() -> None:
    world = World().on("consumer_refusal")
    assert world.mischief.before(world.batch(1)) == []
    (letter,) = world.publisher.published
    assert (letter["routing_key"], letter["headers"]["x-error-code"]) == (f"{QUEUE}.dead", "chaos_refusal")


def test_a_copy_goes_into_the_same_queue_and_is_not_copied_again() -> None:
    world = World().on("consumer_duplicate")
    assert len(world.mischief.before(world.batch(1, schema_version=1))) == 1
    (copy,) = world.publisher.published
    assert (copy["exchange"], copy["routing_key"], copy["properties"]["message_id"]) == ("", QUEUE, "m1")
    assert copy["headers"] == {"schema_version": 1, CHAOS_COPY_HEADER: 1}
    world.mischief.before(world.batch(2, **copy["headers"]))
    assert len(world.publisher.published) == 1


def test_a_copy_that_cannot_be_made_harms_nothing() -> None:
    world = World().on("consumer_duplicate")
    world.publisher.error = BrokerUnavailable("gone")
    assert len(world.mischief.before(world.batch(1))) == 1


def test_a_batch_that_is_not_acknowledged_goes_back_once() -> None:
    world = World().on("consumer_drop_ack")
    batch = world.batch(1, 2) + world.batch(3, redelivered=True)
    assert world.mischief.keeps_acknowledgement(batch) is True
    assert world.channel.settled == [("requeue", 1), ("requeue", 2), ("ack", 3)]


@pytest.mark.parametrize(
    ("kind", "go"),
    [
        ("consumer_crash_before", lambda m, batch: m.before(batch)),
        ("consumer_crash_after", lambda m, batch: m.keeps_acknowledgement(batch)),
    ],
)
def test_it_dies_with_new_events_in_hand_only(kind: str, go: Callable[[Mischief, Pairs], Any]) -> None:
    """Otherwise a share of 1 would have the same events kill one process after the other, until they are poison."""
    world = World().on(kind)
    with pytest.raises(Dead):
        go(world.mischief, world.batch(1, 2))
    go(world.mischief, world.batch(1) + world.batch(2, redelivered=True))
    assert world.channel.settled == []


class TestDelay:
    def wait(self, world: World) -> Any:
        thread = eventlet.spawn(world.mischief.before, world.batch(1))
        eventlet.sleep(0)
        assert not thread.dead
        return thread

    def test_ends_when_its_time_is_over(self) -> None:
        world = World().on("consumer_delay", 30)
        assert len(world.mischief.before(world.batch(1))) == 1

    def test_ends_with_its_switch(self) -> None:
        world = World().on("consumer_delay", 60_000)
        thread = self.wait(world)
        world.memory.learn([])
        with eventlet.Timeout(10):
            assert len(thread.wait()) == 1

    def test_ends_with_the_process(self) -> None:
        world = World().on("consumer_delay", 60_000)
        thread = self.wait(world)
        world.is_ending = True
        with eventlet.Timeout(10):
            assert len(thread.wait()) == 1
