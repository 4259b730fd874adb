"""What travels around a payload: there and back unchanged, and nothing odd let in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_ID_LENGTH,
    Envelope,
    StoredCause,
    caused_by,
    decode,
    encode,
    new_id,
    properties_of,
    read_envelope,
)
from shared.errors import InvalidEnvelope, UndecodableMessage

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
ids = st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1, max_size=MAX_ID_LENGTH)
envelopes = st.builds(
    Envelope,
    event_id=st.uuids(),
    type=st.just("ORDER_CREATED"),
    source=ids,
    correlation_id=ids,
    causation_id=st.none() | st.uuids(),
    occurred_at=st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    schema_version=st.integers(1, 32_767),
    traceparent=st.none() | ids,
)


def read(
    body: bytes | str = b"{}", properties: dict[str, Any] | None = None, headers: dict[str, Any] | None = None
) -> Envelope:
    return read_envelope(
        type="ORDER_CREATED",
        publisher="order_service",
        body=body,
        properties=properties or {},
        headers=headers or {},
    )


@given(envelopes)
def test_what_is_written_is_read_again(envelope: Envelope) -> None:
    properties, headers = properties_of(envelope)
    assert read(properties=properties, headers=headers) == envelope
    json.dumps([properties, headers])  # plain values only


class TestWithoutEnvelope:
    """An event dispatched by hand brings nothing but its body."""

    def test_the_id_follows_from_the_content(self) -> None:
        first = read(b'{"id": 1}')
        assert read(b'{"id": 1}').event_id == first.event_id
        assert read('{"id": 1}').event_id == first.event_id
        assert read(b'{"id": 2}').event_id != first.event_id
        other_type = read_envelope(type="X", publisher="p", body=b'{"id": 1}', properties={}, headers={})
        assert other_type.event_id != first.event_id

    def test_derived_ids_never_change(self) -> None:
        """They are in inboxes: another derivation would apply old messages again."""
        assert read(b"{}").event_id == UUID("736e499c-ea19-5876-ac9d-3e76a632b4f2")
        assert read(b"{}", {"message_id": "order-17"}).event_id == UUID("9028e06a-4821-559b-8e0a-82e73327f5d8")

    def test_everything_else_has_a_default(self) -> None:
        before = datetime.now(UTC)
        envelope = read()
        assert envelope.source == "order_service"
        assert envelope.correlation_id == str(envelope.event_id)
        assert (envelope.causation_id, envelope.traceparent, envelope.schema_version) == (None, None, 1)
        assert before <= envelope.occurred_at <= datetime.now(UTC)

    def test_empty_properties_are_absent_ones(self) -> None:
        empty = {"message_id": "", "correlation_id": "", "type": "", "app_id": ""}
        assert read(properties=empty).event_id == read().event_id

    def test_a_message_id_that_is_no_uuid_still_names_the_event(self) -> None:
        first = read(b"1", {"message_id": "order-17"})
        assert read(b"2", {"message_id": "order-17"}).event_id == first.event_id
        assert read(b"1", {"message_id": "order-18"}).event_id != first.event_id


class TestMoments:
    @pytest.mark.parametrize(
        ("properties", "headers", "moment"),
        [
            ({"timestamp": 1}, {"occurred_at": "2026-01-01T12:30:15.123456Z"}, NOW),
            ({}, {"occurred_at": "2026-01-01T14:30:15.123456+02:00"}, NOW),
            ({}, {"occurred_at": "2026-01-01T12:30:15.123456"}, NOW),
            ({"timestamp": 86_400}, {}, datetime(1970, 1, 2, tzinfo=UTC)),
            ({"timestamp": datetime(1970, 1, 2)}, {}, datetime(1970, 1, 2, tzinfo=UTC)),  # noqa: DTZ001
            (
                {"timestamp": datetime(1970, 1, 2, 2, tzinfo=timezone(timedelta(hours=2)))},
                {},
                datetime(1970, 1, 2, tzinfo=UTC),
            ),
        ],
    )
    def test_they_are_read_in_utc(self, properties: dict[str, Any], headers: dict[str, Any], moment: datetime) -> None:
        occurred_at = read(properties=properties, headers=headers).occurred_at
        assert occurred_at == moment
        assert occurred_at.utcoffset() == timedelta(0)


class TestRefusedEnvelopes:
    @pytest.mark.parametrize(
        "properties",
        [
            {"type": "ORDER_CANCELLED"},
            {"type": 5},
            {"message_id": 5},
            {"message_id": ["a"]},
            {"message_id": "x" * (MAX_ID_LENGTH + 1)},
            {"message_id": "a\x00b"},
            {"message_id": "\ud800"},
            {"message_id": "🏆" * 64},
            {"correlation_id": {}},
            {"correlation_id": "x" * (MAX_ID_LENGTH + 1)},
            {"correlation_id": "\udfff"},
            {"app_id": b"bytes"},
            {"app_id": True},
            {"timestamp": 10**30},
            {"timestamp": float("nan")},
        ],
        ids=str,
    )
    def test_properties(self, properties: dict[str, Any]) -> None:
        with pytest.raises(InvalidEnvelope):
            read(properties=properties)

    @pytest.mark.parametrize(
        "headers",
        [
            {"causation_id": "no uuid"},
            {"causation_id": 5},
            {"schema_version": 0},
            {"schema_version": -1},
            {"schema_version": 40_000},
            {"schema_version": "1"},
            {"schema_version": 1.0},
            {"schema_version": True},
            {"schema_version": None},
            {"traceparent": ["00"]},
            {"traceparent": "x" * (MAX_ID_LENGTH + 1)},
            {"occurred_at": "yesterday"},
            {"occurred_at": ""},
            {"occurred_at": "9999-12-31T23:59:59-14:00"},
            {"occurred_at": "0001-01-01T00:00:00+14:00"},
        ],
        ids=str,
    )
    def test_headers(self, headers: dict[str, Any]) -> None:
        with pytest.raises(InvalidEnvelope):
            read(headers=headers)


class TestBodies:
    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**53), 2**53)
                | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3),
                max_leaves=10,
            ),
            max_size=5,
        )
    )
    def test_there_and_back(self, payload: dict[str, Any]) -> None:
        assert decode(encode(payload), {"content_type": "application/json", "content_encoding": "utf-8"}, {}) == payload

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"text"',
            b"5",
            b"\xff\xfe",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": 1,}',
            b"{'a': 1}",
            b'{"a": "\xff"}',
            b'{"a": "\\ud800"}',
            b'{"a": "\\u0000"}',
            b'{"\\u0000": 1}',
            b'{"a": [{"b": "x\\u0000y"}]}',
            b'{"a": "\x00"}',
            "{}\ud800",
            b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
            b'{"a": ' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}",
            b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}',
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_what_is_no_plain_json_object_is_refused(self, body: bytes | str) -> None:
        with pytest.raises(UndecodableMessage):
            decode(body, {}, {})

    @pytest.mark.parametrize(
        ("properties", "headers"),
        [
            ({"content_type": "application/x-python-serialize"}, {}),
            ({"content_type": "application/x-yaml"}, {}),
            ({"content_type": 5}, {}),
            ({"content_encoding": "gzip"}, {}),
            ({"content_encoding": "latin-1"}, {}),
            ({}, {"compression": "application/x-gzip"}),
        ],
    )
    def test_foreign_encodings_are_refused(self, properties: dict[str, Any], headers: dict[str, Any]) -> None:
        with pytest.raises(UndecodableMessage):
            decode(b"{}", properties, headers)

    def test_as_deep_and_as_broad_as_allowed(self) -> None:
        deep = b'{"a": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
        broad = b'{"a": [' + b",".join([b"[]"] * 500) + b'], "b": "[[[[[["}'
        assert encode(decode(deep, {}, {})) == deep.replace(b" ", b"")
        assert len(decode(broad, {}, {})["a"]) == 500

    def test_the_escape_of_a_backslash_is_not_nul(self) -> None:
        assert decode(b'{"a": "\\\\u0000"}', {}, {}) == {"a": "\\u0000"}


class TestCausation:
    CAUSE = StoredCause(event_id=UUID(int=7), correlation_id="corr", traceparent="00-1")

    def caused(self, cause: Any, **options: Any) -> Envelope:
        return caused_by(cause, type="X", source="s", now=NOW, **options)

    def test_an_effect_inherits_correlation_and_trace(self) -> None:
        envelope = self.caused(self.CAUSE)
        assert (envelope.causation_id, envelope.correlation_id, envelope.traceparent) == (
            self.CAUSE.event_id,
            "corr",
            "00-1",
        )

    def test_a_first_event_correlates_with_itself(self) -> None:
        envelope = self.caused(None)
        assert (envelope.causation_id, envelope.correlation_id) == (None, str(envelope.event_id))

    def test_what_is_given_wins(self) -> None:
        envelope = self.caused(self.CAUSE, correlation_id="mine", schema_version=3)
        assert (envelope.correlation_id, envelope.schema_version) == ("mine", 3)

    def test_every_event_has_its_own_id_and_ids_grow_with_time(self) -> None:
        made = [new_id() for _ in range(200)]
        assert len(set(made)) == 200
        assert made == sorted(made)
