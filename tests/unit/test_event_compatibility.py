"""Each way to break the readers of an event, tried on an event made for it: it is refused, and the field is named."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from marshmallow import RAISE, fields, validate

from shared.choreography import ContractBroken
from shared.event_contracts.checking import problems, release_of, unreleased
from shared.event_contracts.compatibility import differences, unreadable
from shared.event_contracts.json_schema import of_class
from shared.event_contracts.releases import Release, add_release, changed_files, read_releases
from shared.event_contracts.samples import samples
from shared.event_schema import EventSchema, Moment, Money, PayloadSchema, currency, order_id, text, unchanged

EVENT, CONSUMER = "THING_HAPPENED", "reader_service"


class Why(StrEnum):
    LOST = "lost"
    SOLD = "sold"


class Line(PayloadSchema):
    item = text()
    quantity = fields.Integer(required=True, strict=True, validate=validate.Range(1, 1000))


class ShorterLine(PayloadSchema):
    item = text(10)
    quantity = fields.Integer(required=True, strict=True, validate=validate.Range(1, 1000))


def base() -> dict[str, Any]:
    return {
        "order_id": order_id(),
        "reason": fields.Enum(Why, by_value=True, required=True),
        "mode": fields.String(required=True, validate=validate.OneOf(["auto", "manual"])),
        "price": Money(required=True, validate=validate.Range(Decimal("0.01"))),
        "count": fields.Integer(required=True, strict=True, validate=validate.Range(0, 100)),
        "items": fields.List(fields.Nested(Line), required=True, validate=validate.Length(1, 10)),
        "at": Moment(required=True, allow_none=True),
        "note": text(100, required=False),
        "currency": currency(),
    }


def event(*, major: int = 1, minor: int = 0, without: Sequence[str] = (), **changes: Any) -> type[EventSchema]:
    """The event as it is published, changed."""
    declared = {name: field for name, field in {**base(), **changes}.items() if name not in without}
    return type("Thing", (EventSchema,), {**declared, "schema_version": major, "schema_minor": minor})


def released(*classes: type[EventSchema]) -> dict[str, list[Release]]:
    return {EVENT: [release_of(EVENT, schema) for schema in classes]}


def said(schema: type[EventSchema], *before: type[EventSchema], **views: type[EventSchema]) -> list[str]:
    seen_as = {(consumer, EVENT): view for consumer, view in views.items()}
    return list(problems({EVENT: schema}, seen_as, released(*before)))


BREAKING = [
    pytest.param(
        {"seller": text()}, "seller is required and has no default, and 1.0 has none", id="added, required, no default"
    ),
    pytest.param(
        {"note": text(100)},
        "note is required and has no default, and 1.0 may leave it out",
        id="optional becomes required",
    ),
    pytest.param(
        {"count": fields.String(required=True)}, "count is integer in 1.0, and only string is read", id="another type"
    ),
    pytest.param(
        {"at": Moment(required=True)}, "at is null in 1.0, and only string is read", id="null is no longer read"
    ),
    pytest.param(
        {"mode": fields.String(required=True, validate=validate.OneOf(["auto"]))},
        "mode may be manual in 1.0, and that is not read",
        id="value removed",
    ),
    pytest.param(
        {"note": fields.String(validate=validate.OneOf(["a", "b"]))},
        "note may be any text in 1.0, and only a, b is read",
        id="a text becomes a choice",
    ),
    pytest.param(
        {"count": fields.Integer(required=True, strict=True, validate=validate.Range(1, 100))},
        "count has minimum 1, and 1.0 has 0",
        id="smallest number raised",
    ),
    pytest.param(
        {"count": fields.Integer(required=True, strict=True, validate=validate.Range(0, 99))},
        "count has maximum 99, and 1.0 has 100",
        id="largest number lowered",
    ),
    pytest.param(
        {"price": Money(required=True, validate=validate.Range(Decimal(1)))},
        "price has minimum 1.00, and 1.0 has 0.01",
        id="smallest amount of money raised",
    ),
    pytest.param({"note": text(50, required=False)}, "note has maxLength 50, and 1.0 has 100", id="text shortened"),
    pytest.param(
        {"items": fields.List(fields.Nested(Line), required=True, validate=validate.Length(2, 10))},
        "items has minItems 2, and 1.0 has 1",
        id="more entries needed",
    ),
    pytest.param(
        {"items": fields.List(fields.Nested(ShorterLine), required=True, validate=validate.Length(1, 10))},
        "items[].item has maxLength 10, and 1.0 has 200",
        id="inside a list",
    ),
    pytest.param({"note": fields.UUID()}, "note is a uuid, and a plain text in 1.0", id="a text becomes an id"),
    pytest.param(
        {"currency": fields.String(required=True, validate=validate.Regexp(r"\A[A-Z]{2}\Z"))},
        "currency has the pattern ^[A-Z]{2}$, and 1.0 has ^[A-Z]{3}$",
        id="another pattern",
    ),
]
HARMLESS = [
    pytest.param({"seller": text(required=False)}, (), id="added, optional"),
    pytest.param({"seller": text(required=False, allow_none=True, load_default=None)}, (), id="added, with a default"),
    pytest.param({}, ("note",), id="optional field removed"),
    pytest.param({"note": text(200, required=False)}, (), id="text lengthened"),
    pytest.param({"count": fields.Integer(required=True, strict=True)}, (), id="limits taken away"),
    pytest.param(
        {"mode": fields.String(required=True, validate=validate.OneOf(["auto", "manual", "later"]))},
        (),
        id="value added",
    ),
    pytest.param({"price": Money(required=True)}, (), id="more money allowed"),
]


class TestBackward:
    @pytest.mark.parametrize(("changes", "expected"), BREAKING)
    def test_a_breaking_change_is_refused_and_named(self, changes: dict[str, Any], expected: str) -> None:
        """Given a new minor that cannot read the release before it, then event, version and field are named."""
        found = said(event(minor=1, **changes), event())

        assert f"{EVENT}: the class cannot read 1.0: {expected}" in found

    @pytest.mark.parametrize(("changes", "without"), HARMLESS)
    def test_a_harmless_one_is_not(self, changes: dict[str, Any], without: tuple[str, ...]) -> None:
        assert said(event(minor=1, without=without, **changes), event()) == []

    def test_every_release_of_the_major_counts_not_the_last_one_alone(self) -> None:
        """Given a field that 1.1 has made longer and 1.2 leaves there, then what 1.0 allows is compared too."""
        first = event(note=text(300, required=False))
        second = event(minor=1, without=("note",))
        third = event(minor=2, note=text(200, required=False))

        assert said(third, first, second) == [
            f"{EVENT}: the class cannot read 1.0: note has maxLength 200, and 1.0 has 300"
        ]

    def test_a_new_major_may_break_everything(self) -> None:
        assert said(event(major=2, without=("price",), price=text(), cost=Money(required=True)), event()) == []

    def test_the_avro_schema_has_to_resolve_too(self) -> None:
        """Given a choice that becomes any text: JSON reads it, Avro has no such promotion."""
        [found] = said(event(minor=1, mode=fields.String(required=True)), event())

        assert found.startswith(f"{EVENT}: the class's Avro schema does not resolve 1.0: mode")


class TestVersions:
    def test_a_change_without_a_new_version_names_event_version_and_field(self) -> None:
        [found] = said(event(note=text(200, required=False)), event())

        assert found == (
            f"{EVENT} 1.0: note is not as it was released (maxLength 100 → 200); "
            "give the class schema_minor = 1, or a new major"
        )

    @pytest.mark.parametrize(
        ("changes", "without", "expected"),
        [
            ({"seller": text(required=False)}, (), "seller is not as it was released (added)"),
            ({}, ("note",), "note is not as it was released (removed)"),
            ({"note": text(100)}, (), "note is not as it was released (now required)"),
            (
                {"items": fields.List(fields.Nested(ShorterLine), required=True, validate=validate.Length(1, 10))},
                (),
                "items[].item is not as it was released (maxLength 200 → 10)",
            ),
        ],
    )
    def test_each_kind_of_change_is_said(
        self, changes: dict[str, Any], without: tuple[str, ...], expected: str
    ) -> None:
        assert any(expected in line for line in said(event(without=without, **changes), event()))

    def test_a_silent_change_that_breaks_readers_is_said_to_do_so(self) -> None:
        found = said(event(note=text(50, required=False)), event())

        assert len(found) == 2
        assert found[1] == f"{EVENT}: the class cannot read 1.0: note has maxLength 50, and 1.0 has 100"

    @pytest.mark.parametrize("version", [(1, 2), (3, 0), (2, 1), (0, 9)])
    def test_versions_follow_one_another(self, version: tuple[int, int]) -> None:
        major, minor = version
        found = said(event(major=major, minor=minor, seller=text(required=False)), event())

        assert f"{EVENT}: the class says {major}.{minor}; after 1.0 comes 1.1 or 2.0" in found

    def test_a_new_minor_says_something_new(self) -> None:
        assert said(event(minor=1), event()) == [f"{EVENT}: the class says 1.1, and nothing differs from 1.0"]

    def test_what_is_not_released_yet_is_no_problem_but_known(self) -> None:
        assert said(event()) == []
        assert list(unreleased({EVENT: event()}, {})) == [EVENT]
        assert unreleased({EVENT: event()}, released(event())) == {}


class View(EventSchema):
    order_id = order_id()
    count = fields.Integer(required=True, strict=True, validate=validate.Range(0))


class StrictView(View):
    class Meta:
        unknown = RAISE


class CautiousView(View):
    count = fields.Integer(required=True, strict=True, validate=validate.Range(1))


class NewFieldView(View):
    seller = text(load_default="nobody", required=False)


class ReadsSecond(EventSchema):
    schema_version = 2
    upcasters = {1: unchanged}  # noqa: RUF012
    order_id = order_id()


class WithoutUpcaster(ReadsSecond):
    upcasters = {}  # noqa: RUF012


class MisledReader(ReadsSecond):
    upcasters = {1: lambda payload: {"id": payload["identity"]}}  # noqa: RUF012


class NeedsMore(View):
    @staticmethod
    def make_value(*, order_id: object, count: int, note: str) -> object:
        return (order_id, count, note)

    note = text(100, required=False)


class TestConsumers:
    def test_a_view_that_reads_all_of_it_is_fine(self) -> None:
        """Given fewer fields, wider limits and a default for what only the newest release has, then nothing is said."""
        newest = event(minor=1, seller=text(required=False))

        assert said(newest, event(), reader_service=View, another_service=NewFieldView) == []

    def test_a_view_that_is_narrower_than_what_is_written_is_named(self) -> None:
        assert said(event(), event(), reader_service=CautiousView) == [
            "reader_service cannot read THING_HAPPENED 1.0: count has minimum 1, and 1.0 has 0"
        ]

    def test_every_released_version_counts(self) -> None:
        newest = event(minor=1, count=fields.Integer(required=True, strict=True, validate=validate.Range(1)))

        found = said(newest, event(), reader_service=CautiousView)

        assert "reader_service cannot read THING_HAPPENED 1.0: count has minimum 1, and 1.0 has 0" in found
        assert not any("reader_service cannot read THING_HAPPENED 1.1" in line for line in found)

    def test_what_the_publisher_stops_to_send_is_missed_by_whoever_needs_it(self) -> None:
        """Given a required field that a new minor drops, then the publisher's schema reads all, the consumer's not."""
        assert said(event(minor=1, without=("count",)), event(), reader_service=View) == [
            "reader_service cannot read THING_HAPPENED 1.1: count is required and has no default, and 1.1 has none"
        ]

    def test_a_view_that_refuses_what_it_does_not_know_cannot_be_older_than_the_publisher(self) -> None:
        found = said(event(), event(), reader_service=StrictView)

        assert "reader_service cannot read THING_HAPPENED 1.0: price is written by 1.0, and refused as unknown" in found

    def test_a_value_that_the_view_cannot_be_made_of_is_found_by_making_it(self) -> None:
        [found] = said(event(), event(), reader_service=NeedsMore)

        assert found.startswith("reader_service cannot read THING_HAPPENED 1.0: TypeError")
        assert "note" in found

    def test_an_old_major_is_read_through_its_upcasters(self) -> None:
        second = event(major=2, without=("price",))

        assert said(second, event(), reader_service=ReadsSecond) == []
        assert said(second, event(), reader_service=MisledReader) == [
            "reader_service cannot read THING_HAPPENED 1.0: KeyError: 'identity'"
        ]

    def test_majors_that_it_does_not_say_it_reads_are_not_asked_of_it(self) -> None:
        assert said(event(major=2), event(), reader_service=WithoutUpcaster) == []

    def test_the_major_that_is_published_has_to_be_among_them(self) -> None:
        assert said(event(major=2, without=("note",)), event(), reader_service=View) == [
            "reader_service reads THING_HAPPENED 1; published is 2"
        ]


class TestReleasedFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        add_release(EVENT, release_of(EVENT, event()), tmp_path)
        add_release(EVENT, release_of(EVENT, event(minor=1, without=("note",))), tmp_path)
        return tmp_path

    def test_they_are_read_as_they_were_written(self, folder: Path) -> None:
        assert read_releases(folder) == released(event(), event(minor=1, without=("note",)))
        assert list(changed_files(folder)) == []

    def test_versions_are_numbers_not_texts(self, folder: Path) -> None:
        for minor in range(2, 12):
            add_release(EVENT, release_of(EVENT, event(minor=minor)), folder)

        assert [release.version.minor for release in read_releases(folder)[EVENT]] == list(range(12))

    @pytest.mark.parametrize("name", ["1.0.schema.json", "1.0.avsc"])
    def test_one_that_was_changed_is_named(self, folder: Path, name: str) -> None:
        path = folder / EVENT / name
        path.write_text(path.read_text().replace("order", "other").replace("quantity", "number"))

        assert list(changed_files(folder)) == [
            f"{EVENT}/{name} was released and has been changed since: take it back, and release a new version"
        ]

    def test_one_that_is_gone_is_named(self, folder: Path) -> None:
        (folder / EVENT / "1.0.avsc").unlink()

        assert list(changed_files(folder)) == [f"{EVENT}/1.0.avsc was released and is gone: take it back"]

    def test_one_that_was_put_there_by_hand_is_named(self, folder: Path) -> None:
        (folder / EVENT / "1.2.schema.json").write_text("{}")

        assert list(changed_files(folder)) == [
            f"{EVENT}/1.2.schema.json is not in released.yml: only `make schemas` adds files"
        ]

    def test_nothing_is_written_over_a_release(self, folder: Path) -> None:
        with pytest.raises(FileExistsError):
            add_release(EVENT, release_of(EVENT, event(without=("note",))), folder)


class TestJsonSchema:
    def test_a_schema_says_what_the_class_does(self) -> None:
        schema = of_class(event())

        assert schema["required"] == ["at", "count", "currency", "id", "items", "mode", "price", "reason"]
        assert schema["properties"]["price"] == {
            "type": "string",
            "format": "money",
            "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$",
            "not": {"pattern": r"^0+(\.0+)?$"},
            "x-minimum": "0.01",
        }
        assert schema["properties"]["at"] == {"type": ["string", "null"], "format": "date-time"}
        assert schema["properties"]["reason"] == {"type": "string", "enum": ["lost", "sold"]}
        assert schema["properties"]["items"]["items"]["properties"]["quantity"] == {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
        }

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            (fields.Dict(), "Dict is a kind of field that has no JSON Schema here"),
            (fields.String(validate=validate.NoneOf(["a"])), "NoneOf has no JSON Schema here"),
            (fields.Integer(validate=validate.Range(1, min_inclusive=False)), "Range has no JSON Schema here"),
        ],
    )
    def test_what_cannot_be_said_is_refused(self, field: fields.Field[Any], said: str) -> None:
        with pytest.raises(ContractBroken) as refused:
            of_class(event(odd=field))
        assert said in str(refused.value)

    def test_a_schema_reads_itself_and_differs_from_itself_in_nothing(self) -> None:
        schema = of_class(event())

        assert list(unreadable(schema, schema)) == []
        assert list(differences(schema, schema)) == []

    def test_samples_load_and_are_not_all_the_same(self) -> None:
        schema = event()
        made = samples(of_class(schema))

        assert len(made) == 3
        for payload in made:
            schema().load(payload)
        assert "note" not in made[1]
        assert made[2]["count"] == 100
