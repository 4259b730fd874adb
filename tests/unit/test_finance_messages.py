"""Messages of the stream, read: what is told, what is left out, what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from harness.changes import NOON, Books, Log, Message
from hypothesis import given
from hypothesis import strategies as st

from finance_service.domain import Heartbeat, RowChange, Table
from finance_service.schemas import read_message
from shared.errors import InvalidPayload

ID = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
ORDER = {
    "id": ID,
    "seller_id": "potter",
    "status": "PENDING",
    "price": "10.00",
    "currency": "EUR",
    "created_at": "2026-03-01T12:00:00Z",
}


def body(**said: Any) -> bytes:
    usual = {
        "database": "order",
        "table": "orders",
        "operation": "c",
        "before": None,
        "after": ORDER,
        "lsn": 7,
        "committedAt": "2026-03-01T12:00:01.5Z",
        "isSnapshot": False,
    }
    return json.dumps({**usual, **said}).encode()


def test_a_change_is_read() -> None:
    told = read_message(body(after={**ORDER, "a_column_of_tomorrow": [1]}, memberOfTomorrow=1))
    assert told == RowChange(
        database="order",
        table=Table.ORDERS,
        key=ID,
        lsn=7,
        committed_at=NOON + timedelta(seconds=1.5),
        row={**ORDER, "created_at": NOON},
    )


def test_a_deletion_has_its_key_only() -> None:
    told = read_message(body(operation="d", before={"id": ID, "price": None}, after=None))
    assert isinstance(told, RowChange)
    assert (told.key, told.row) == (ID, None)


def test_a_row_of_a_snapshot_says_so() -> None:
    told = read_message(body(operation="r", isSnapshot=True))
    assert isinstance(told, RowChange)
    assert told.is_snapshot


def test_everything_of_the_shop_is_read() -> None:
    """What the tests publish is what is read: all four tables, and each of their operations."""
    books = Books()
    sold = books.sell()
    books.refund(sold, "1.00")
    books.forget_order(sold)
    books.heartbeat()
    told = [read_message(message.body) for message in [*books.messages, *books.snapshot()]]
    assert {one.table for one in told if isinstance(one, RowChange)} == set(Table)
    assert sum(isinstance(one, Heartbeat) for one in told) == 2


@pytest.mark.parametrize("table", ["order_items", "outbox", "made_tomorrow"])
def test_of_other_tables_only_the_moment_is_of_interest(table: str) -> None:
    told = read_message(body(table=table, after={"what": "ever"}))
    assert told == Heartbeat(database="order", lsn=7, committed_at=NOON + timedelta(seconds=1.5))


def test_a_heartbeat_may_know_no_place() -> None:
    told = read_message(b'{"database":"payment","heartbeat":true,"lsn":null,"committedAt":"2026-03-01T12:00:00Z"}')
    assert told == Heartbeat(database="payment", lsn=None, committed_at=NOON)


def test_another_database_is_none_of_ours() -> None:
    assert read_message(b'{"database":"inventory","table":"stock"}') is None


@pytest.mark.parametrize(
    "said",
    [
        {"after": None},
        {"after": {**ORDER, "price": None}},
        {"after": {**ORDER, "price": 10.0}},
        {"after": {**ORDER, "price": True}},
        {"after": {**ORDER, "price": "ten"}},
        {"after": {**ORDER, "price": "NaN"}},
        {"after": {**ORDER, "id": "order-1"}},
        {"after": {**ORDER, "created_at": "2026-03-01T12:00:00"}},
        {"after": {**ORDER, "seller_id": "a\x00b"}},
        {"after": {name: value for name, value in ORDER.items() if name != "status"}},
        {"lsn": None},
        {"lsn": "7"},
        {"committedAt": None},
        {"operation": "d", "before": None},
        {"table": None},
        {"database": 1},
    ],
)
def test_what_is_needed_and_is_not_there_makes_it_unreadable(said: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidPayload) as caught:
        read_message(body(**said))
    # What it says may be anybody's address.
    assert ORDER["seller_id"] not in str(caught.value)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nonsense_is_refused_and_nothing_else_happens(nonsense: bytes | str) -> None:
    raw = nonsense if isinstance(nonsense, bytes) else nonsense.encode()
    with pytest.raises(InvalidPayload):
        read_message(raw)


def test_the_tests_messages_have_the_connectors_form() -> None:
    message: Message = Log("order").change("orders", "c", ORDER, NOON)
    assert set(message.said) == {
        "database",
        "table",
        "operation",
        "before",
        "after",
        "lsn",
        "transactionId",
        "committedAt",
        "isSnapshot",
    }
    assert message.id == f"order:{message.said['lsn']}:orders:0"
