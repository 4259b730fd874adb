"""What was released stays readable: every version of every event, by its publisher, by each consumer, and in Avro."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from avro.io import BinaryDecoder, BinaryEncoder, DatumReader, DatumWriter
from avro.schema import Schema as AvroSchema
from avro.schema import make_avsc_object
from simulation.bus import CHOREOGRAPHY
from simulation.runner import Bench

from shared.event_contracts.__main__ import check, main
from shared.event_contracts.releases import Release, changed_files, read_releases
from shared.event_contracts.samples import samples
from shared.event_contracts.sources import consumed_views, published_classes

RELEASES = read_releases()
PUBLISHED = published_classes(CHOREOGRAPHY)
VIEWS = consumed_views(CHOREOGRAPHY)
EACH = [
    pytest.param(event, release, id=f"{event}-{release.version}")
    for event, releases in RELEASES.items()
    for release in releases
]
READINGS = [
    pytest.param(event, release, consumer, id=f"{event}-{release.version}-{consumer}")
    for (consumer, event), view in VIEWS.items()
    for release in RELEASES[event]
    if release.version.major in view.readable_versions
]
SCHEDULES = 60

Payloads = Mapping[str, list[Mapping[str, Any]]]


@pytest.fixture(scope="session")
def said(schedules: Bench) -> Payloads:
    """Payloads as the services' relays published them in simulated schedules."""
    found: dict[str, list[Mapping[str, Any]]] = {event: [] for event in CHOREOGRAPHY.events}
    for seed in range(SCHEDULES):
        for event in schedules.run_seed(seed).events:
            found[event.type].append(event.payload)
    return found


class TestAsTheyAre:
    def test_nothing_is_wrong(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert check() == []
        assert main(["check"]) == 0
        assert capsys.readouterr().err == ""

    def test_nothing_was_changed_since(self) -> None:
        assert list(changed_files()) == []

    def test_every_event_is_released(self) -> None:
        assert set(RELEASES) == set(CHOREOGRAPHY.events)

    def test_an_event_that_grew_before_there_were_releases_has_both_versions(self) -> None:
        """INVENTORY_RESERVED had no sellerId at first; what was said then is still read, as nobody's in particular."""
        first, second = RELEASES["INVENTORY_RESERVED"]
        assert second.schema["properties"].keys() - first.schema["properties"].keys() == {"sellerId"}
        view = VIEWS["payment_service", "INVENTORY_RESERVED"]()
        assert view.load(samples(first.schema)[0]).seller_id is None


class TestJsonSchema:
    @pytest.mark.parametrize(("event", "release"), EACH)
    def test_it_is_a_schema_of_its_dialect(self, event: str, release: Release) -> None:
        assert release.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert release.schema["$id"] == f"urn:ordersaga:event:{event}:{release.version}"
        jsonschema_rs.meta.validate(release.schema)

    @pytest.mark.parametrize(("event", "release"), EACH)
    def test_its_samples_are_valid_and_its_publishers_class_loads_them(self, event: str, release: Release) -> None:
        validator = jsonschema_rs.validator_for(release.schema, validate_formats=True)
        for payload in samples(release.schema):
            validator.validate(payload)
            PUBLISHED[event]().load(payload)

    @pytest.mark.parametrize("event", CHOREOGRAPHY.events)
    def test_what_the_services_really_say_is_valid(self, event: str, said: Payloads) -> None:
        validator = jsonschema_rs.validator_for(RELEASES[event][-1].schema, validate_formats=True)
        for payload in said[event]:
            assert [error.message for error in validator.iter_errors(dict(payload))] == []


class TestConsumers:
    @pytest.mark.parametrize(("event", "release", "consumer"), READINGS)
    def test_each_reads_every_version_that_it_says_it_reads(self, event: str, release: Release, consumer: str) -> None:
        view = VIEWS[consumer, event]
        for payload in samples(release.schema):
            assert view().load(view().upcast(payload, release.version.major))

    @pytest.mark.parametrize(("event", "release", "consumer"), READINGS)
    def test_each_reads_a_later_minor_too(self, event: str, release: Release, consumer: str) -> None:
        """The other direction: a consumer that is older than its publisher ignores what it does not know."""
        view = VIEWS[consumer, event]
        payload = samples(release.schema)[0]
        older = view().upcast(payload, release.version.major)
        newer = view().upcast({**payload, "addedLater": {"deep": [1]}}, release.version.major)
        assert view().load(newer) == view().load(older)


class TestAvro:
    @pytest.mark.parametrize(("event", "release"), EACH)
    def test_samples_go_there_and_come_back(self, event: str, release: Release) -> None:
        schema = make_avsc_object(release.avro)
        for payload in samples(release.schema):
            value = as_avro(release.schema, payload)
            assert read(schema, schema, written(schema, value)) == value

    @pytest.mark.parametrize(("event", "release"), EACH)
    def test_the_newest_of_a_major_reads_what_each_wrote(self, event: str, release: Release) -> None:
        newest = [other for other in RELEASES[event] if other.version.major == release.version.major][-1]
        writer, reader = make_avsc_object(release.avro), make_avsc_object(newest.avro)
        for payload in samples(release.schema):
            value = as_avro(release.schema, payload)
            got = read(writer, reader, written(writer, value))
            assert {name: got[name] for name in value if name in got} == {n: v for n, v in value.items() if n in got}
            assert got.keys() == newest.schema["properties"].keys()

    @pytest.mark.parametrize("event", CHOREOGRAPHY.events)
    def test_what_the_services_really_say_fits(self, event: str, said: Payloads) -> None:
        release = RELEASES[event][-1]
        schema = make_avsc_object(release.avro)
        for payload in said[event][:20]:
            value = as_avro(release.schema, dict(payload))
            assert read(schema, schema, written(schema, value)) == value


def as_avro(schema: Mapping[str, Any], value: Any) -> Any:
    """A payload as Avro holds it: money is a decimal, a moment a moment, and what is left out is null."""
    if value is None:
        return None
    if "properties" in schema:
        return {name: as_avro(inner, value.get(name)) for name, inner in schema["properties"].items()}
    if "items" in schema:
        return [as_avro(schema["items"], one) for one in value]
    if schema.get("format") == "money":
        return Decimal(value).quantize(Decimal("0.01"))
    return datetime.fromisoformat(value) if schema.get("format") == "date-time" else value


def written(schema: AvroSchema, value: Any) -> bytes:
    out = io.BytesIO()
    DatumWriter(schema).write(value, BinaryEncoder(out))
    return out.getvalue()


def read(writer: AvroSchema, reader: AvroSchema, content: bytes) -> Any:
    return DatumReader(writer, reader).read(BinaryDecoder(io.BytesIO(content)))
