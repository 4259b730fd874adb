"""What Prometheus is told of payments and of the provider.

Owns: the figures' names, the statements of those that stand in the tables, how a failure rate is reckoned.
Must not know: when anything is saved, or how the provider is called.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from sqlalchemy import text

from shared.metrics import counter, gauge, histogram
from shared.table_figures import COUNTED_TO, TableFigure

RATE_WINDOW_S = 300.0
_SLICE_S = 10.0
_LATENCIES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

LATENCY = histogram(
    "payment_attempt_latency_seconds",
    "One call of the provider for an attempt (CHARGE, VOID, REFUND), by what it answered",
    ("kind", "outcome"),
    buckets=_LATENCIES_S,
)
KEPT_BACK = counter("ordersaga_psp_calls_kept_back", "Calls that the open circuit did not let through", ("kind",))
ATTEMPTS_ENDED = counter("ordersaga_payment_attempts_ended", "Attempts that have an outcome", ("kind", "status"))
_OUTCOMES = ("SUCCEEDED", "FAILED", "TIMED_OUT")
# A series that begins with its first event does not show that one as an increase.
for _outcome in _OUTCOMES:
    ATTEMPTS_ENDED.labels("CHARGE", _outcome)
_CIRCUIT = gauge("ordersaga_psp_circuit_state", "1 for the state that the circuit to the provider is in", ("state",))
_STATES = ("closed", "open", "half-open")

_OPEN = text(f"""
select kind, status, count(*)
from (select kind, status from payment_attempts where ended_at is null order by started_at limit {COUNTED_TO}) as open
group by kind, status
""")  # noqa: S608
_OLDEST = text("""
select coalesce((select extract(epoch from greatest(now() - started_at, interval '0')) from payment_attempts
                 where ended_at is null order by started_at limit 1), 0)
""")

FIGURES = (
    TableFigure(
        name="ordersaga_payment_attempts_open",
        words=f"Attempts without an outcome yet (counted to {COUNTED_TO})",
        statement=_OPEN,
        labels=("kind", "status"),
    ),
    TableFigure(
        name="ordersaga_payment_attempts_oldest_age_seconds",
        words="Age of the oldest attempt without an outcome; 0 when there is none",
        statement=_OLDEST,
    ),
)


class FailureRate:
    """The share of charges that failed among those that ended within the last RATE_WINDOW_S, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slices: deque[tuple[float, int, int]] = deque()

    def ended(self, charges: int, failed: int) -> None:
        now = self._clock()
        if self._slices and now - self._slices[-1][0] < _SLICE_S:
            began, earlier, earlier_failed = self._slices.pop()
            self._slices.append((began, earlier + charges, earlier_failed + failed))
        else:
            self._forget(now)
            self._slices.append((now, charges, failed))

    def value(self) -> float:
        """0 while nothing ended."""
        self._forget(self._clock())
        # A copy: it may be asked from another thread.
        slices = tuple(self._slices)
        ended = sum(charges for _, charges, _ in slices)
        return sum(failed for _, _, failed in slices) / ended if ended else 0.0

    def _forget(self, now: float) -> None:
        while self._slices and now - self._slices[0][0] > RATE_WINDOW_S:
            self._slices.popleft()


_rate = FailureRate()
gauge(
    "payment_failure_rate",
    "Share of charges that were declined or timed out, of those that ended within five minutes; of this process",
).set_function(_rate.value)


def count_ended(attempts: Iterable[tuple[str, str]]) -> None:
    """``attempts``: kind and new status of each that was saved; those that go on do not count."""
    ended = Counter((kind, status) for kind, status in attempts if status in _OUTCOMES)
    for (kind, status), times in ended.items():
        ATTEMPTS_ENDED.labels(kind, status).inc(times)
    charges = {status: times for (kind, status), times in ended.items() if kind == "CHARGE"}
    if charges:
        _rate.ended(sum(charges.values()), sum(charges.values()) - charges.get("SUCCEEDED", 0))


def circuit_is(state: str) -> None:
    """closed, open or half-open."""
    for known in _STATES:
        _CIRCUIT.labels(known).set(known == state)
