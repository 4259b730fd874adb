"""Timers when the clock is set: they go on, with one tick for whatever was missed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shared.timer
from shared.timer import EVERY_MINUTE, EVERY_SECOND, Timer

NOON_S = 1_800_000_000.0
HOUR_S = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now_s = NOON_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shared.timer, "time", clock)
    return clock


def pauses(schedule: str) -> Iterator[float]:
    return Timer(schedule)._get_next_interval()


@pytest.mark.parametrize(("schedule", "period_s"), [(EVERY_SECOND, 1.0), (EVERY_MINUTE, 60.0)])
def test_the_next_tick_is_a_period_away_at_most(clock: Clock, schedule: str, period_s: float) -> None:
    pause = pauses(schedule)
    clock.now_s = NOON_S + 0.25
    assert next(pause) == pytest.approx(period_s - 0.25)
    clock.now_s = NOON_S + period_s
    assert next(pause) == pytest.approx(period_s)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, 24 * HOUR_S, -24 * HOUR_S])
@pytest.mark.parametrize(("schedule", "period_s"), [(EVERY_SECOND, 1.0), (EVERY_MINUTE, 60.0)])
def test_a_clock_that_is_set_neither_silences_a_timer_nor_has_it_catch_up(
    clock: Clock, jump_s: float, schedule: str, period_s: float
) -> None:
    pause = pauses(schedule)
    next(pause)
    clock.now_s += jump_s
    for _ in range(3):
        assert next(pause) == pytest.approx(period_s)
        clock.now_s += period_s
