"""A broker in memory: the queues that choreography.yml declares, and every right to lose, repeat and reorder.

Owns: queues, retry queues with their delays, dead letters, unacknowledged deliveries that come back.
Must not know: what handlers do. Deliveries are settled by the services' own code (BatchLane, Settlement).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from shared.choreography import dead_letter_queue, load_choreography, retry_exchange, work_queue
from shared.choreography.model import event_exchange
from shared.envelope import properties_of
from shared.errors import BrokerUnavailable
from shared.messaging.delivery import Delivery
from shared.outbox import OutboxRow

from .clock import Clock

CHOREOGRAPHY = load_choreography()


class Crash(BaseException):
    """The process is gone: no handler of the program may see this."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event as it lies in a queue."""

    type: str
    body: bytes
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]
    exchange: str

    @property
    def event_id(self) -> str:
        return str(self.properties["message_id"])


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message in a retry queue, until its time is up."""

    until: datetime
    queue: str
    message: Message


@dataclass
class Channel:
    """Deliveries under way to one consumer; what is not settled when it closes goes back to the queue."""

    bus: Bus
    queue: str
    unsettled: dict[int, Message]
    lose_acknowledgements: bool = False
    connection: object = field(default_factory=object)

    def deliveries(self) -> list[Delivery]:
        return [
            Delivery(message=_amqp_message(self, tag, message), queue=self.queue)
            for tag, message in self.unsettled.items()
        ]

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        if self.lose_acknowledgements:
            raise Crash("before the acknowledgement")
        for settled in [t for t in self.unsettled if t == tag or (multiple and t <= tag)]:
            del self.unsettled[settled]

    def basic_reject(self, tag: int, requeue: bool) -> None:
        message = self.unsettled.pop(tag, None)
        if message is not None:
            self.bus.queues[self.queue if requeue else dead_letter_queue(self.queue)].append(message)

    def close(self) -> None:
        self.bus.queues[self.queue][:0] = self.unsettled.values()
        self.unsettled = {}


def _amqp_message(channel: Channel, tag: int, message: Message) -> Any:
    return SimpleNamespace(
        channel=channel,
        delivery_tag=tag,
        body=message.body,
        properties={**message.properties, "application_headers": dict(message.headers)},
        delivery_info={"exchange": message.exchange},
    )


class Bus:
    """``queues``: name → messages, work queues and dead letters alike."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.consumers: dict[str, str] = {}
        self.queues: dict[str, list[Message]] = {}
        self.waiting: list[Waiting] = []
        self._retries: dict[str, float] = {}
        for queue, event in CHOREOGRAPHY.work_queues():
            self.queues[queue] = []
            self.queues[dead_letter_queue(queue)] = []
            self.consumers[queue] = queue.removesuffix(f".{event.type}")
        for service in CHOREOGRAPHY.services:
            for delay_s in CHOREOGRAPHY.retry_delays_s:
                self._retries[retry_exchange(service, delay_s)] = delay_s

    @property
    def filled(self) -> list[str]:
        """Work queues with something in them."""
        return [queue for queue in self.consumers if self.queues[queue]]

    @property
    def dead(self) -> list[tuple[str, Message]]:
        return [(name, m) for name, messages in self.queues.items() if name.endswith(".dead") for m in messages]

    def route(self, row: OutboxRow) -> Message:
        """What a relay publishes: a copy for every consumer."""
        properties, headers = properties_of(row.envelope)
        message = Message(
            type=row.envelope.type,
            body=row.body,
            properties=properties,
            headers=headers,
            exchange=event_exchange(row.envelope.source),
        )
        self.send(message)
        return message

    def send(self, message: Message) -> None:
        for consumer in CHOREOGRAPHY.events[message.type].consumers:
            self.queues[work_queue(consumer.service, message.type)].append(message)

    def take(self, queue: str, positions: Sequence[int]) -> Channel:
        """Deliver the messages at these positions, in this order."""
        taken = [self.queues[queue][position] for position in positions]
        left = [m for position, m in enumerate(self.queues[queue]) if position not in set(positions)]
        self.queues[queue] = left
        return Channel(bus=self, queue=queue, unsettled=dict(enumerate(taken, start=1)))

    def repeat(self, queue: str, position: int) -> Message:
        message = self.queues[queue][position]
        self.queues[queue].append(message)
        return message

    def wake(self) -> int:
        """Bring back what has waited long enough."""
        due = [w for w in self.waiting if w.until <= self._clock.now]
        self.waiting = [w for w in self.waiting if w.until > self._clock.now]
        for waited in due:
            self.queues[waited.queue].append(waited.message)
        return len(due)

    def retry_later(self, message: Message, exchange: str, queue: str) -> None:
        until = self._clock.now + timedelta(seconds=self._retries[exchange])
        self.waiting.append(Waiting(until=until, queue=queue, message=message))


class Resender:
    """Takes ConfirmingPublisher's place: retries and dead letters of one service. May be told to be out of reach."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.is_away = False

    def publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> None:
        if self.is_away:
            raise BrokerUnavailable("the broker is out of reach")
        message = Message(
            type=routing_key.removesuffix(".dead").rpartition(".")[2],
            body=body,
            properties=properties,
            headers=headers,
            exchange=exchange,
        )
        if exchange:
            self._bus.retry_later(message, exchange, routing_key)
        else:
            self._bus.queues[routing_key].append(message)
