"""What is published is what was declared, and every consumer can read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from marshmallow import ValidationError
from saga_world import CHOREOGRAPHY, CONSUMED, PUBLISHED, SERVICES, Message, Scenario, World, received

from inventory_service import handlers as inventory
from inventory_service.schemas import Adjustment, NewProduct
from shared.choreography.model import Consumer, Event
from shared.database import rows_json

CONSUMPTIONS = [
    pytest.param(event, consumer, id=f"{event.type}-{consumer.service}")
    for event in CHOREOGRAPHY.events.values()
    for consumer in event.consumers
]


class Recorder:
    """Takes the place of a transaction where one product is at hand; keeps what would be written."""

    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def fetch(self, _statement: Any, **_parameters: Any) -> list[Any]:
        return [SimpleNamespace(item="mug", on_hand=5, reserved=2)]

    def execute(self, _statement: Any, **_parameters: Any) -> None:
        """Statements without rows lock or ensure; nothing to keep."""

    def save(self, _statement: Any, rows: list[dict[str, Any]], **_parameters: Any) -> None:
        self.written += json.loads(rows_json(rows))

    def payload(self, event_type: str) -> dict[str, Any]:
        (row,) = [row for row in self.written if row.get("event_type") == event_type]
        payload: dict[str, Any] = row["payload"]
        return payload


def _saga_examples() -> dict[str, list[Mapping[str, Any]]]:
    """Payloads of every event that belongs to an order, as the services make them."""
    examples: dict[str, list[Mapping[str, Any]]] = {}
    for scenario in (
        Scenario(),
        Scenario(card_is_refused=True),
        Scenario(stock=0),
        Scenario(payment_mode="manual"),
        Scenario(impatient=True),
        Scenario(impatient=True, refunds_are_refused=True),
        Scenario(clock_jumps=True, ttl_s=60),
    ):
        for seed in range(20):
            world = World(scenario, seed)
            world.run()
            for event in world.published:
                examples.setdefault(event.envelope.type, []).append(json.loads(json.dumps(event.payload)))
    return examples


def _product_examples() -> dict[str, list[Mapping[str, Any]]]:
    created, adjusted = Recorder(), Recorder()
    product = NewProduct(item="mug", name="Mug", seller_id="s1", price=Decimal("9.5"), currency="EUR", on_hand=5)
    inventory.create_product(created, product, "c1")  # type: ignore[arg-type]
    inventory.adjust_stock(adjusted, Adjustment(item="mug", delta=-1, reason="broken"), None)  # type: ignore[arg-type]
    return {
        "PRODUCT_UPDATED": [created.payload("PRODUCT_UPDATED")],
        "INVENTORY_ADJUSTED": [adjusted.payload("INVENTORY_ADJUSTED")],
    }


EXAMPLES = _saga_examples() | _product_examples()


class TestDeclaredAndWritten:
    @pytest.mark.parametrize("service", SERVICES)
    def test_a_service_consumes_exactly_what_is_declared(self, service: str) -> None:
        assert set(CONSUMED[service]) == {event.type for event in CHOREOGRAPHY.consumed_by(service)}

    @pytest.mark.parametrize("service", SERVICES)
    def test_a_service_publishes_exactly_what_is_declared(self, service: str) -> None:
        assert set(PUBLISHED[service]) == {event.type for event in CHOREOGRAPHY.published_by(service)}

    def test_every_declared_service_is_here(self) -> None:
        assert set(SERVICES) == set(CHOREOGRAPHY.services)
        assert {service.name for service in SERVICES.values()} == set(SERVICES)  # type: ignore[attr-defined]

    def test_every_declared_event_is_really_made(self) -> None:
        assert set(EXAMPLES) == set(CHOREOGRAPHY.events)

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_consumers_read_the_version_that_is_published(self, event: Event, consumer: Consumer) -> None:
        published = PUBLISHED[event.publisher][event.type].schema_version
        assert published in CONSUMED[consumer.service][event.type].readable_versions


class TestPayloads:
    @pytest.mark.parametrize("event_type", EXAMPLES)
    def test_a_payload_loads_in_its_own_publishers_schema(self, event_type: str) -> None:
        publisher = CHOREOGRAPHY.events[event_type].publisher
        for payload in EXAMPLES[event_type]:
            PUBLISHED[publisher][event_type]().load(dict(payload))

    @pytest.mark.parametrize("event_type", EXAMPLES)
    def test_a_payload_holds_every_declared_field_and_no_other(self, event_type: str) -> None:
        schema = PUBLISHED[CHOREOGRAPHY.events[event_type].publisher][event_type]()
        keys = {field.data_key or name for name, field in schema.fields.items()}
        for payload in EXAMPLES[event_type]:
            assert set(payload) == keys

    @pytest.mark.parametrize("event_type", EXAMPLES)
    def test_names_are_camel_case_and_there_are_no_fractions(self, event_type: str) -> None:
        for payload in EXAMPLES[event_type]:
            for key, value in _leaves(payload):
                assert key[0].islower(), key
                assert "_" not in key, key
                assert not isinstance(value, float), key

    @pytest.mark.parametrize(
        ("event_type", "money"),
        [
            ("ORDER_CREATED", {"price"}),
            ("ORDER_CONFIRMED", {"price"}),
            ("INVENTORY_RESERVED", {"price"}),
            ("PAYMENT_PENDING", {"price"}),
            ("PAYMENT_SUCCESS", {"price"}),
            ("PAYMENT_REFUNDED", {"amount", "totalRefunded"}),
            ("PRODUCT_UPDATED", {"price"}),
        ],
    )
    def test_money_is_a_string_with_two_decimals(self, event_type: str, money: set[str]) -> None:
        for payload in EXAMPLES[event_type]:
            for key in money:
                whole, point, cents = payload[key].partition(".")
                assert (whole.isdigit(), point, len(cents)) == (True, ".", 2)

    def test_times_are_utc(self) -> None:
        moments = [p["expiresAt"] for t in ("INVENTORY_RESERVED", "PAYMENT_PENDING") for p in EXAMPLES[t]]
        known = [moment for moment in moments if moment is not None]
        assert known
        assert all(moment.endswith("Z") for moment in known)


class TestConsumers:
    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_consumer_reads_what_is_published(self, event: Event, consumer: Consumer) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        for payload in EXAMPLES[event.type]:
            body = schema.load(dict(payload))
            if "id" in payload:
                assert str(body.order_id) == payload["id"]

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_field_it_does_not_know_changes_nothing(self, event: Event, consumer: Consumer) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        payload = EXAMPLES[event.type][0]
        assert schema.load({**payload, "addedLater": {"deep": [1]}}) == schema.load(dict(payload))

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_missing_field_is_named(self, event: Event, consumer: Consumer) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        payload = EXAMPLES[event.type][0]
        needed = {field.data_key or name for name, field in schema.fields.items() if field.required}
        assert needed
        for key in needed:
            with pytest.raises(ValidationError) as refused:
                schema.load({k: v for k, v in payload.items() if k != key})
            assert refused.value.messages == {key: ["Missing data for required field."]}

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_consumer_asks_for_nothing_that_is_not_published(self, event: Event, consumer: Consumer) -> None:
        """What only one side knows by name would be silently ignored by the other."""
        ours = CONSUMED[consumer.service][event.type]()
        theirs = PUBLISHED[event.publisher][event.type]()
        published = {field.data_key or name for name, field in theirs.fields.items()}
        assert {field.data_key or name for name, field in ours.fields.items()} <= published

    def test_an_event_sent_by_hand_needs_only_its_body(self) -> None:
        """Nameko's dispatcher sets no message id, no type and no headers of ours."""
        payload = EXAMPLES["PAYMENT_SUCCESS"][0]
        by_hand = Message(
            type="PAYMENT_SUCCESS",
            consumer="order_service",
            body=json.dumps(payload).encode(),
            properties={"content_type": "application/json"},
            headers={},
        )
        first, again = received(by_hand), received(by_hand)
        assert str(first.body.order_id) == payload["id"]
        assert first.envelope.event_id == again.envelope.event_id
        assert first.envelope.source == "payment_service"

    def test_an_order_dispatched_by_hand_may_leave_out_what_has_a_default(self) -> None:
        payload = dict(EXAMPLES["ORDER_CREATED"][0])
        for key in ("paymentMode", "paymentMethod", "status", "requiresApproval"):
            del payload[key]
        loaded = CONSUMED["inventory_service"]["ORDER_CREATED"]().load(payload)
        assert (loaded.terms.payment_mode, loaded.terms.payment_method) == ("auto", None)


def _leaves(value: Any, key: str = "payload") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for k, v in value.items() for leaf in _leaves(v, k)]
    if isinstance(value, list):
        return [leaf for v in value for leaf in _leaves(v, key)]
    return [(key, value)]
