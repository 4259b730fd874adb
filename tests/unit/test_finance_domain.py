"""What the stream tells and what follows from it: pure, and whatever the order and number of times it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finance_service.domain import (
    CAPTURED,
    ORDER,
    PAYMENT,
    SETTLE,
    STANDING,
    Arrived,
    Continuity,
    Difference,
    Heartbeat,
    Money,
    Place,
    RowChange,
    Table,
    age_s,
    continuity,
    difference,
    is_certain,
    is_stale,
    is_whole,
    known_until,
    newest,
    progress_of,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)


def change(key: str, lsn: int, row: dict[str, Any] | None, *, is_snapshot: bool = False) -> RowChange:
    return RowChange(
        database=ORDER,
        table=Table.ORDERS,
        key=key,
        lsn=lsn,
        committed_at=NOON + timedelta(seconds=lsn),
        row=row,
        is_snapshot=is_snapshot,
    )


def applied(rows: dict[str, tuple[int, Any, bool]], changes: list[RowChange]) -> dict[str, tuple[int, Any, bool]]:
    """As the statements do it, batch by batch: (place, row, whether it is gone)."""
    rows = dict(rows)
    found = newest(changes)
    for one in [c for c in found if c.row is not None]:
        if one.key not in rows or one.lsn >= rows[one.key][0]:
            rows[one.key] = (one.lsn, one.row, False)
    for one in [c for c in found if c.row is None]:
        if one.key in rows and one.lsn >= rows[one.key][0]:
            rows[one.key] = (one.lsn, rows[one.key][1], True)
    return rows


# One row's life: places in the log grow; it may be deleted and come back.
LIVES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30).map(
    lambda steps: [
        change(key, place, {"n": place} if stays else None) for place, (key, stays) in enumerate(steps, start=1)
    ]
)


class TestNewest:
    @given(LIVES, st.data())
    def test_batches_of_any_size_come_to_the_same(self, life: list[RowChange], data: st.DataObject) -> None:
        one_by_one: dict[str, tuple[int, Any, bool]] = {}
        for one in life:
            one_by_one = applied(one_by_one, [one])
        cuts = sorted(data.draw(st.lists(st.integers(0, len(life)), max_size=4)))
        in_batches: dict[str, tuple[int, Any, bool]] = {}
        for begin, end in zip([0, *cuts], [*cuts, len(life)], strict=True):
            in_batches = applied(in_batches, life[begin:end])

        assert in_batches == one_by_one

    @given(LIVES, st.data())
    def test_what_comes_again_changes_nothing(self, life: list[RowChange], data: st.DataObject) -> None:
        """A connector begins anew at some place that it was at before, and tells all that follows once more."""
        once = applied({}, life)
        again = once
        for _ in range(3):
            again = applied(again, life[data.draw(st.integers(0, len(life))) :])

        assert again == once

    def test_of_a_deleted_row_is_known_what_it_was(self) -> None:
        told = [change("a", 1, {"n": 1}), change("a", 2, {"n": 2}), change("a", 3, None)]
        assert newest(told) == told[1:]


class TestProgress:
    def test_the_newest_moment_of_each_database_counts(self) -> None:
        told = [
            change("a", 5, {}),
            Heartbeat(database=PAYMENT, lsn=None, committed_at=NOON),
            Heartbeat(database=ORDER, lsn=9, committed_at=LATER),
            change("a", 5, {}),
        ]
        order, payment = progress_of(told)
        assert (order.database, order.as_of, order.lsn) == (ORDER, LATER, 9)
        assert (payment.database, payment.as_of, payment.lsn) == (PAYMENT, NOON, None)

    def test_rows_of_a_snapshot_say_nothing_of_the_moment(self) -> None:
        [order] = progress_of([change("a", 5, {}, is_snapshot=True)])
        assert (order.as_of, order.lsn, order.has_snapshot) == (None, None, True)

    def test_what_follows_a_snapshot_does(self) -> None:
        [order] = progress_of([change("a", 5, {}, is_snapshot=True), change("b", 6, {})])
        assert (order.as_of, order.has_snapshot) == (NOON + timedelta(seconds=6), True)


def arrived(offset: int, message_id: str | None = "m9") -> Arrived:
    return Arrived(offset=offset, message_id=message_id, body=b"")


class TestContinuity:
    PLACE = Place(next_offset=10, last_message_id="m9")

    @pytest.mark.parametrize(
        ("first", "expected"),
        [
            (arrived(9), Continuity.WHOLE),
            (arrived(10, "m10"), Continuity.WHOLE),
            (arrived(11, "m11"), Continuity.LOST),
            (arrived(500, "m9"), Continuity.LOST),
            (arrived(9, "another"), Continuity.ANOTHER),
            (arrived(9, None), Continuity.ANOTHER),
            (arrived(3, "m3"), Continuity.ANOTHER),
        ],
    )
    def test_the_first_message_tells(self, first: Arrived, expected: Continuity) -> None:
        assert continuity(self.PLACE, first) is expected

    def test_a_stream_whose_beginning_was_lost_may_begin_at_its_beginning(self) -> None:
        assert continuity(Place(next_offset=0, last_message_id=None), arrived(0)) is Continuity.WHOLE

    def test_what_was_lost_is_whole_again_after_snapshots_of_both(self) -> None:
        before, after = NOON - timedelta(minutes=1), LATER
        known = {ORDER: after, PAYMENT: after}
        assert is_whole(None, {}, {})
        assert is_whole(NOON, {ORDER: after, PAYMENT: after}, known)
        assert not is_whole(NOON, {ORDER: after, PAYMENT: before}, known)
        assert not is_whole(NOON, {ORDER: after}, known)
        assert not is_whole(NOON, {ORDER: after, PAYMENT: after}, {ORDER: after, PAYMENT: before})


class TestAge:
    def test_the_view_is_as_old_as_the_older_of_the_two(self) -> None:
        assert known_until({ORDER: NOON, PAYMENT: LATER}) == NOON
        assert known_until({ORDER: NOON, PAYMENT: None}) is None
        assert known_until({ORDER: NOON}) is None

    def test_nothing_is_younger_than_now(self) -> None:
        assert age_s(LATER, NOON) == 0.0
        assert age_s(NOON, LATER) == 60.0
        assert age_s(None, NOON) is None

    def test_what_is_not_known_is_stale(self) -> None:
        assert is_stale(None, NOON, timedelta(days=1))
        assert not is_stale(NOON, LATER, timedelta(minutes=1))
        assert is_stale(NOON, LATER, timedelta(seconds=59))

    def test_a_difference_is_certain_once_both_are_told_of_what_came_after(self) -> None:
        assert not is_certain(NOON, None)
        assert not is_certain(NOON, NOON + SETTLE - timedelta(microseconds=1))
        assert is_certain(NOON, NOON + SETTLE)


def money(order: str | None, payment: str | None, **changed: Any) -> Money:
    """Of an order for 10.00 that is whole, but for what is said."""
    captured = payment in CAPTURED
    said: dict[str, Any] = {
        "order_status": order,
        "price": Decimal(10) if order else None,
        "order_currency": "EUR" if order else None,
        "payment_status": payment,
        "amount": Decimal(10) if payment else Decimal(0),
        "payment_currency": "EUR" if payment else None,
        "receivable": Decimal(10) if captured else Decimal(0),
    }
    return Money(**{**said, **{name: value if name[-1] == "y" else Decimal(value) for name, value in changed.items()}})


class TestDifference:
    @pytest.mark.parametrize(
        "whole",
        [
            money("PENDING", None),
            money("RESERVED", "PENDING"),
            money("CONFIRMED", "SUCCEEDED"),
            money("FULFILLED", "PARTIALLY_REFUNDED", refunded=4, carried_out=4, receivable=6),
            money("CANCELLED", "REFUNDED", refunded=10, carried_out=10, receivable=0),
            # On its way back.
            money("CANCELLED", "SUCCEEDED", refunding=10),
            money("CANCELLED", "FAILED"),
            money(None, "CANCELLED"),
        ],
    )
    def test_what_fits(self, whole: Money) -> None:
        assert difference(whole) is None

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (money("CONFIRMED", None), Difference.CONFIRMED_NOT_CAPTURED),
            (money("FULFILLED", "FAILED"), Difference.CONFIRMED_NOT_CAPTURED),
            (money(None, "SUCCEEDED"), Difference.CAPTURED_NOT_ORDERED),
            (money("CANCELLED", "SUCCEEDED"), Difference.CAPTURED_NOT_ORDERED),
            (money("CANCELLED", "SUCCEEDED", refunding=9), Difference.CAPTURED_NOT_ORDERED),
            (money("PENDING", "SUCCEEDED"), Difference.CAPTURED_NOT_ORDERED),
            (money("CONFIRMED", "SUCCEEDED", amount=9, receivable=9), Difference.AMOUNT_DIFFERS),
            (money("CONFIRMED", "SUCCEEDED", payment_currency="USD"), Difference.AMOUNT_DIFFERS),
            (
                money("CONFIRMED", "PARTIALLY_REFUNDED", refunded=4, carried_out=3, receivable=6),
                Difference.REFUNDS_DIFFER,
            ),
            (money("CONFIRMED", "SUCCEEDED", receivable=0), Difference.LEDGER_DIFFERS),
            (money("CANCELLED", "FAILED", receivable=10), Difference.LEDGER_DIFFERS),
        ],
    )
    def test_what_does_not(self, found: Money, expected: Difference) -> None:
        assert difference(found) is expected

    @given(st.sampled_from(["PENDING", *STANDING, "CANCELLED"]), st.sampled_from([None, "FAILED", *CAPTURED]))
    def test_money_that_stands_against_an_order_is_there_or_missing(self, order: str, payment: str | None) -> None:
        found = difference(money(order, payment))
        assert (found is Difference.CONFIRMED_NOT_CAPTURED) == (order in STANDING and payment not in CAPTURED)
        assert (found is Difference.CAPTURED_NOT_ORDERED) == (order not in STANDING and payment in CAPTURED)
