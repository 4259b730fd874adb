"""Everything there is in one schedule: services, bus, provider, clock, and what people asked for.

Owns: putting it together, single events of the world (a delivery, a call, a request), and the record of them.
Must not know: which of them comes next (scheduler.py), what must be true (invariants.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory_service.settings import Settings as InventorySettings
from order_service.settings import Settings as OrderSettings
from payment_service.settings import Settings as PaymentSettings
from payment_service.webhooks import sign
from shared.choreography.model import event_exchange
from shared.config import Source
from shared.errors import BrokenRule, BrokerUnavailable, OrderSagaError, PermanentError, TransientError
from shared.identity import TRUSTED
from shared.outbox import OutboxRow

from .bus import CHOREOGRAPHY, Bus, Channel, Crash, Message, Resender
from .clock import Clock
from .ids import Ids, Names
from .provider import ANSWER_LOST, REQUEST_LOST, Provider, Webhook
from .record import UNCHANGED, UNEXPECTED, Published, Request, Tally, Violation
from .scenario import ITEMS, PRICE, WEBHOOK_SECRET, Scenario
from .services import (
    SERVICES,
    TRANSACTION_FAULTS,
    Fate,
    RelayPublisher,
    Replica,
    Sessions,
    Store,
    Worker,
    make_relay,
    make_worker,
)

SETTINGS: Mapping[str, Any] = {
    "order_service": OrderSettings,
    "inventory_service": InventorySettings,
    "payment_service": PaymentSettings,
}


@dataclass
class Room:
    """One service: its store, its replicas, its relay."""

    name: str
    store: Store
    fate: Fate
    resender: Resender
    replicas: list[Replica]
    publisher: RelayPublisher
    relay: Any
    may_have_events: bool = False
    is_checked: bool = True
    has_parked: bool = False
    due: list[datetime] | None = None


class World:
    """One schedule's world. ``chance`` is that of the step being taken."""

    def __init__(self, stores: Mapping[str, Store], scenario: Scenario, tally: Tally | None = None) -> None:
        self.scenario = scenario
        self.tally = tally or Tally()
        self.clock, self.names = Clock(), Names()
        self.ids = Ids(self.clock)
        self.chance = random.Random(0)  # noqa: S311
        self.is_calm = False
        self.trace: list[str] = []
        self.requests: list[Request] = []
        self.published: dict[str, Published] = {}
        self.charge_orders: dict[str, str] = {}
        self.strangers: list[str] = []
        self.foreign_ids: set[str] = set()
        self.pauses = 0
        self.while_paused: Any = None
        self.seen_in_pause: Violation | None = None
        self.bus = Bus(self.clock)
        self.provider = Provider(
            clock=self.clock, weather=self._weather, pause=self._pause, refuses_refunds=scenario.refuses_refunds
        )
        self.rooms = {name: self._room(name, stores[name]) for name in SERVICES}
        self.workers = [self._worker(number) for number in (1, 2)]
        self._fill_shelves()
        self._after_time()

    # Putting it together

    def _room(self, name: str, store: Store) -> Room:
        store.use(self.clock, timedelta(seconds=self.scenario.skews_s[list(SERVICES).index(name)]))
        store.empty()
        fate, resender, publisher = Fate(), Resender(self.bus), RelayPublisher(self._on_published)
        room = Room(
            name=name,
            store=store,
            fate=fate,
            resender=resender,
            replicas=[],
            publisher=publisher,
            relay=make_relay(name, store, publisher),
        )
        for _ in range(2 if name == "payment_service" else 1):
            service: Any = SERVICES[name]()
            service.database = Sessions(engine=store.engine, fate=fate)
            service.caller = TRUSTED
            service.settings = SETTINGS[name].read(Source(values=self.scenario.settings()))
            room.replicas.append(Replica(service, self.bus, resender, self._on_unexpected))
        return room

    def _worker(self, number: int) -> Worker:
        room = self.rooms["payment_service"]
        replica = room.replicas[number - 1]
        service = replica.service
        return make_worker(
            f"worker {number}", replica, service.database, service.settings, self.provider, self._on_submitted
        )

    def _fill_shelves(self) -> None:
        items = [(item, approval, self.scenario.stock[item]) for item, approval in ITEMS.items()]
        orders, inventory = self.rooms["order_service"].store, self.rooms["inventory_service"].store
        for item, approval, on_hand in items:
            orders.rows(
                "insert into products (item, version, name, seller_id, price, currency, active, requires_approval)"
                " values (%s, 1, %s, 's1', %s, 'EUR', true, %s)",
                (item, item, PRICE, approval),
            )
            inventory.rows(
                "with p as (insert into products (item, version, name, seller_id, price, currency, active,"
                " requires_approval, updated_at) values (%(item)s, 1, %(item)s, 's1', %(price)s, 'EUR', true,"
                " %(approval)s, %(now)s)), s as (insert into stock (item, on_hand, reserved)"
                " values (%(item)s, %(on_hand)s, 0)) insert into stock_movements (item, kind, delta_on_hand,"
                " delta_reserved, at) values (%(item)s, 'initial', %(on_hand)s, 0, %(now)s)",
                {"item": item, "price": PRICE, "approval": approval, "on_hand": on_hand, "now": self.clock.now},
            )

    # What is written down

    def say(self, text: str) -> None:
        self.trace.append(f"{self.clock.elapsed_s:10.3f}s  {text}")

    def _unsay_if_last(self, text: str) -> None:
        """In the calm at the end most timers and relays find nothing to do."""
        if self.is_calm and self.trace[-1].endswith(text):
            self.trace.pop()

    def count_fault(self, fault: str) -> None:
        self.tally.faults[fault] += 1
        self.say(f"    ! {fault}")

    def describe(self, type_: str, payload: Mapping[str, Any], event_id: str) -> str:
        subject = self.names.give("order ", payload["id"]) if "id" in payload else payload.get("item", "")
        return f"{type_} {self.names.give('#', event_id)} ({subject})"

    def _on_unexpected(self, error: BaseException) -> None:
        raise Violation(UNEXPECTED, f"{type(error).__name__}: {error}") from error

    def _on_submitted(self, attempt: Any) -> None:
        if attempt.kind == "CHARGE":
            self.charge_orders[str(attempt.id)] = str(attempt.order_id)

    def _on_published(self, row: OutboxRow) -> None:
        message = self.bus.route(row)
        event_id, payload = message.event_id, json.loads(row.body)
        self.say(f"    publishes {self.describe(message.type, payload, event_id)}")
        before = self.published.get(event_id)
        if before is None:
            self.tally.events += 1
            self.published[event_id] = Published(
                type=message.type,
                source=row.envelope.source,
                aggregate_id=row.aggregate_id,
                causation_id=str(row.envelope.causation_id) if row.envelope.causation_id else None,
                payload=payload,
                message=message,
            )
            self.names.give("#", event_id)
        elif before.payload != payload:
            raise Violation(UNCHANGED, f"{message.type} {event_id} was published with another payload")

    # Trouble

    @contextmanager
    def trouble(self, room: Room) -> Iterator[None]:
        """The next transaction of ``room`` may meet with a fault."""
        outer = room.fate.fault
        room.fate.fault = ""
        if not self.is_calm and self.chance.random() < self.scenario.fault_rate:
            room.fate.fault = self.chance.choice(TRANSACTION_FAULTS)
        room.resender.is_away = bool(room.fate.fault) and self.chance.random() < 0.2
        room.fate.struck = ""
        try:
            yield
        except Crash as crash:
            if crash.args[0] not in TRANSACTION_FAULTS:
                self.count_fault(str(crash))
        finally:
            if room.fate.struck:
                self.count_fault(room.fate.struck)
            room.fate.fault, room.resender.is_away = outer, False
            room.is_checked = False
            if room.fate.has_recorded:
                room.may_have_events, room.fate.has_recorded = True, False
            room.due = None

    def _weather(self) -> str:
        if self.is_calm or self.chance.random() >= self.scenario.weather_rate:
            return ""
        lost = self.chance.choice((REQUEST_LOST, ANSWER_LOST))
        self.count_fault(lost)
        return lost

    def _pause(self) -> None:
        """While the provider thinks, others go on: no transaction is open now, so anything may happen."""
        if self.is_calm or self.pauses or self.while_paused is None or self.chance.random() >= 0.15:
            return
        self.pauses += 1
        try:
            self.say("    while the provider thinks:")
            self.while_paused()
        except Violation as violation:
            # The charger takes any error for a call without an answer.
            self.seen_in_pause = violation
            raise
        finally:
            self.pauses -= 1

    # Single events of the world

    def deliver(self, queue: str, positions: list[int], *, lose_acknowledgement: bool = False) -> None:
        room = self.rooms[self.bus.consumers[queue]]
        replica, worker = self._who(room)
        channel = self.bus.take(queue, positions)
        channel.lose_acknowledgements = lose_acknowledgement
        self.tally.deliveries += len(positions)
        self.say(f"deliver {self._said(channel)} to {worker.name if worker else room.name}")
        crashed = True
        with self.trouble(room):
            replica.consume(channel)
            crashed = False
        if crashed and worker:
            worker.crash()

    def _said(self, channel: Channel) -> str:
        return ", ".join(
            self.describe(m.type, json.loads(m.body), str(m.properties.get("message_id", "by hand")))
            for m in channel.unsettled.values()
        )

    def _who(self, room: Room) -> tuple[Replica, Worker | None]:
        if room.name != "payment_service":
            return room.replicas[0], None
        self.keep_leases()
        awake = [worker for worker in self.workers if not worker.is_frozen] or self.workers
        worker = self.chance.choice(awake)
        return worker.replica, worker

    def fire(self, room: Room, timer: str, worker: Worker | None = None) -> None:
        """On ``worker`` just woken up, before it could renew its lease; else on any process of the room."""
        replica = worker.replica if worker else None
        if replica is None:
            replica, worker = self._who(room)
        said = f"timer {timer} of {worker.name if worker else room.name}"
        self.say(said)
        crashed = True
        with self.trouble(room):
            try:
                replica.fire(timer)
            except Exception as error:
                self._on_unexpected(error)
            crashed = False
        self._unsay_if_last(said)
        if crashed and worker:
            worker.crash()

    def relay(self, room: Room, *, crash_after: int | None = None, lose_after: int | None = None) -> bool:
        """One step of the relay's cycle; whether there was anything to publish."""
        publisher = room.publisher
        publisher.sent_before_crash, publisher.sent_before_loss = crash_after, lose_after
        said = f"relay of {room.name}"
        self.say(said)
        room.store.set_time()
        room.due, room.has_parked = None, False
        try:
            room.may_have_events = bool(room.relay.relay_once())
            return room.may_have_events
        except Crash as crash:
            self.count_fault(str(crash))
        except BrokerUnavailable:
            self.count_fault("the relay lost its broker")
        finally:
            publisher.sent_before_crash = publisher.sent_before_loss = None
            self._unsay_if_last(said)
            room.has_parked = publisher.has_refused
        return True

    def call(self, worker: Worker, position: int) -> None:
        attempt = worker.charger.to_call[position]
        name, order = self.names.give("attempt ", attempt.id), self.names.give("order ", attempt.order_id)
        self.say(f"{worker.name} asks the provider: {attempt.kind} {name} ({order}), tries {attempt.tries}")
        crashes = worker.crashes
        worker.charger.call(position)
        if self.seen_in_pause:
            raise self.seen_in_pause
        if worker.crashes != crashes:
            worker.charger.forget()
        else:
            self.say(f"    {worker.charger.last_answer}")

    def save(self, worker: Worker) -> None:
        room = self.rooms["payment_service"]
        self.keep_leases()
        self.say(f"{worker.name} saves what was answered")
        crashed = True
        with self.trouble(room):
            self.say(f"    {worker.charger.save()} saved")
            crashed = False
        if crashed:
            worker.crash()

    def request(self, request: Request) -> None:
        """Ask, or ask again. What was answered before must be answered again."""
        room = self.rooms[request.service]
        replica, worker = self._who(room)
        arguments = dict(request.arguments)
        if request.key is not None:
            arguments["idempotency_key"] = request.key
        self.say(f"request {request.name} {self.names.known(json.dumps(arguments, default=str))}")
        if request not in self.requests:
            self.requests.append(request)
        crashed = True
        with self.trouble(room):
            try:
                request.answers.append(getattr(replica.service, request.name)(**arguments))
                self.say("    answered")
            except BrokenRule as error:
                # What the code should have refused was stopped by a constraint of the database.
                self._on_unexpected(error)
            except PermanentError as refusal:
                request.refusals.append(refusal.code)
                self.say(f"    refused: {refusal.code}: {self.names.known(str(refusal))}")
            except TransientError as error:
                self.say(f"    not answered: {error}")
            except OrderSagaError as error:
                self._on_unexpected(error)
            except Violation:
                raise
            except Exception as error:
                self._on_unexpected(error)
            crashed = False
        if crashed and worker:
            worker.crash()

    def tell(self, webhook: Webhook) -> None:
        """The provider's webhook, signed at this moment; it counts as heard when it is answered."""
        room = self.rooms["payment_service"]
        replica, worker = self._who(room)
        signature = sign(webhook.body, secret=WEBHOOK_SECRET, at=self.clock.now)
        self.say(f"webhook {self.names.known(webhook.body)} to {worker.name if worker else room.name}")
        crashed = True
        with self.trouble(room):
            try:
                answer = replica.service.psp_webhook(webhook.body, signature)
                webhook.heard += 1
                self.say(f"    answered {answer}")
            except TransientError as error:
                self.say(f"    not answered: {error}")
            except Exception as error:
                self._on_unexpected(error)
            crashed = False
        if crashed and worker:
            worker.crash()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.say(f"{seconds:.3f} s pass")
        self._after_time()

    def pass_time_until(self, moment: datetime) -> None:
        self.pass_time(max(0.0, (moment - self.clock.now).total_seconds()))

    def _after_time(self) -> None:
        self.provider.decide()
        woken = self.bus.wake()
        if woken:
            self.say(f"    {woken} events return from retry queues")
        for room in self.rooms.values():
            # A parked event may be due.
            room.may_have_events = room.may_have_events or room.has_parked

    def keep_leases(self) -> None:
        """Workers renew them all the time; it is enough to do it when somebody is about to look."""
        for worker in self.workers:
            worker.keep_lease(self.clock.elapsed_s)

    def dispatch(self, event_type: str, body: bytes, *, message_id: str | None) -> None:
        """An event that comes from no outbox, as somebody with a shell would send it."""
        self.say(f"{event_type} by hand: {self.names.known(body.decode())}")
        properties: dict[str, Any] = {
            "content_type": "application/json",
            "timestamp": int(self.clock.now.timestamp()),
        }
        if message_id is not None:
            properties["message_id"] = message_id
            self.foreign_ids.add(message_id)
        exchange = event_exchange(CHOREOGRAPHY.events[event_type].publisher)
        self.bus.send(Message(type=event_type, body=body, properties=properties, headers={}, exchange=exchange))

    # What is there

    def requires_approval(self, order_id: str) -> bool:
        return any(
            event.type == "ORDER_CREATED" and event.order_id == order_id and event.payload["requiresApproval"]
            for event in self.published.values()
        )

    def order_ids(self) -> list[str]:
        """Of orders that somebody was told of, in the order of telling."""
        return self.answered_ids("place_order", "order")

    def answered_ids(self, name: str, what: str) -> list[str]:
        """Ids of what requests of this name made, each once."""
        answers = (answer for request in self.requests if request.name == name for answer in request.answers)
        return list(dict.fromkeys(answer[what]["id"] for answer in answers))

    def orders_with(self, event_type: str) -> list[str]:
        """Orders that somebody was told of and that such an event was published of."""
        spoken_of = {event.order_id for event in self.published.values() if event.type == event_type}
        return [order_id for order_id in self.order_ids() if order_id in spoken_of]

    def due(self) -> list[datetime]:
        """When something will happen by itself."""
        moments = [waiting.until for waiting in self.bus.waiting] + self.provider.due()
        for room in self.rooms.values():
            if room.due is None:
                room.due = self._due_in(room)
            moments += room.due
        return moments

    def _due_in(self, room: Room) -> list[datetime]:
        def ask() -> list[datetime]:
            found = room.store.rows(f"{DUE[room.name]} union all {PARKED}")
            return [moment - room.store.skew for (moment,) in found if moment is not None]

        found = ask()
        if found and room.name == "payment_service":
            self.keep_leases()
            found = ask()
        return found


DUE = {
    "order_service": "select min(wake_at) from orders",
    "inventory_service": "select min(wake_at) from reservations where status = 'RESERVED'",
    "payment_service": """
        select min(case when a.status = 'CALLING' then coalesce(l.expires_at, a.started_at) else a.next_try_at end)
        from payment_attempts a left join charger_leases l on l.worker_id = a.leased_by where a.ended_at is null""",
}
PARKED = "select min(parked_until) from outbox where published_at is null"
