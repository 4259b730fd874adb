"""Money, moments and ids on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

from shared.event_schema import EventSchema, Moment, Money, currency, moment_text, order_id, quantity, text

amounts = st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2)


def refused(field: fields.Field[Any], value: Any) -> None:
    with pytest.raises(ValidationError):
        field.deserialize(value)


class TestMoney:
    @given(amounts)
    def test_there_and_back(self, amount: Decimal) -> None:
        written = Money().serialize("a", {"a": amount})
        read = Money().deserialize(written)
        assert read == amount
        assert read.as_tuple().exponent == -2

    @pytest.mark.parametrize(
        ("written", "amount"),
        [
            ("10.00", "10.00"),
            ("10.5", "10.50"),
            ("10", "10.00"),
            ("0", "0.00"),
            ("-5.25", "-5.25"),
            ("-0.00", "0.00"),
            ("007", "7.00"),
            ("9999999999.99", "9999999999.99"),
        ],
    )
    def test_is_read_to_the_cent(self, written: str, amount: str) -> None:
        assert str(Money().deserialize(written)) == amount

    @pytest.mark.parametrize(
        "value",
        [
            10,
            10.0,
            True,
            Decimal(10),
            None,
            [],
            {},
            b"10.00",
            "",
            " ",
            "10.00 ",
            " 10.00",
            "10.00\n",
            "+10.00",
            "10.",
            ".5",
            "10.001",
            "10.000",
            "10,00",
            "1_000.00",
            "1e3",
            "1E-2",
            "0x10",
            "NaN",
            "sNaN",
            "Infinity",
            "-Infinity",
            "inf",
            "--1",
            "10000000000.00",
            "1" * 30,
            "\u0661\u0660.\u0660\u0660",
            "\uff11\uff10.\uff10\uff10",
            "ten",
        ],
    )
    def test_anything_else_is_refused(self, value: Any) -> None:
        refused(Money(required=True), value)

    def test_none_is_written_as_none(self) -> None:
        assert Money().serialize("a", {"a": None}) is None


class TestMoment:
    @given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.timezones()))  # noqa: DTZ001
    def test_there_and_back(self, moment: datetime) -> None:
        written = Moment().serialize("a", {"a": moment})
        assert written is not None
        assert written.endswith("Z")
        read = Moment().deserialize(written)
        assert read == moment.astimezone(UTC)
        assert read.tzinfo is UTC

    def test_is_written_with_microseconds_and_z(self) -> None:
        summer = datetime(2026, 7, 1, 14, tzinfo=timezone(timedelta(hours=2)))
        assert moment_text(summer) == "2026-07-01T12:00:00.000000Z"

    @pytest.mark.parametrize(
        "value",
        [
            5,
            5.0,
            True,
            None,
            [],
            "",
            "now",
            "2026-01-01",
            "2026-01-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "2026-01-01T25:00:00Z",
            "9999-12-31T23:59:59-14:00",
            "0001-01-01T00:00:00+14:00",
        ],
    )
    def test_anything_else_is_refused(self, value: Any) -> None:
        refused(Moment(required=True), value)


class TestOthers:
    @pytest.mark.parametrize("value", ["", "x" * 201, 5, None, True, [], {}])
    def test_a_text_has_1_to_200_characters(self, value: Any) -> None:
        refused(text(), value)
        assert text().deserialize("x" * 200) == "x" * 200

    @pytest.mark.parametrize("value", ["", "eur", "EURO", "EU", "EUR\n", "ÄÖÜ", 5, None])
    def test_a_currency_is_three_capitals(self, value: Any) -> None:
        refused(currency(), value)
        assert currency().deserialize("EUR") == "EUR"

    @pytest.mark.parametrize("value", [0, -1, 1_000_001, 1.0, 1.5, "1", True, False, None, float("nan"), [], {}])
    def test_a_quantity_is_a_positive_whole_number(self, value: Any) -> None:
        refused(quantity(), value)
        assert quantity().deserialize(1_000_000) == 1_000_000

    @pytest.mark.parametrize("value", ["", "no uuid", 5, None, True, [], {}])
    def test_an_order_id_is_a_uuid(self, value: Any) -> None:
        refused(order_id(), value)


@dataclass(frozen=True, kw_only=True)
class Body:
    amount: Decimal


class Example(EventSchema):
    make_value = Body
    amount = Money(required=True, data_key="total")


class TestEventSchema:
    def test_loads_into_its_value_and_ignores_what_it_does_not_know(self) -> None:
        assert Example().load({"total": "1.00", "later": [1]}) == Body(amount=Decimal("1.00"))

    def test_names_what_is_missing_as_it_is_called_on_the_wire(self) -> None:
        with pytest.raises(ValidationError) as missing:
            Example().load({"amount": "1.00"})
        assert missing.value.messages == {"total": ["Missing data for required field."]}

    def test_dumps_under_wire_names(self) -> None:
        assert Example().dump({"amount": Decimal(1)}) == {"total": "1.00"}

    def test_starts_at_version_one(self) -> None:
        assert (Example.schema_version, Example.readable_versions) == (1, (1,))
