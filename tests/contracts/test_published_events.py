"""What is published is what was declared, and every consumer can read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from marshmallow import ValidationError
from simulation.bus import CHOREOGRAPHY
from simulation.runner import Bench
from simulation.services import SERVICES

from inventory_service.schemas import PUBLISHED as INVENTORY_PUBLISHED
from order_service.schemas import PUBLISHED as ORDER_PUBLISHED
from payment_service.schemas import PUBLISHED as PAYMENT_PUBLISHED
from shared.choreography.model import Consumer, Event
from shared.envelope import read_envelope
from shared.event_schema import EventSchema
from shared.messaging.batch_consumer import consumed_events

PUBLISHED: dict[str, Mapping[str, type[EventSchema]]] = {
    "order_service": ORDER_PUBLISHED,
    "inventory_service": INVENTORY_PUBLISHED,
    "payment_service": PAYMENT_PUBLISHED,
}
CONSUMED = {name: consumed_events(service) for name, service in SERVICES.items()}
CONSUMPTIONS = [
    pytest.param(event, consumer, id=f"{event.type}-{consumer.service}")
    for event in CHOREOGRAPHY.events.values()
    for consumer in event.consumers
]
MOST_SCHEDULES = 400
ENOUGH = 5

Examples = Mapping[str, list[Mapping[str, Any]]]


@pytest.fixture(scope="session")
def examples(schedules: Bench) -> Examples:
    """Payloads of every event, as the services' relays published them in simulated schedules."""
    found: dict[str, list[Mapping[str, Any]]] = {event_type: [] for event_type in CHOREOGRAPHY.events}
    for seed in range(MOST_SCHEDULES):
        for event in schedules.run_seed(seed).events:
            found[event.type].append(event.payload)
        if all(len(payloads) >= ENOUGH for payloads in found.values()):
            break
    return found


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

    def test_every_declared_event_is_really_made(self, examples: Examples) -> None:
        assert [event_type for event_type, payloads in examples.items() if not payloads] == []

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_consumers_read_the_version_that_is_published(self, event: Event, consumer: Consumer) -> None:
        published = PUBLISHED[event.publisher][event.type].schema_version
        assert published in CONSUMED[consumer.service][event.type].readable_versions


class TestPayloads:
    @pytest.mark.parametrize("event_type", CHOREOGRAPHY.events)
    def test_a_payload_loads_in_its_own_publishers_schema(self, examples: Examples, event_type: str) -> None:
        publisher = CHOREOGRAPHY.events[event_type].publisher
        for payload in examples[event_type]:
            PUBLISHED[publisher][event_type]().load(dict(payload))

    @pytest.mark.parametrize("event_type", CHOREOGRAPHY.events)
    def test_a_payload_holds_every_declared_field_and_no_other(self, examples: Examples, event_type: str) -> None:
        schema = PUBLISHED[CHOREOGRAPHY.events[event_type].publisher][event_type]()
        keys = {field.data_key or name for name, field in schema.fields.items()}
        for payload in examples[event_type]:
            assert set(payload) == keys

    @pytest.mark.parametrize("event_type", CHOREOGRAPHY.events)
    def test_names_are_camel_case_and_there_are_no_fractions(self, examples: Examples, event_type: str) -> None:
        for payload in examples[event_type]:
            for key, value in _leaves(payload):
                assert key[0].islower(), key
                assert "_" not in key, key
                assert not isinstance(value, float), key

    @pytest.mark.parametrize(
        ("event_type", "money"),
        [
            ("ORDER_CREATED", {"price"}),
            ("ORDER_APPROVED", {"price"}),
            ("ORDER_CONFIRMED", {"price"}),
            ("ORDER_RETURNED", {"refundAmount"}),
            ("INVENTORY_RESERVED", {"price"}),
            ("PAYMENT_PENDING", {"price"}),
            ("PAYMENT_SUCCESS", {"price"}),
            ("PAYMENT_REFUNDED", {"amount", "totalRefunded"}),
            ("PRODUCT_UPDATED", {"price"}),
        ],
    )
    def test_money_is_a_string_with_two_decimals(self, examples: Examples, event_type: str, money: set[str]) -> None:
        for payload in examples[event_type]:
            for key in money:
                whole, point, cents = payload[key].partition(".")
                assert (whole.isdigit(), point, len(cents)) == (True, ".", 2)

    def test_times_are_utc(self, examples: Examples) -> None:
        moments = [p["expiresAt"] for t in ("INVENTORY_RESERVED", "PAYMENT_PENDING") for p in examples[t]]
        known = [moment for moment in moments if moment is not None]
        assert known
        assert all(moment.endswith("Z") for moment in known)


class TestConsumers:
    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_consumer_reads_what_is_published(self, examples: Examples, event: Event, consumer: Consumer) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        for payload in examples[event.type]:
            body = schema.load(dict(payload))
            if "id" in payload:
                assert str(body.order_id) == payload["id"]

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_field_it_does_not_know_changes_nothing(
        self, examples: Examples, event: Event, consumer: Consumer
    ) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        payload = examples[event.type][0]
        assert schema.load({**payload, "addedLater": {"deep": [1]}}) == schema.load(dict(payload))

    @pytest.mark.parametrize(("event", "consumer"), CONSUMPTIONS)
    def test_a_missing_field_is_named(self, examples: Examples, event: Event, consumer: Consumer) -> None:
        schema = CONSUMED[consumer.service][event.type]()
        payload = examples[event.type][0]
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

    def test_an_event_sent_by_hand_needs_only_its_body(self, examples: Examples) -> None:
        """Nameko's dispatcher sets no message id, no type and no headers of ours."""
        payload = examples["PAYMENT_SUCCESS"][0]
        by_hand: Mapping[str, Any] = {
            "type": "PAYMENT_SUCCESS",
            "publisher": "payment_service",
            "body": json.dumps(payload),
            "properties": {"content_type": "application/json"},
            "headers": {},
        }
        first, again = read_envelope(**by_hand), read_envelope(**by_hand)
        assert str(CONSUMED["order_service"]["PAYMENT_SUCCESS"]().load(dict(payload)).order_id) == payload["id"]
        assert first.event_id == again.event_id
        assert first.source == "payment_service"

    def test_an_order_dispatched_by_hand_may_leave_out_what_has_a_default(self, examples: Examples) -> None:
        payload = dict(examples["ORDER_CREATED"][0])
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
