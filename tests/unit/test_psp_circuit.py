"""When the circuit lets calls through, and what it learns from them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import eventlet
import pytest

from payment_service.circuit import (
    FAILURES_IN_A_ROW,
    GOOD_TRIALS,
    OPEN_FOR_S,
    TRIALS_AT_ONCE,
    Circuit,
    CircuitOpen,
    within,
)
from shared.errors import ProviderUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(clock)


def fail() -> None:
    raise ProviderUnavailable("503")


def succeed() -> str:
    return "fine"


def fails(circuit: Circuit, times: int = 1, how: Callable[[], object] = fail) -> None:
    for _ in range(times):
        with pytest.raises(ProviderUnavailable):
            circuit.call(how)


def opened(circuit: Circuit) -> Circuit:
    fails(circuit, FAILURES_IN_A_ROW)
    assert circuit.state == "open"
    return circuit


def test_failures_in_a_row_open_it(circuit: Circuit) -> None:
    fails(circuit, FAILURES_IN_A_ROW - 1)
    assert circuit.state == "closed"
    assert circuit.call(succeed) == "fine"
    fails(circuit, FAILURES_IN_A_ROW - 1)
    assert circuit.state == "closed"
    fails(circuit)
    assert circuit.state == "open"


def test_open_it_lets_nothing_through(circuit: Circuit, clock: Clock) -> None:
    opened(circuit)
    clock.now += OPEN_FOR_S - 0.01
    called: list[int] = []
    with pytest.raises(CircuitOpen):
        circuit.call(lambda: called.append(1))
    assert called == []


def test_good_trials_close_it(circuit: Circuit, clock: Clock) -> None:
    opened(circuit)
    clock.now += OPEN_FOR_S
    for _ in range(GOOD_TRIALS - 1):
        circuit.call(succeed)
        assert circuit.state == "half-open"
    circuit.call(succeed)
    assert circuit.state == "closed"
    # It has forgotten the failures of before.
    fails(circuit, FAILURES_IN_A_ROW - 1)
    assert circuit.state == "closed"


def test_a_bad_trial_opens_it_for_as_long_again(circuit: Circuit, clock: Clock) -> None:
    opened(circuit)
    clock.now += OPEN_FOR_S
    fails(circuit)
    assert circuit.state == "open"
    clock.now += OPEN_FOR_S / 2
    with pytest.raises(CircuitOpen):
        circuit.call(succeed)
    clock.now += OPEN_FOR_S / 2
    assert circuit.call(succeed) == "fine"


def test_only_a_few_try_at_the_same_time(circuit: Circuit, clock: Clock) -> None:
    opened(circuit)
    clock.now += OPEN_FOR_S
    answer = eventlet.event.Event()
    trials = [eventlet.spawn(circuit.call, answer.wait) for _ in range(TRIALS_AT_ONCE)]
    eventlet.sleep(0)
    with pytest.raises(CircuitOpen, match="half-open"):
        circuit.call(succeed)
    answer.send("fine")
    assert [trial.wait() for trial in trials] == ["fine"] * TRIALS_AT_ONCE
    assert circuit.state == "closed"


def test_a_trial_that_ends_in_a_mistake_of_ours_makes_room_for_another(circuit: Circuit, clock: Clock) -> None:
    opened(circuit)
    clock.now += OPEN_FOR_S
    for _ in range(2 * TRIALS_AT_ONCE):
        with pytest.raises(ZeroDivisionError):
            circuit.call(lambda: 1 / 0)
    assert circuit.state == "half-open"
    assert circuit.call(succeed) == "fine"


def test_calls_run_side_by_side(circuit: Circuit) -> None:
    """Given a call that waits for a later one, then both come to their end: no lock is held over a call."""
    answer = eventlet.event.Event()
    first = eventlet.spawn(circuit.call, answer.wait)
    eventlet.sleep(0)
    circuit.call(lambda: answer.send("from the second"))
    assert first.wait() == "from the second"


def test_what_began_before_a_change_says_nothing_after_it(circuit: Circuit, clock: Clock) -> None:
    """Given a call from before the outage that fails late, then the recovery is not spoilt by it."""
    answer = eventlet.event.Event()
    old = eventlet.spawn(circuit.call, answer.wait)
    eventlet.sleep(0)
    opened(circuit)
    clock.now += OPEN_FOR_S
    circuit.call(succeed)
    answer.send_exception(ProviderUnavailable("late"))
    with pytest.raises(ProviderUnavailable):
        old.wait()
    assert circuit.state == "half-open"
    for _ in range(GOOD_TRIALS - 1):
        circuit.call(succeed)
    assert circuit.state == "closed"


def test_each_change_is_logged(circuit: Circuit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str, str]] = []

    def write(event: str, *, before: str, after: str, failures: int) -> None:
        written.append((event, before, after))

    monkeypatch.setattr("payment_service.circuit.log", SimpleNamespace(warning=write, info=write))
    opened(circuit)
    clock.now += OPEN_FOR_S
    for _ in range(GOOD_TRIALS):
        circuit.call(succeed)
    changes = [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]
    assert written == [("provider_circuit_changed", *change) for change in changes]


def test_a_time_limit_becomes_an_error_that_everyone_handles() -> None:
    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.01 s"):
        within(0.01, lambda: eventlet.sleep(5))
    assert within(5, succeed) == "fine"


def test_somebody_elses_time_limit_is_left_alone() -> None:
    with pytest.raises(eventlet.Timeout) as caught, eventlet.Timeout(0.01) as outer:
        within(5, lambda: eventlet.sleep(10))
    assert caught.value is outer
