"""The three services' rules in one process, with a network that is late, repeats itself and keeps no order.

What is real: the domains, the code that makes events of their decisions, the schemas on both sides, the envelope, the
charger's way of asking the provider. What is not here: brokers, databases, inboxes and locks (they have integration
tests); because there is no inbox, a repeated event really reaches the rules.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import inventory_service.handlers as inventory
import order_service.handlers as orders
import payment_service.handlers as payments
from inventory_service.domain import Holding, HoldingStatus, ReservationExpired, Shelf, totals
from inventory_service.domain import Rules as InventoryRules
from inventory_service.domain import decide as decide_holding
from inventory_service.schemas import PUBLISHED as INVENTORY_PUBLISHED
from inventory_service.service import InventoryService
from order_service.domain import DeadlinePassed, Order, OrderStatus
from order_service.domain import Rules as OrderRules
from order_service.domain import decide as decide_order
from order_service.placing import Placed, Request, _New
from order_service.pricing import Product
from order_service.schemas import PUBLISHED as ORDER_PUBLISHED
from order_service.schemas import PlaceOrder
from order_service.service import OrderService
from order_service.settings import Settings as OrderSettings
from payment_service.charger import Charger
from payment_service.domain import Payment, PaymentStatus, WorkKind
from payment_service.domain import Rules as PaymentRules
from payment_service.domain import decide as decide_payment
from payment_service.provider import Approved, Charge, ChargeOutcome, Declined
from payment_service.queries import Attempt
from payment_service.schemas import PUBLISHED as PAYMENT_PUBLISHED
from payment_service.service import PaymentService
from payment_service.settings import Settings as PaymentSettings
from shared.choreography import load_choreography
from shared.envelope import (
    Envelope,
    Outgoing,
    Received,
    StoredCause,
    caused_by,
    decode,
    encode,
    properties_of,
    read_envelope,
)
from shared.errors import ProviderUnavailable
from shared.event_schema import EventSchema
from shared.messaging.batch_consumer import consumed_events

CHOREOGRAPHY = load_choreography()
SERVICES: dict[str, type] = {
    "order_service": OrderService,
    "inventory_service": InventoryService,
    "payment_service": PaymentService,
}
PUBLISHED: dict[str, Mapping[str, type[EventSchema]]] = {
    "order_service": ORDER_PUBLISHED,
    "inventory_service": INVENTORY_PUBLISHED,
    "payment_service": PAYMENT_PUBLISHED,
}
CONSUMED = {name: consumed_events(service) for name, service in SERVICES.items()}

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PENDING_DEADLINE_S = 900
ITEM = "mug"
OTHER_ITEM = "tea"
PRICE_LIST = {
    item: Product(
        item=item, seller_id="s1", price=Decimal("10.00"), currency="EUR", active=True, requires_approval=False
    )
    for item in (ITEM, OTHER_ITEM)
}


@dataclass(frozen=True)
class At:
    """All that handlers need of a transaction while they decide: its time."""

    now: datetime


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event as it lies in a queue."""

    type: str
    consumer: str
    body: bytes
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]


def on_the_wire(event: Outgoing) -> list[Message]:
    """One copy for each consumer."""
    properties, headers = properties_of(event.envelope)
    return [
        Message(
            type=event.envelope.type,
            consumer=consumer.service,
            body=encode(event.payload),
            properties=properties,
            headers=headers,
        )
        for consumer in CHOREOGRAPHY.events[event.envelope.type].consumers
    ]


def received(message: Message) -> Received[Any]:
    schema = CONSUMED[message.consumer][message.type]()
    envelope = read_envelope(
        type=message.type,
        publisher=CHOREOGRAPHY.events[message.type].publisher,
        body=message.body,
        properties=message.properties,
        headers=message.headers,
    )
    payload = decode(message.body, message.properties, message.headers)
    return Received(envelope=envelope, payload=payload, body=schema.load(payload))


class Bank:
    """A payment provider in memory, faithful to the promises of the PaymentProvider protocol.

    ``refuses`` and ``refuses_refunds`` say what it answers; ``is_silent`` decides at each call whether its answer (or
    already the request) is lost.
    """

    def __init__(self, *, refuses: bool, refuses_refunds: bool, is_silent: Callable[[], str]) -> None:
        self._refuses, self._refuses_refunds, self._is_silent = refuses, refuses_refunds, is_silent
        self.charges: dict[str, str] = {}
        self.amounts: dict[str, Decimal] = {}
        self.refunds: dict[tuple[str, str], Decimal] = {}

    def taken(self) -> Decimal:
        stands = (self.amounts[key] for key, status in self.charges.items() if status == "APPROVED")
        return sum(stands, Decimal(0)) - sum(self.refunds.values(), Decimal(0))

    def charge(self, charge: Charge) -> ChargeOutcome:
        def act() -> None:
            self.charges.setdefault(charge.key, "DECLINED" if self._refuses else "APPROVED")
            self.amounts.setdefault(charge.key, charge.amount)

        self._do(act)
        return self._outcome(charge.key)

    def lookup(self, key: str) -> ChargeOutcome | None:
        self._do(lambda: None)
        return self._outcome(key) if key in self.charges else None

    def void(self, key: str) -> None:
        def act() -> None:
            if self.charges.get(key, "APPROVED") == "APPROVED":
                self.charges[key] = "VOIDED"

        self._do(act)

    def refund(self, *, charge_key: str, refund_key: str, amount: Decimal) -> ChargeOutcome:
        if self._refuses_refunds or self.charges.get(charge_key) != "APPROVED":
            return Declined(reason="nothing_to_refund")
        others = (a for (charge, key), a in self.refunds.items() if charge == charge_key and key != refund_key)
        if sum(others, Decimal(0)) + amount > self.amounts[charge_key]:
            return Declined(reason="exceeds_charge")
        self._do(lambda: self.refunds.setdefault((charge_key, refund_key), amount))
        return Approved(reference=f"ref-{refund_key}")

    def _outcome(self, key: str) -> ChargeOutcome:
        approved = self.charges[key] == "APPROVED"
        return Approved(reference=f"psp-{key}") if approved else Declined(reason="card_declined")

    def _do(self, act: Callable[[], Any]) -> None:
        silence = self._is_silent()
        if silence != "request lost":
            act()
        if silence:
            raise ProviderUnavailable(silence)


class Orders:
    name = "order_service"
    settings = OrderSettings(
        pending_deadline=timedelta(seconds=PENDING_DEADLINE_S),
        rules=OrderRules(reserved_grace=timedelta(seconds=120)),
    )

    def __init__(self) -> None:
        self.known: dict[UUID, Order] = {}
        self.timeline: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []

    def place(self, wanted: PlaceOrder, now: datetime, *, remember: bool = True) -> tuple[UUID, list[Outgoing]]:
        new = _New()
        placed = new.place(At(now), Request(order=wanted, hash=""), PRICE_LIST, self.settings)  # type: ignore[arg-type]
        assert isinstance(placed, Placed)
        order_id = UUID(placed.summary["id"])
        row = new._orders[0]
        if remember:
            self.known[order_id] = Order(
                id=order_id, status=OrderStatus(row["status"]), price=row["price"], deadline_at=row["deadline_at"]
            )
        return order_id, self._keep(new._changes)

    def receive(self, event: Received[Any], now: datetime) -> list[Outgoing]:
        changes = orders.Changes()
        order = self.known.get(event.body.order_id)
        if order is None:
            orders._answer_unknown_order(At(now), changes, event)  # type: ignore[arg-type]
        else:
            decision = decide_order(order, event.body, now=now, rules=self.settings.rules)
            self.known[order.id] = decision.order
            orders._record_event(changes, event, decision)
            orders._record_decision(At(now), changes, order, decision, event.envelope)  # type: ignore[arg-type]
        return self._keep(changes)

    def cancel(self, order_id: UUID, now: datetime) -> list[Outgoing]:
        order, changes = self.known[order_id], orders.Changes()
        decision = decide_order(order, DeadlinePassed(order_id=order_id), now=now, rules=self.settings.rules)
        self.known[order_id] = decision.order
        cause = caused_by(None, type="DEADLINE_PASSED", source=self.name, now=now, correlation_id=str(order_id))
        orders._record_decision(At(now), changes, order, decision, cause)  # type: ignore[arg-type]
        return self._keep(changes)

    def _keep(self, changes: orders.Changes) -> list[Outgoing]:
        self.timeline += changes.timeline
        self.history += changes.history
        return changes.outgoing


class Inventory:
    name = "inventory_service"

    def __init__(self, stock: Mapping[str, int], ttl_s: int) -> None:
        ttl = timedelta(seconds=ttl_s)
        self.rules = InventoryRules(reservation_ttl=ttl, manual_payment_ttl=ttl)
        self.on_hand = dict(stock)
        self.reserved = dict.fromkeys(stock, 0)
        self.holdings: dict[UUID, Holding] = {}
        self.movements: list[dict[str, Any]] = []

    def receive(self, event: Received[Any], now: datetime) -> list[Outgoing]:
        return self._decide(event.body, event.envelope, event.envelope.correlation_id, now)

    def expire(self, order_id: UUID, now: datetime) -> list[Outgoing]:
        return self._decide(ReservationExpired(order_id=order_id), None, str(order_id), now)

    def _decide(self, event: Any, cause: Envelope | None, correlation_id: str, now: datetime) -> list[Outgoing]:
        holding = self.holdings.setdefault(event.order_id, Holding(order_id=event.order_id))
        shelf = Shelf({item: self.on_hand[item] - self.reserved[item] for item in self.on_hand})
        decision = decide_holding(holding, event, shelf, now=now, rules=self.rules)
        self.holdings[event.order_id] = decision.holding
        changes = inventory.Changes()
        inventory._record_decision(At(now), changes, holding, decision, cause, correlation_id)  # type: ignore[arg-type]
        for item, (on_hand, reserved) in totals(changes.movements).items():
            self.on_hand[item] += on_hand
            self.reserved[item] += reserved
        self.movements += changes.movement_rows
        return changes.outgoing

    def held(self) -> dict[str, int]:
        """Units per item, added up over the holdings."""
        units = dict.fromkeys(self.on_hand, 0)
        for holding in self.holdings.values():
            for line in holding.lines if holding.status is HoldingStatus.HELD else ():
                units[line.item] += line.quantity
        return units


class Payments:
    name = "payment_service"
    settings = PaymentSettings(rules=PaymentRules(psp_limit=timedelta(seconds=30)), psp_database_url="")

    def __init__(self, bank: Bank) -> None:
        self.known: dict[UUID, Payment] = {}
        self.open: dict[UUID, Attempt] = {}
        self.charges: dict[UUID, UUID] = {}
        self.calls: list[Attempt] = []
        self.entries: list[dict[str, Any]] = []
        self._charger = Charger(bank, lambda _results: [])

    def receive(self, event: Received[Any], now: datetime) -> list[Outgoing]:
        changes = payments.Changes()
        before = self.known.setdefault(event.body.order_id, Payment(order_id=event.body.order_id))
        decision = decide_payment(before, event.body, now=now, rules=self.settings.rules)
        self.known[before.order_id] = decision.payment
        charge_id = self.charges.get(before.order_id)
        payments._record(At(now), changes, before, decision, event.envelope, charge_id)  # type: ignore[arg-type]
        return self._keep(changes, now)

    def call_provider(self, attempt_id: UUID, now: datetime) -> list[Outgoing]:
        attempt, changes = self.open.pop(attempt_id), payments.Changes()
        try:
            answer: Any = self._charger._answer_to(attempt)
        except ProviderUnavailable:
            answer = payments.Unanswered()
        event = payments._end_attempt(At(now), changes, attempt, answer, self.settings)  # type: ignore[arg-type]
        if event is None:
            self.open[attempt_id] = replace(attempt, tries=attempt.tries + 1)
            return []
        before = self.known[attempt.order_id]
        decision = decide_payment(before, event, now=now, rules=self.settings.rules)
        self.known[before.order_id] = decision.payment
        charge_id = attempt.charge_id or attempt.id
        payments._record(At(now), changes, before, decision, attempt.cause, charge_id, attempt.id)  # type: ignore[arg-type]
        return self._keep(changes, now)

    def _keep(self, changes: payments.Changes, now: datetime) -> list[Outgoing]:
        for row in changes.work:
            attempt = _attempt(row, now)
            self.open[attempt.id] = attempt
            self.calls.append(attempt)
            if attempt.kind is WorkKind.CHARGE:
                assert attempt.order_id not in self.charges, "a second charge of one order"
                self.charges[attempt.order_id] = attempt.id
        self.entries += changes.entries
        return changes.outgoing


def _attempt(row: Mapping[str, Any], now: datetime) -> Attempt:
    return Attempt(
        id=row["id"],
        order_id=row["order_id"],
        kind=WorkKind(row["kind"]),
        charge_id=row["charge_id"],
        amount=row["amount"],
        currency=row["currency"],
        token=row["token"],
        tries=0,
        started_at=now,
        cause=StoredCause(event_id=row["cause_event_id"], correlation_id=row["correlation_id"]),
    )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is given. ``impatient``: the order may be cancelled at any moment, not only after its deadline."""

    stock: int = 5
    ttl_s: int = 600
    quantities: tuple[int, ...] = (2,)
    payment_mode: str = "auto"
    card_is_refused: bool = False
    refunds_are_refused: bool = False
    provider_is_flaky: bool = False
    clock_jumps: bool = False
    impatient: bool = False
    orders_are_known: bool = True


@dataclass
class World:
    scenario: Scenario
    seed: int
    now: datetime = START
    queue: list[Message] = field(default_factory=list)
    published: list[Outgoing] = field(default_factory=list)
    is_calm: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311
        self.bank = Bank(
            refuses=self.scenario.card_is_refused,
            refuses_refunds=self.scenario.refunds_are_refused,
            is_silent=self._silence,
        )
        self.orders = Orders()
        self.inventory = Inventory({ITEM: self.scenario.stock, OTHER_ITEM: 100}, self.scenario.ttl_s)
        self.payments = Payments(self.bank)
        self.rooms: dict[str, Any] = {r.name: r for r in (self.orders, self.inventory, self.payments)}
        self.placed: list[UUID] = []
        for quantity in self.scenario.quantities:
            self._place(quantity)

    def _silence(self) -> str:
        if self.is_calm or not self.scenario.provider_is_flaky:
            return ""
        return self.chance.choice(["", "", "request lost", "answer lost"])

    def _place(self, quantity: int) -> None:
        wanted = PlaceOrder(
            user_id="u1", items=((ITEM, quantity), (OTHER_ITEM, 1)), payment_mode=self.scenario.payment_mode
        )
        order_id, events = self.orders.place(wanted, self.now, remember=self.scenario.orders_are_known)
        self.placed.append(order_id)
        self._publish(events)

    def _publish(self, events: Iterable[Outgoing]) -> None:
        for event in events:
            self.published.append(event)
            self.queue += on_the_wire(event)

    # What can happen next

    def run(self, steps: int = 60) -> None:
        """Anything, in any order; then everything that is still to be done, until nothing moves any more."""
        for _ in range(steps):
            self.chance.choice(self._possible())()
            self.check_always()
        self._calm_down()

    def _possible(self) -> list[Callable[[], None]]:
        actions: list[Callable[[], None]] = [self._let_time_pass]
        if self.queue:
            actions += [self._deliver] * 6 + [self._deliver_a_copy]
        if self.payments.open:
            actions += [self._call_provider] * 3
        if self.payments.calls and self.scenario.provider_is_flaky:
            actions.append(self._late_call_of_a_frozen_worker)
        return [*actions, self._fire_timers]

    def _let_time_pass(self) -> None:
        longest_s = 700 if self.scenario.clock_jumps else 2
        self.now += timedelta(seconds=self.chance.uniform(0, longest_s))

    def _deliver(self) -> None:
        self._handle(self.queue.pop(self.chance.randrange(len(self.queue))))

    def _deliver_a_copy(self) -> None:
        self._handle(self.chance.choice(self.queue))

    def _handle(self, message: Message) -> None:
        self._publish(self.rooms[message.consumer].receive(received(message), self.now))

    def _call_provider(self) -> None:
        self._publish(self.payments.call_provider(self.chance.choice(list(self.payments.open)), self.now))

    def _late_call_of_a_frozen_worker(self) -> None:
        """Another worker took its attempt over long ago; whatever it hears it cannot save any more."""
        try:
            self.payments._charger._answer_to(self.chance.choice(self.payments.calls))
        except ProviderUnavailable:
            return

    def _fire_timers(self) -> None:
        for holding in list(self.inventory.holdings.values()):
            if holding.expires_at is not None and holding.expires_at <= self.now:
                self._publish(self.inventory.expire(holding.order_id, self.now))
        for order in list(self.orders.known.values()):
            if order.deadline_at is not None and (order.deadline_at < self.now or self._is_impatient()):
                self._publish(self.orders.cancel(order.id, self.now))

    def _is_impatient(self) -> bool:
        return self.scenario.impatient and not self.is_calm and self.chance.random() < 0.3

    def _calm_down(self) -> None:
        self.is_calm = True
        for _ in range(50):
            while self.queue or self.payments.open:
                (self._deliver if self.queue else self._call_provider)()
                self.check_always()
            due = self._due()
            if not due:
                return
            self.now = max(self.now, min(due) + timedelta(seconds=1))
            self._fire_timers()
        raise AssertionError("the saga never comes to rest")

    def _due(self) -> list[datetime]:
        """When something will happen by itself."""
        expiries = [holding.expires_at for holding in self.inventory.holdings.values()]
        deadlines = [order.deadline_at for order in self.orders.known.values()]
        return [moment for moment in (*expiries, *deadlines) if moment is not None]

    # What must be true

    def check_always(self) -> None:
        assert self.inventory.reserved == self.inventory.held()
        for item, on_hand in self.inventory.on_hand.items():
            assert 0 <= self.inventory.reserved[item] <= on_hand
        for order in self.orders.known.values():
            is_known_over = order.stock == "FREE" and order.money in {"NOT_TAKEN", "RETURNED"}
            assert (order.settled_at is not None) == (order.status == "CANCELLED" and is_known_over)
        for payment in self.payments.known.values():
            if payment.status in {PaymentStatus.FAILED, PaymentStatus.CANCELLED}:
                assert not self.events("PAYMENT_SUCCESS", payment.order_id)

    def events(self, event_type: str, order_id: UUID) -> list[Outgoing]:
        found = (e for e in self.published if e.envelope.type == event_type)
        return [e for e in found if e.aggregate_id == str(order_id)]
