"""How many attempts meet the provider at once."""

from __future__ import annotations

from collections.abc import Callable

import eventlet
import pytest
from eventlet.event import Event

from payment_service.throttle import FIRST, LEAST, MOST, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


class Attempts:
    """So many at once, each under way until it is let go."""

    def __init__(self, throttle: Throttle, count: int) -> None:
        self.throttle = throttle
        self.running: list[Event] = []
        self.threads = [eventlet.spawn(self._run) for _ in range(count)]
        eventlet.sleep(0)

    def _run(self) -> None:
        with self.throttle.place():
            end = Event()
            self.running.append(end)
            end.wait()

    def end(self, count: int) -> None:
        for _ in range(count):
            self.running.pop(0).send()
        for _ in range(3):
            eventlet.sleep(0)


def one(throttle: Throttle, how: str) -> None:
    with throttle.place() as place:
        getattr(place, how)()


def times(count: int, run: Callable[[], None]) -> None:
    for _ in range(count):
        run()


def test_no_more_than_the_limit_run_and_the_others_wait_their_turn(throttle: Throttle) -> None:
    attempts = Attempts(throttle, FIRST + 10)
    assert len(attempts.running) == FIRST
    attempts.end(4)
    assert len(attempts.running) == FIRST
    attempts.end(FIRST)
    assert len(attempts.running) == 6


def test_an_answer_that_comes_too_late_halves_it_once_for_all_that_were_under_way(
    throttle: Throttle, clock: Clock
) -> None:
    with throttle.place() as first, throttle.place() as second:
        clock.now += 2
        first.answered_too_late()
        second.answered_too_late()
    assert throttle.limit == FIRST // 2
    clock.now += 1
    one(throttle, "answered_too_late")
    assert throttle.limit == FIRST // 4


def test_it_never_falls_below_the_least_nor_rises_above_the_most(throttle: Throttle, clock: Clock) -> None:
    for _ in range(10):
        clock.now += 1
        one(throttle, "answered_too_late")
    assert throttle.limit == LEAST
    fresh = Throttle(clock)
    times(10 * MOST, lambda: one(fresh, "answered"))
    assert fresh.limit == MOST


def test_after_an_outage_it_begins_with_few_and_doubles_with_each_round(throttle: Throttle) -> None:
    throttle.begin_anew()
    throttle.begin_anew()
    assert throttle.limit == LEAST
    for size in (LEAST, 2 * LEAST, 4 * LEAST):
        assert throttle.limit == size
        times(size, lambda: one(throttle, "answered"))


def test_once_it_was_too_much_it_grows_by_one_a_round(throttle: Throttle, clock: Clock) -> None:
    clock.now += 1
    one(throttle, "answered_too_late")
    limit = throttle.limit
    times(limit + 1, lambda: one(throttle, "answered"))
    assert throttle.limit == limit + 1


def test_who_is_ended_while_waiting_or_running_leaves_its_place_to_others(throttle: Throttle) -> None:
    attempts = Attempts(throttle, FIRST + 2)
    attempts.threads[-1].kill()
    attempts.threads[0].kill()
    eventlet.sleep(0)
    # Of those that ran one is gone, and of those that waited one was ended and the other has its turn.
    assert len(attempts.running) == FIRST + 1
    attempts.running.pop(0)
    attempts.end(FIRST)
    one(throttle, "answered")
    assert len(Attempts(throttle, FIRST).running) == FIRST
