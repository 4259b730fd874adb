"""What is counted of events, requests and timers in a service process.

Owns: the figures' names. Must not know: when they change. ``event`` is an event's type, ``code`` an error's code.
"""

from __future__ import annotations

from shared.errors import OrderSagaError
from shared.metrics import SIZES, counter, histogram

APPLIED = counter(
    "ordersaga_events_applied", "Events whose handler succeeded, those applied before included", ("event",)
)
UPCAST = counter(
    "ordersaga_events_upcast", "Events of an older major version, brought to the one read here", ("event", "version")
)
BATCH_SIZE = histogram("ordersaga_event_batch_events", "Events handled together", ("event",), buckets=SIZES)
BATCH_SECONDS = histogram(
    "ordersaga_event_batch_seconds", "From a batch at hand until all of it is settled", ("event",)
)
HANDLER_ERRORS = counter("ordersaga_event_handler_errors", "Calls of an event's handler that failed", ("event", "code"))
RETRIES = counter("ordersaga_events_retried", "Events sent to a retry queue", ("event", "code"))
DEAD_LETTERS = counter("ordersaga_events_dead_lettered", "Events set aside as dead letters", ("event", "code"))

REQUESTS = counter("ordersaga_rpc_requests", "Requests answered, by what they were answered", ("method", "outcome"))
REQUEST_SECONDS = histogram("ordersaga_rpc_request_seconds", "From a request's arrival to its answer", ("method",))

TIMER_SECONDS = histogram("ordersaga_timer_run_seconds", "One run of a timer's job", ("timer",))
TIMER_ERRORS = counter("ordersaga_timer_errors", "Runs of a timer's job that failed", ("timer", "code"))

BROKER_LOSSES = counter("ordersaga_broker_connection_losses", "Times the connection for consuming was lost")

UNEXPECTED = "unexpected_error"


def code_of(error: BaseException | None) -> str:
    """Other libraries' errors have a ``code`` of their own, which may be anything."""
    return error.code if isinstance(error, OrderSagaError) else UNEXPECTED
