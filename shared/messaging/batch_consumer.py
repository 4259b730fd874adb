"""The entrypoint for events: a batch at a time, each event settled on its own when the batch fails.

Owns: from deliveries to typed events to the service's method to acknowledgements.
Must not know: what the method does. It must commit before it returns, because that is when events are acknowledged.
"""

from __future__ import annotations

import time
from typing import Any

import eventlet
from eventlet.event import Event
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import Entrypoint

from shared import tracing
from shared.choreography import work_queue
from shared.envelope import Received
from shared.errors import DatabaseUnavailable, InvalidPayload, OrderSagaError, PermanentError, TransientError
from shared.event_schema import EventSchema
from shared.logs import get_logger
from shared.messaging import figures
from shared.messaging.arrivals import Arrivals
from shared.messaging.chaos_watch import ChaosWatch
from shared.messaging.delivery import Delivery
from shared.messaging.loading import load_event
from shared.messaging.message_loop import MessageLoop
from shared.messaging.mischief import Mischief
from shared.messaging.settlement import Settlement
from shared.order_log import as_texts, ids_of, say_in_parts
from shared.pace import Pace

log = get_logger(__name__)

BATCH_SIZE = 200
# The relays gather for longer, so what arrives comes in bursts; this joins the parts of a burst.
GATHER_S = 0.02
DATABASE_DELAYS_S = (0.2, 0.5, 1, 2, 5)

Pair = tuple[Delivery, Received[Any]]


class EventConsumer(Entrypoint):
    """``@consume("ORDER_CREATED", OrderCreatedSchema)`` on a method that takes a list of Received events.

    The method gets 1 to BATCH_SIZE events that loaded in ``schema``. If it raises, nothing of the batch may have been
    saved; the events are then given to it one at a time, so that one bad event harms no other.
    """

    loop = MessageLoop()
    chaos = ChaosWatch()

    def __init__(self, event_type: str, schema: type[EventSchema], **kwargs: Any) -> None:
        self.event_type = event_type
        self.schema = schema
        super().__init__(expected_exceptions=OrderSagaError, **kwargs)

    def setup(self) -> None:
        self.loop.register(BatchLane(self, self.loop))

    def stop(self) -> None:
        self.loop.drain()


consume = EventConsumer.decorator


class BatchLane:
    """One queue, one batch in hand at a time, the next one arriving meanwhile."""

    prefetch = 2 * BATCH_SIZE
    takes_requests = False

    def __init__(self, entrypoint: EventConsumer, loop: MessageLoop) -> None:
        self._entrypoint = entrypoint
        self._loop = loop
        self._service: str = entrypoint.container.service_name
        self.queue = work_queue(self._service, entrypoint.event_type)
        self._schema = entrypoint.schema()
        self._arrivals = Arrivals(Pace(GATHER_S))
        self._busy = False
        event = entrypoint.event_type
        self._applied = figures.APPLIED.labels(event)
        self._sizes, self._seconds = figures.BATCH_SIZE.labels(event), figures.BATCH_SECONDS.labels(event)

    def arrived(self, delivery: Delivery) -> None:
        self._arrivals.add(delivery)

    def finish(self) -> None:
        self._arrivals.close()

    def is_idle(self) -> bool:
        return not self._busy

    def run(self) -> None:
        publisher, delays_s = self._loop.publisher, self._loop.choreography.retry_delays_s
        self._settlement = Settlement(self._service, publisher, delays_s)
        self._chaos = self._entrypoint.chaos.memory
        self._mischief = Mischief(
            self._chaos,
            self._settlement,
            publisher,
            targets=(self._service, self.queue),
            is_ending=lambda: self._arrivals.is_closed,
        )
        self._publisher_of_event = self._loop.choreography.events[self._entrypoint.event_type].publisher
        while (batch := self._arrivals.take(BATCH_SIZE)) is not None:
            self._handle(batch)

    def _handle(self, batch: list[Delivery]) -> None:
        self._busy = True
        began = time.perf_counter()
        try:
            pairs = self._read(batch)
            if self._chaos.is_on:
                pairs = self._mischief.before(pairs)
            if pairs:
                self._process(pairs)
        finally:
            self._busy = False
            self._sizes.observe(len(batch))
            self._seconds.observe(time.perf_counter() - began)

    def _read(self, batch: list[Delivery]) -> list[Pair]:
        """Those that load; the others go to the dead letters here and now."""
        pairs = []
        for delivery in batch:
            try:
                pairs.append((delivery, self._load(delivery)))
            except OrderSagaError as error:
                self._settlement.dead_letter(delivery, error)
            except Exception as error:
                # A header or body of a kind nobody thought of must not stop the lane.
                self._settlement.dead_letter(delivery, InvalidPayload(f"{type(error).__name__}: {error}"))
        return pairs

    def _load(self, delivery: Delivery) -> Received[Any]:
        event = load_event(
            self._entrypoint.event_type,
            self._publisher_of_event,
            self._schema,
            body=delivery.body,
            properties=delivery.properties,
            headers=delivery.headers,
        )
        if (version := event.envelope.schema_version) != self._schema.schema_version:
            figures.UPCAST.labels(event.envelope.type, str(version)).inc()
        return event

    def _process(self, pairs: list[Pair]) -> None:
        # crash point: consumer.received
        error = self._call([event for _, event in pairs])
        if error is None:
            # crash point: consumer.committed
            if self._chaos.is_on and self._mischief.keeps_acknowledgement(pairs):
                return
            # One channel per queue and one batch in hand: everything up to the last one is done.
            pairs[-1][0].acknowledge(and_all_before=True)
            self._applied.inc(len(pairs))
            # crash point: consumer.acknowledged
            self._report_applied([event for _, event in pairs])
        elif isinstance(error, DatabaseUnavailable):
            return  # only while shutting down: left unacknowledged, the broker delivers them again
        elif len(pairs) == 1:
            self._settlement.settle_failed(pairs[0][0], error)
        else:
            ids = as_texts(ids_of([event for _, event in pairs]))
            log.info("batch_split", queue=self.queue, size=len(pairs), error=str(error)[:300], **ids)
            for pair in pairs:
                self._process_alone(pair)

    def _process_alone(self, pair: Pair) -> None:
        delivery, event = pair
        error = self._call([event])
        if error is None:
            delivery.acknowledge()
            self._applied.inc()
            self._report_applied([event])
        elif not isinstance(error, DatabaseUnavailable):
            self._settlement.settle_failed(delivery, error)

    def _report_applied(self, events: list[Received[Any]]) -> None:
        say_in_parts(log, "events_applied", ids_of(events), queue=self.queue)

    def _call(self, events: list[Received[Any]]) -> Exception | None:
        """The method's error, or None. While the database is away the events are held, not failed.

        Held events stay unacknowledged, so nothing more arrives (prefetch), their delivery count does not grow, and
        a crash returns them. That is the contract's "stop consuming, requeue, resume" without the redeliveries.
        """
        outages = 0
        while True:
            error = self._call_once(events)
            if not isinstance(error, DatabaseUnavailable) or self._arrivals.is_closed:
                return error
            log.warning("database_unavailable", queue=self.queue, error=str(error)[:300])
            eventlet.sleep(DATABASE_DELAYS_S[min(outages, len(DATABASE_DELAYS_S) - 1)])
            outages += 1

    def _call_once(self, events: list[Received[Any]]) -> Exception | None:
        done = Event()
        traced = tracing.consuming(self.queue, events)
        in_hand = events if traced is None else traced.events
        context = None if traced is None else {tracing.WORK_KEY: traced}

        def handle_result(_worker: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            done.send(exc_info[1] if exc_info else None)
            return result, exc_info

        try:
            self._entrypoint.container.spawn_worker(
                self._entrypoint, (in_hand,), {}, context_data=context, handle_result=handle_result
            )
        except ContainerBeingKilled:
            return DatabaseUnavailable("this process is being killed")
        error: Exception | None = done.wait()
        if error is not None:
            figures.HANDLER_ERRORS.labels(self._entrypoint.event_type, figures.code_of(error)).inc()
        if traced is not None:
            traced.end(error)
        if error is not None and not isinstance(error, PermanentError | TransientError):
            log.error("unexpected_error", queue=self.queue, **as_texts(ids_of(events)), exc_info=error)
        return error


def consumed_events(service_class: type) -> dict[str, type[EventSchema]]:
    """Event type → schema, as declared by the ``@consume`` entrypoints of a service class."""
    found: dict[str, type[EventSchema]] = {}
    for attribute in vars(service_class).values():
        for entrypoint in getattr(attribute, "nameko_entrypoints", ()):
            if isinstance(entrypoint, EventConsumer):
                found[entrypoint.event_type] = entrypoint.schema
    return found
