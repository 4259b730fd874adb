"""Outbox, inbox, idempotency keys and the database's errors: the parts that need no database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import inbox
from shared.database import rows_json, translated_errors
from shared.envelope import Envelope, Outgoing, Received
from shared.errors import (
    BrokenRule,
    DatabaseUnavailable,
    IdempotencyKeyInProgress,
    IdempotencyKeyReused,
    OrderNotFound,
    OrderSagaError,
    TransientError,
)
from shared.idempotency import Claim, _verdict, request_hash
from shared.outbox import OutboxRow, _row, row_from_record
from shared.relaying.order import first_of_each_aggregate

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def an_envelope(number: int = 1, causation_id: UUID | None = None) -> Envelope:
    return Envelope(
        event_id=UUID(int=number),
        type="ORDER_CREATED",
        source="order_service",
        correlation_id="c",
        causation_id=causation_id,
        occurred_at=NOW,
        schema_version=2,
        traceparent="00-1",
    )


class TestOutbox:
    @pytest.mark.parametrize("causation_id", [None, UUID(int=9)])
    def test_a_row_is_read_as_it_was_recorded(self, causation_id: UUID | None) -> None:
        event = Outgoing(envelope=an_envelope(causation_id=causation_id), aggregate_id="a", payload={"id": "ü"})
        (row,) = json.loads(rows_json([_row(event)]))
        read = row_from_record(
            [
                17,
                row["aggregate_id"],
                row["event_id"],
                row["event_type"],
                row["correlation_id"],
                row["causation_id"],
                row["schema_version"],
                row["traceparent"],
                json.dumps(row["payload"]),
                datetime.fromisoformat(row["occurred_at"]),
            ],
            "order_service",
        )
        assert (read.id, read.aggregate_id, read.envelope) == (17, "a", event.envelope)
        assert json.loads(read.body) == event.payload


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_a_window_holds_the_first_row_of_each_aggregate(aggregates: list[str]) -> None:
    rows = [
        OutboxRow(id=number, aggregate_id=aggregate, envelope=an_envelope(number), body=b"{}")
        for number, aggregate in enumerate(aggregates)
    ]
    chosen = list(first_of_each_aggregate(rows))
    assert [row.id for row in chosen] == sorted(aggregates.index(a) for a in set(aggregates))


class TestInbox:
    """The claim itself is a statement; here only what is made of its answer."""

    @given(st.lists(st.integers(1, 5), min_size=1, max_size=10), st.sets(st.integers(1, 5)))
    def test_each_new_event_counts_once_and_in_order(self, numbers: list[int], known: set[int]) -> None:
        def answer(_statement: Any, *, ids: list[str], **_parameters: Any) -> list[Any]:
            new = {UUID(id_) for id_ in ids} - {UUID(int=n) for n in known}
            return [SimpleNamespace(event_id=id_, now=NOW) for id_ in new]

        events = [Received(envelope=an_envelope(n), payload={}, body=n) for n in numbers]
        moments: list[datetime] = []
        tx: Any = SimpleNamespace(fetch=answer, happens_at=moments.append, after_commit=lambda count: count())
        fresh = [event.body for event in inbox.claim(tx, events)]
        assert fresh == [n for n in dict.fromkeys(numbers) if n not in known]
        assert moments == ([NOW] if fresh else [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text("abü"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(list(value))}
    return [_reordered(v) for v in value] if isinstance(value, list) else value


class TestIdempotencyKeys:
    @given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=5))
    def test_the_order_of_keys_does_not_count(self, request: dict[str, Any]) -> None:
        assert request_hash(_reordered(request)) == request_hash(request)

    @pytest.mark.parametrize(
        "other", [{"a": 1, "b": [2, 1]}, {"a": "1", "b": [1, 2]}, {"a": 1}, {"a": 1, "b": [1, 2], "c": None}]
    )
    def test_every_value_counts(self, other: dict[str, Any]) -> None:
        assert request_hash(other) != request_hash({"a": 1, "b": [1, 2]})

    @pytest.mark.parametrize(
        ("is_locked", "found", "claim"),
        [
            (True, None, Claim()),
            (True, SimpleNamespace(request_hash="h", answer={"id": 1}), Claim(answer={"id": 1})),
            (False, SimpleNamespace(request_hash="h", answer={"id": 1}), Claim(answer={"id": 1})),
        ],
    )
    def test_a_key_is_new_or_answered(self, is_locked: bool, found: Any, claim: Claim) -> None:
        assert _verdict("k", "h", is_locked, found) == claim
        assert claim.is_new == (found is None)

    @pytest.mark.parametrize(
        ("is_locked", "found", "error"),
        [
            (False, None, IdempotencyKeyInProgress),
            (True, SimpleNamespace(request_hash="other", answer={}), IdempotencyKeyReused),
            (False, SimpleNamespace(request_hash="other", answer={}), IdempotencyKeyReused),
        ],
    )
    def test_or_refused(self, is_locked: bool, found: Any, error: type[OrderSagaError]) -> None:
        claim = _verdict("k", "h", is_locked, found)
        assert isinstance(claim.error, error)
        assert not claim.is_new


class _DriverError(Exception):
    def __init__(self, pgcode: str | None) -> None:
        super().__init__("first line\nsecond line with data")
        self.pgcode = pgcode


class OperationalError(_DriverError):
    """Called as the driver calls it."""


def raised_as(make: Callable[[], Exception]) -> type[BaseException]:
    with pytest.raises(Exception) as caught, translated_errors():  # noqa: PT011
        raise make()
    return caught.type


class TestDatabaseErrors:
    @pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "57014"])
    def test_busy_is_worth_another_attempt(self, sqlstate: str) -> None:
        assert raised_as(lambda: DBAPIError("s", {}, _DriverError(sqlstate))) is TransientError

    @pytest.mark.parametrize("sqlstate", ["08006", "53300", "53100", "57P01", "57P03", "58030", "25006"])
    def test_away_is_worth_waiting_for(self, sqlstate: str) -> None:
        assert raised_as(lambda: DBAPIError("s", {}, _DriverError(sqlstate))) is DatabaseUnavailable

    def test_a_lost_connection_has_no_code(self) -> None:
        lost = DBAPIError("s", {}, _DriverError(None), connection_invalidated=True)
        assert raised_as(lambda: lost) is DatabaseUnavailable
        assert raised_as(lambda: DBAPIError("s", {}, OperationalError(None))) is DatabaseUnavailable

    @pytest.mark.parametrize("sqlstate", ["22003", "22P05", "23502", "23514"])
    def test_a_value_that_no_column_takes_is_permanent(self, sqlstate: str) -> None:
        assert raised_as(lambda: DBAPIError("s", {}, _DriverError(sqlstate))) is BrokenRule

    @pytest.mark.parametrize("sqlstate", ["23505", "42703", None])
    def test_what_waiting_cannot_mend_stays_as_it_is(self, sqlstate: str | None) -> None:
        assert raised_as(lambda: DBAPIError("s", {}, _DriverError(sqlstate))) is DBAPIError

    def test_no_free_connection_is_transient(self) -> None:
        assert raised_as(lambda: PoolTimeout("pool")) is TransientError
        assert raised_as(lambda: InvalidRequestError("session is gone")) is TransientError

    def test_our_own_errors_and_foreign_ones_pass(self) -> None:
        assert raised_as(OrderNotFound) is OrderNotFound
        assert raised_as(KeyError) is KeyError

    def test_the_message_is_one_line(self) -> None:
        with pytest.raises(TransientError) as caught, translated_errors():
            raise DBAPIError("s", {}, _DriverError("40001"))
        assert "second line" not in str(caught.value)


class TestRows:
    def test_values_are_written_plainly(self) -> None:
        row = {"id": UUID(int=1), "price": Decimal("10.00"), "at": NOW, "none": None}
        assert json.loads(rows_json([row])) == [
            {"id": str(UUID(int=1)), "price": "10.00", "at": "2026-01-01T12:00:00+00:00", "none": None}
        ]

    def test_what_has_no_plain_form_is_refused(self) -> None:
        with pytest.raises(TypeError):
            rows_json([{"odd": object()}])
