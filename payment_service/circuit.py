"""When the provider is asked, and when it is left alone: a circuit breaker and a limit for every call.

Owns: which calls are let through, what counts as a failure, how long a call may take. Must not know: attempts.

pybreaker decides when to open and to close; it is told outcomes only. Its own ``call`` would hold a lock while the
provider is asked, one call at a time. Only ProviderUnavailable is a failure: a decline is a good answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import eventlet
import pybreaker

from payment_service import figures
from payment_service.provider import Charge, ChargeOutcome, PaymentProvider
from shared.errors import ProviderUnavailable
from shared.logs import get_logger

log = get_logger(__name__)

FAILURES_IN_A_ROW = 5
OPEN_FOR_S = 5.0
TRIALS_AT_ONCE = 3
GOOD_TRIALS = 2

T = TypeVar("T")


class CircuitOpen(ProviderUnavailable):
    """The provider was not called."""


class NoAnswerInTime(ProviderUnavailable):
    """It was called, and what it did is not known."""


class Circuit:
    """Closed: every call goes through. Open: none does. Half-open: a few try whether the provider is back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened_at = 0.0
        self._trials = 0
        # Counts changes of state: what a call learned under an earlier state says nothing about this one.
        self._period = 0
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_IN_A_ROW,
            # When to try again is decided in _begin: by a clock that nobody sets.
            reset_timeout=OPEN_FOR_S,
            success_threshold=GOOD_TRIALS,
            listeners=[_Listener(self._changed)],
            throw_new_error_on_trip=False,
            name="psp",
        )
        figures.circuit_is(self.state)

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return self._breaker.current_state

    def call(self, operation: Callable[[], T]) -> T:
        """Raises CircuitOpen without calling, or what ``operation`` raises."""
        period = self._begin()
        try:
            answer = operation()
        except ProviderUnavailable as error:
            self._end(period, error)
            raise
        except BaseException:
            # Neither good nor bad: our own mistake, or somebody ended this thread.
            self._end_trial(period)
            raise
        self._end(period, None)
        return answer

    def _begin(self) -> int:
        if self.state == pybreaker.STATE_OPEN:
            if self._clock() - self._opened_at < OPEN_FOR_S:
                raise CircuitOpen("the circuit is open: not called")
            self._breaker.half_open()
        if self.state == pybreaker.STATE_HALF_OPEN:
            if self._trials >= TRIALS_AT_ONCE:
                raise CircuitOpen("the circuit is half-open: others try already")
            self._trials += 1
        return self._period

    def _end(self, period: int, error: ProviderUnavailable | None) -> None:
        self._end_trial(period)
        if period == self._period:
            with suppress(ProviderUnavailable):
                self._breaker.call(_outcome, error)

    def _end_trial(self, period: int) -> None:
        if period == self._period and self.state == pybreaker.STATE_HALF_OPEN:
            self._trials -= 1

    def _changed(self, before: str, after: str) -> None:
        self._period += 1
        self._trials = 0
        self._opened_at = self._clock()
        figures.circuit_is(after)
        write = log.warning if after == pybreaker.STATE_OPEN else log.info
        write("provider_circuit_changed", before=before, after=after, failures=self._breaker.fail_counter)


def _outcome(error: ProviderUnavailable | None) -> None:
    if error is not None:
        raise error


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, changed: Callable[[str, str], None]) -> None:
        self._changed = changed

    def state_change(
        self,
        _cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._changed(old_state.name if old_state else "", new_state.name)


@dataclass(frozen=True, kw_only=True)
class GuardedProvider:
    """A PaymentProvider each call of which goes through the circuit and has ``timeout_s`` to come back."""

    provider: PaymentProvider
    circuit: Circuit
    timeout_s: float

    def charge(self, charge: Charge) -> ChargeOutcome:
        return self._call(lambda: self.provider.charge(charge))

    def lookup(self, key: str) -> ChargeOutcome | None:
        return self._call(lambda: self.provider.lookup(key))

    def void(self, key: str) -> None:
        self._call(lambda: self.provider.void(key))

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        return self._call(lambda: self.provider.refund(charge_key=charge_key, refund_key=refund_key, amount=amount))

    def _call(self, operation: Callable[[], T]) -> T:
        return self.circuit.call(lambda: within(self.timeout_s, operation))


def within(timeout_s: float, operation: Callable[[], T]) -> T:
    """What ``operation`` returns. Raises NoAnswerInTime when it takes longer."""
    timeout = eventlet.Timeout(timeout_s)
    try:
        return operation()
    except eventlet.Timeout as fired:
        if fired is not timeout:
            raise
        # Timeout is no Exception: it would get past every handler that knows what to do without an answer.
        raise NoAnswerInTime(f"no answer within {timeout_s:g} s") from None
    finally:
        timeout.cancel()
