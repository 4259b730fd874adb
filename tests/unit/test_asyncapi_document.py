"""docs/asyncapi.json: valid AsyncAPI, and the whole contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from shared.choreography import load_choreography
from shared.choreography.definitions import definitions
from shared.choreography.model import Event
from shared.event_contracts.asyncapi import asyncapi
from shared.event_contracts.releases import read_releases
from shared.event_contracts.sources import published_classes

CHOREOGRAPHY = load_choreography()
RELEASES = read_releases()
DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "asyncapi.json").read_text(encoding="utf-8")
)
OFFICIAL = json.loads((Path(__file__).parent / "vendor" / "asyncapi-3.0.0.json").read_text(encoding="utf-8"))
EVENTS = list(CHOREOGRAPHY.events.values())


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


class TestValidity:
    def test_it_is_what_the_official_schema_asks_for(self) -> None:
        errors = jsonschema_rs.validator_for(OFFICIAL).iter_errors(DOCUMENT)

        assert [f"{error.instance_path}: {error.message[:300]}" for error in errors] == []

    @pytest.mark.parametrize("part", ["asyncapi", "info"])
    def test_the_official_schema_would_see_what_is_missing(self, part: str) -> None:
        broken = {name: value for name, value in DOCUMENT.items() if name != part}

        assert not jsonschema_rs.validator_for(OFFICIAL).is_valid(broken)

    def test_the_official_schema_would_see_an_action_that_is_none(self) -> None:
        broken = json.loads(json.dumps(DOCUMENT))
        next(iter(broken["operations"].values()))["action"] = "shout"

        assert not jsonschema_rs.validator_for(OFFICIAL).is_valid(broken)

    def test_every_reference_leads_somewhere(self) -> None:
        found = references(DOCUMENT)

        assert len(found) > 3 * len(EVENTS)
        for reference in found:
            assert resolve(reference)

    def test_it_is_generated(self) -> None:
        assert asyncapi(CHOREOGRAPHY, RELEASES) == DOCUMENT


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
class TestEachEvent:
    def test_its_publisher_and_consumers_are_those_of_the_contract(self, event: Event) -> None:
        about = [said for said in DOCUMENT["operations"].values() if said["messages"][0]["$ref"].endswith(event.type)]

        assert {(said["action"], said["tags"][0]["name"]) for said in about} == {
            ("send", event.publisher),
            *(("receive", consumer.service) for consumer in event.consumers),
        }

    def test_its_exchange_and_queues_are_the_brokers(self, event: Event) -> None:
        broker = definitions(CHOREOGRAPHY)
        bindings = [
            channel["bindings"]["amqp"]
            for channel in DOCUMENT["channels"].values()
            if event.type in channel["messages"]
        ]

        exchanges = {binding["exchange"]["name"] for binding in bindings if binding["is"] == "routingKey"}
        queues = {binding["queue"]["name"] for binding in bindings if binding["is"] == "queue"}
        bound = [b for b in broker["bindings"] if b["routing_key"] == event.type]
        assert exchanges == {f"{event.publisher}.events"}
        assert queues == {binding["destination"] for binding in bound}

    def test_its_payload_is_the_newest_release_and_all_versions_are_named(self, event: Event) -> None:
        message = DOCUMENT["components"]["messages"][event.type]
        newest = RELEASES[event.type][-1]

        payload = resolve(message["payload"]["$ref"])
        assert payload == {k: v for k, v in newest.schema.items() if k not in ("$schema", "$id")}
        assert message["x-versions"] == [str(release.version) for release in RELEASES[event.type]]
        assert message["headers"]["properties"]["schema_version"]["const"] == newest.version.major

    def test_its_example_is_one(self, event: Event) -> None:
        """By the schema, and by the publisher's own class."""
        [example] = DOCUMENT["components"]["messages"][event.type]["examples"]

        jsonschema_rs.validator_for(RELEASES[event.type][-1].schema, validate_formats=True).validate(example["payload"])
        published_classes(CHOREOGRAPHY)[event.type]().load(example["payload"])
