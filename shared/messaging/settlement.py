"""What happens to an event that failed: tried again later, or set aside with its reason.

Owns: attempt counting, retry queues, what a dead letter's headers say.
Must not know: how messages are consumed.

Publish first, then acknowledge: a crash in between makes a duplicate, never a loss. When publishing fails, the
delivery is requeued, and the queue's delivery limit bounds how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import eventlet

from shared.choreography import dead_letter_queue, retry_exchange
from shared.errors import BrokerUnavailable, OrderSagaError, PermanentError, RetriesExhausted
from shared.logs import get_logger
from shared.messaging import figures
from shared.messaging.confirming_publisher import ConfirmingPublisher
from shared.messaging.delivery import Delivery
from shared.messaging.headers import (
    ATTEMPTS_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    FAILED_AT_HEADER,
    FAILURE_HEADERS,
    ORIGIN_EXCHANGE_HEADER,
    ORIGIN_QUEUE_HEADER,
    is_deaths_header,
)

log = get_logger(__name__)

REQUEUE_PAUSE_S = 1.0
_MAX_ERROR_LENGTH = 1000


class Settlement:
    """Decides between retry and dead letter for one service's events."""

    def __init__(self, service: str, publisher: ConfirmingPublisher, retry_delays_s: Sequence[int]) -> None:
        self._service = service
        self._publisher = publisher
        self._retry_delays_s = retry_delays_s

    def settle_failed(self, delivery: Delivery, error: Exception) -> None:
        """Permanent errors are dead-lettered at once, all others retried until the delays are used up."""
        if isinstance(error, PermanentError):
            self.dead_letter(delivery, error)
        elif delivery.attempts >= len(self._retry_delays_s):
            self.dead_letter(delivery, _exhausted(delivery, error))
        else:
            self._retry(delivery, error)

    def dead_letter(self, delivery: Delivery, error: OrderSagaError) -> None:
        log.error(
            "event_dead_lettered",
            **_ids(delivery),
            code=error.code,
            error=str(error)[:_MAX_ERROR_LENGTH],
        )
        if self._move(delivery, error, dead_letter_queue(delivery.queue), attempts=delivery.attempts):
            figures.DEAD_LETTERS.labels(_event(delivery), error.code).inc()

    def _retry(self, delivery: Delivery, error: Exception) -> None:
        delay_s = self._retry_delays_s[delivery.attempts]
        log.warning(
            "event_retried",
            **_ids(delivery),
            attempt=delivery.attempts + 1,
            delay_s=delay_s,
            error=f"{type(error).__name__}: {error}"[:_MAX_ERROR_LENGTH],
        )
        # Through the fanout: the routing key stays the work queue's name, which brings it back there.
        exchange = retry_exchange(self._service, delay_s)
        if self._move(delivery, error, delivery.queue, exchange=exchange, attempts=delivery.attempts + 1):
            figures.RETRIES.labels(_event(delivery), figures.code_of(error)).inc()

    def _move(
        self, delivery: Delivery, error: Exception, routing_key: str, *, exchange: str = "", attempts: int
    ) -> bool:
        """Whether it is there now, and no longer here."""
        try:
            self._publisher.publish(
                delivery.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=kept_properties(delivery.properties),
                headers=_headers(delivery, attempts, error),
            )
        except PermanentError:
            delivery.reject()
            return False
        except BrokerUnavailable as unavailable:
            log.warning("event_not_moved", queue=delivery.queue, to=routing_key, error=str(unavailable)[:300])
            _requeue_later(delivery)
            return False
        # crash point: settlement.published
        delivery.acknowledge()
        return True


def _event(delivery: Delivery) -> str:
    return delivery.queue.rpartition(".")[2]


def _ids(delivery: Delivery) -> dict[str, str]:
    """For the log, of a message that may not be readable at all."""
    said = {name: str(delivery.properties.get(name))[:64] for name in ("message_id", "correlation_id")}
    return {"queue": delivery.queue, **said}


def _requeue_later(delivery: Delivery) -> None:
    """At once it would come back at once, and use up the queue's delivery limit within a second."""
    eventlet.sleep(REQUEUE_PAUSE_S)
    delivery.requeue()


def kept_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but what the broker must not be told again (an old expiration would drop the message)."""
    dropped = {"application_headers", "expiration", "user_id", "delivery_mode"}
    return {**{k: v for k, v in properties.items() if k not in dropped}, "delivery_mode": 2}


def _headers(delivery: Delivery, attempts: int, error: Exception) -> dict[str, Any]:
    kept = {k: v for k, v in delivery.headers.items() if k not in FAILURE_HEADERS and not is_deaths_header(k)}
    return {
        **kept,
        ATTEMPTS_HEADER: attempts,
        ERROR_HEADER: f"{type(error).__name__}: {error}"[:_MAX_ERROR_LENGTH],
        ERROR_CODE_HEADER: figures.code_of(error),
        FAILED_AT_HEADER: datetime.now(UTC).isoformat(),
        ORIGIN_QUEUE_HEADER: delivery.queue,
        # A retried message arrives through the default exchange: its first origin is what an operator wants.
        ORIGIN_EXCHANGE_HEADER: delivery.headers.get(ORIGIN_EXCHANGE_HEADER) or delivery.exchange,
    }


def _exhausted(delivery: Delivery, error: Exception) -> RetriesExhausted:
    return RetriesExhausted(
        f"failed {delivery.attempts + 1} times, last with {type(error).__name__}: {error}",
        {"attempts": delivery.attempts + 1, "last_error": str(error)[:_MAX_ERROR_LENGTH]},
    )
