"""Carries attempts to the payment provider, many at once, and its answers back, in batches.

Owns: calling the provider outside any transaction, and never giving an answer up until it is saved.
Must not know: how attempts are stored or decided. A crash at any point is covered by leases: another worker takes the
attempt over and asks the provider first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import eventlet
from eventlet.event import Event
from eventlet.greenpool import GreenPool

from payment_service import figures
from payment_service.circuit import Circuit, CircuitOpen, GuardedProvider, NoAnswerInTime
from payment_service.domain import PSP_TIMEOUT, WorkKind
from payment_service.handlers import Result, Unanswered, Voided
from payment_service.provider import VOIDED, Approved, Charge, Declined, PaymentProvider, Processing
from payment_service.queries import Attempt
from payment_service.throttle import Place, Throttle
from shared import tracing
from shared.errors import ProviderUnavailable, TransientError
from shared.logs import get_logger
from shared.order_log import say_in_parts

log = get_logger(__name__)

CONCURRENT_CALLS = 256
RESULTS_AT_ONCE = 200
CALL_TIMEOUT_S = 10.0
LIMIT_S = 30.0
SET_ASIDE_S = 30.0
SAVE_DELAYS_S = (0.1, 0.5, 1, 2, 5)

Save = Callable[[Sequence[Result]], list[Attempt]]


class Charger:
    """``save`` records results in one transaction and returns follow-up work.

    A call that takes longer than ``call_timeout_s``, or that the open circuit does not let through, is unanswered; so
    is a charge that is not begun within ``limit_s`` (the process was frozen: its reservation may be gone).
    """

    def __init__(
        self,
        provider: PaymentProvider,
        save: Save,
        call_timeout_s: float = CALL_TIMEOUT_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._limit_s = limit_s
        self._circuit = Circuit()
        self._throttle = Throttle()
        self._provider = GuardedProvider(provider=provider, circuit=self._circuit, timeout_s=call_timeout_s)
        self._save = save
        self._calls = GreenPool(CONCURRENT_CALLS)
        self._results: list[Result] = []
        self._arrived = Event()
        self._saving = False
        self._stopping = False

    @property
    def circuit(self) -> str:
        """closed, open or half-open."""
        return self._circuit.state

    @property
    def open_calls(self) -> int:
        """How many attempts are being carried to the provider at this moment."""
        return int(self._calls.running())

    def submit(self, attempts: Sequence[Attempt] | None) -> None:
        """Begin calling; returns when all have begun (waits while CONCURRENT_CALLS are under way)."""
        for attempt in attempts or ():
            self._calls.spawn_n(self._call, attempt)

    def run(self) -> None:
        """Save results as they come, all that are there at once. Returns after :meth:`stop`."""
        while not self._stopping or self._results:
            if not self._results:
                self._arrived.wait()
                self._arrived = Event()
            batch, self._results = self._results[:RESULTS_AT_ONCE], self._results[RESULTS_AT_ONCE:]
            # crash point: charger.collected
            follow_up = self._save_for_certain(batch) if batch else []
            _report(batch)
            if follow_up:
                # Beside this thread: while the pool is full, answers go on being saved.
                eventlet.spawn_n(self.submit, follow_up)

    def stop(self) -> None:
        """Take no more results than those of calls under way; they get a few seconds."""
        with eventlet.Timeout(5, False):
            self._calls.waitall()
            while self._results or self._saving:
                eventlet.sleep(0.05)
        self._stopping = True
        self._wake_up()

    def _call(self, attempt: Attempt) -> None:
        # crash point: charger.leased
        with self._throttle.place() as place:
            answer = self._carry(attempt, place)
        # crash point: charger.called
        self._add_results([Result(attempt=attempt, answer=answer)])

    def _carry(self, attempt: Attempt, place: Place) -> Approved | Declined | Processing | Voided | Unanswered:
        began = time.monotonic()
        try:
            with tracing.calling(f"provider {attempt.kind.lower()}", attempt.order_id, attempt.correlation_id):
                answer = self._answer_to(attempt)
            place.answered()
        except CircuitOpen:
            # Said once when the circuit opened, not for each of those it keeps back.
            self._throttle.begin_anew()
            figures.KEPT_BACK.labels(attempt.kind).inc()
            return Unanswered()
        except TransientError as error:
            log.warning("provider_did_not_answer", attempt_id=str(attempt.id), kind=attempt.kind, error=str(error))
            if isinstance(error, NoAnswerInTime):
                place.answered_too_late()
            answer = Unanswered()
        except Exception as error:
            # Not knowing what happened is the one safe reading of an error nobody thought of.
            log.error("provider_call_failed", attempt_id=str(attempt.id), kind=attempt.kind, exc_info=error)
            answer = Unanswered()
        figures.LATENCY.labels(attempt.kind, type(answer).__name__.lower()).observe(time.monotonic() - began)
        return answer

    def _answer_to(self, attempt: Attempt) -> Approved | Declined | Processing | Voided | Unanswered:
        match attempt.kind:
            case WorkKind.CHARGE:
                return self._charge(attempt)
            case WorkKind.VOID:
                self._provider.void(str(attempt.charge_id))
                return Voided()
            case WorkKind.REFUND:
                return self._provider.refund(
                    charge_key=str(attempt.charge_id), refund_key=str(attempt.id), amount=attempt.amount
                )

    def _charge(self, attempt: Attempt) -> Approved | Declined | Processing:
        """After the first try the provider is asked before it is told again; the key is the same in any case."""
        key = str(attempt.id)
        known = self._provider.lookup(key) if attempt.tries else None
        if not attempt.may_charge and (known is None or known == VOIDED):
            # Too late or unwanted: the void also stops a frozen worker that would still call with this key.
            self._provider.void(key)
            return Declined(reason=PSP_TIMEOUT)
        if known is None and time.monotonic() - attempt.read_at_s > self._limit_s:
            raise ProviderUnavailable("not called: this process was frozen for too long")
        charge = Charge(key=key, amount=attempt.amount, currency=attempt.currency, token=attempt.token or "tok_success")
        return known or self._provider.charge(charge)

    def _save_for_certain(self, batch: list[Result]) -> list[Attempt]:
        """However long the database is away: the answer is in the provider's book, and must come into ours."""
        failures = 0
        self._saving = True
        try:
            while True:
                try:
                    return self._save(batch)
                except TransientError as error:
                    log.warning("results_not_saved", count=len(batch), error=str(error)[:300])
                except Exception as error:
                    log.error("results_not_saved", count=len(batch), exc_info=error)
                    return self._save_one_by_one(batch)
                if failures >= len(SAVE_DELAYS_S) and self._stopping:
                    return []
                eventlet.sleep(SAVE_DELAYS_S[min(failures, len(SAVE_DELAYS_S) - 1)])
                failures += 1
        finally:
            self._saving = False

    def _save_one_by_one(self, batch: list[Result]) -> list[Attempt]:
        """One bad result harms no other. It is tried again later: its attempt is leased by nobody else."""
        if len(batch) > 1:
            return [attempt for result in batch for attempt in self._save_for_certain([result])]
        eventlet.spawn_after(SET_ASIDE_S, self._add_results, batch)
        return []

    def _add_results(self, results: list[Result]) -> None:
        self._results += results
        self._wake_up()

    def _wake_up(self) -> None:
        if not self._arrived.ready():
            self._arrived.send()


def _report(results: Sequence[Result]) -> None:
    columns: dict[str, list[object]] = {
        "orders": [result.attempt.order_id for result in results],
        "kinds": [result.attempt.kind for result in results],
        "answers": [type(result.answer).__name__.lower() for result in results],
        "attempts": [result.attempt.tries + 1 for result in results],
    }
    say_in_parts(log, "provider_answered", columns)
