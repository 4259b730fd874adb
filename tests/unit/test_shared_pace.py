"""When waiting for company pays, and when nobody should wait."""

from __future__ import annotations

import pytest

from shared.pace import BUSY_PER_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(0.1, clock)


def _arrive(pace: Pace, clock: Clock, per_s: float, every_s: float, batches: int = 20) -> None:
    for _ in range(batches):
        clock.now_s += every_s
        pace.took(round(per_s * every_s))


def test_the_first_batch_goes_at_once(pace: Pace) -> None:
    assert pace.pause_s() == 0


def test_one_order_after_the_other_waits_for_nobody(pace: Pace, clock: Clock) -> None:
    _arrive(pace, clock, per_s=50, every_s=0.02)

    assert pace.pause_s() == 0


def test_under_load_the_whole_time_is_kept_from_batch_to_batch(pace: Pace, clock: Clock) -> None:
    _arrive(pace, clock, per_s=2 * BUSY_PER_S, every_s=0.1)

    assert pace.pause_s() == pytest.approx(0.1)
    clock.now_s += 0.04
    assert pace.pause_s() == pytest.approx(0.06)
    clock.now_s += 1
    assert pace.pause_s() == 0


def test_with_half_the_load_it_is_half_the_time(pace: Pace, clock: Clock) -> None:
    _arrive(pace, clock, per_s=BUSY_PER_S / 2, every_s=0.1)

    assert pace.pause_s() == pytest.approx(0.05, rel=0.01)


def test_after_a_quiet_while_nobody_waits_for_a_load_that_is_gone(pace: Pace, clock: Clock) -> None:
    _arrive(pace, clock, per_s=2 * BUSY_PER_S, every_s=0.1)
    _arrive(pace, clock, per_s=1, every_s=1, batches=8)

    assert pace.pause_s() == 0
