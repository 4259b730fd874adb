"""The calls under way: who waits for which answer, and whether the question was already sent.

Owns: the one place where a call is settled, exactly once, by answer, loss or timeout.
Must not know: the broker. Everything here may be used from any thread.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from gateway.services import CallTimedOut, OutcomeUnknown, ReplyLost, ServiceUnavailable


@dataclass(kw_only=True, slots=True, eq=False)
class Call:
    """One question; ``answer`` is set at most once, by whoever takes the call out of the pending ones."""

    correlation_id: str
    routing_key: str
    body: bytes
    deadline_s: float
    identity: str | None = None
    traceparent: str | None = None
    sent: bool = False
    answer: Future[bytes] = field(default_factory=Future)

    def remaining_s(self) -> float:
        return self.deadline_s - time.monotonic()


class PendingCalls:
    """A bounded set of calls by correlation id. Leaving the set and getting an answer are one step."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Raises ServiceUnavailable when too many calls are under way already."""
        with self._lock:
            if len(self._calls) >= self._limit:
                raise ServiceUnavailable("Too many calls are under way")
            self._calls[call.correlation_id] = call

    def claim_for_sending(self, call: Call) -> bool:
        """False if nobody waits for the call any more: then it must not be sent."""
        with self._lock:
            if call.correlation_id not in self._calls:
                return False
            call.sent = True
            return True

    def resolve(self, correlation_id: str | None, body: bytes) -> None:
        """Hand an answer to its caller; one that comes too late is dropped."""
        call = self._take(correlation_id)
        if call is not None:
            call.answer.set_result(body)

    def refuse(self, correlation_id: str | None, message: str) -> None:
        """The broker could not deliver the call, so it had no effect."""
        call = self._take(correlation_id)
        if call is not None:
            call.answer.set_exception(ServiceUnavailable(message))

    def fail_all(self, message: str) -> None:
        """The connection is gone: what was not sent had no effect, what was sent may have had one."""
        with self._lock:
            lost, self._calls = list(self._calls.values()), {}
        for call in lost:
            call.answer.set_exception(ReplyLost(message) if call.sent else ServiceUnavailable(message))

    def expire(self, call: Call) -> OutcomeUnknown | ServiceUnavailable | None:
        """Give up on a call; None if an answer came in at the last moment."""
        if self._take(call.correlation_id) is None:
            return None
        if call.sent:
            return CallTimedOut("The service did not answer in time")
        return ServiceUnavailable("The call could not be sent in time")

    def discard(self, call: Call) -> None:
        """Forget a call that was never queued for sending."""
        self._take(call.correlation_id)

    def _take(self, correlation_id: str | None) -> Call | None:
        with self._lock:
            return self._calls.pop(correlation_id, None) if correlation_id is not None else None
