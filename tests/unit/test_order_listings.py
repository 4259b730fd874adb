"""What may be asked of lists of orders, how ids are found by their beginning or their time, what the board says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from order_service.board import DONE, SHIPMENT, Actor, awaited, expected, step_of
from order_service.deadlines import Rules, Wait, resolved, scheduled
from order_service.listings import follow_orders, list_orders
from order_service.saga_requests import _answers, list_sagas
from order_service.search import prefix_range, tail
from order_service.settings import Settings
from order_service.states import CancelReason, Flag, Money, Order, OrderStatus, Stock
from shared.config import Source
from shared.envelope import new_id
from shared.errors import InvalidRequest, Misconfigured
from shared.identity import TRUSTED
from shared.time_ids import first_id, last_id

NO_DATABASE: Any = None
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = "0192f3a1-b2c3-7d4e-8f5a-6b7c8d9e0f1a"

RULES = Rules(
    pending_deadline=timedelta(minutes=1),
    approval_deadline=timedelta(minutes=1),
    reserved_grace=timedelta(minutes=1),
    finish_deadline=timedelta(minutes=1),
)


def order(status: OrderStatus, **known: Any) -> Order:
    return Order(id=UUID(int=1), status=status, price=Decimal(10), **known)


class TestWhatIsOddIsRefusedBeforeAnyQuery:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 101}, "limit"),
            ({"limit": True}, "limit"),
            ({"limit": "5"}, "limit"),
            ({"cursor": "no uuid"}, "cursor"),
            ({"cursor": 5}, "cursor"),
            ({"status": "SHIPPED"}, "status"),
            ({"status": ["PENDING"]}, "status"),
            ({"userId": {"or": 1}}, "userId"),
            ({"sellerId": ""}, "sellerId"),
            ({"item": 7}, "item"),
            ({"since": "yesterday"}, "since"),
            ({"since": "2026-01-01"}, "since"),
            ({"until": "2026-01-01T00:00:00"}, "until"),
            ({"text": ""}, "text"),
            ({"text": "x" * 201}, "text"),
        ],
    )
    def test_orders(self, change: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            list_orders(NO_DATABASE, TRUSTED, **{"limit": 5, **change})
        assert list(refused.value.details["errors"]) == [field]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"state": "lost"}, "state"),
            ({"cursor": ID}, "cursor"),
            ({"cursor": "1.x"}, "cursor"),
            ({"cursor": 5}, "cursor"),
            ({"text": 5}, "text"),
            ({"step": "lunch"}, "step"),
            ({"waitsFor": "godot"}, "waitsFor"),
            ({"status": "SHIPPED"}, "status"),
            ({"userId": 7}, "userId"),
            ({"sellerId": ""}, "sellerId"),
            ({"since": "yesterday"}, "since"),
            ({"until": "2026-01-01"}, "until"),
        ],
    )
    def test_sagas(self, change: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            list_sagas(NO_DATABASE, TRUSTED, **{"limit": 5, **change})
        assert list(refused.value.details["errors"]) == [field]

    @pytest.mark.parametrize(
        "wanted",
        [
            None,
            {},
            ["x"],
            [{}],
            [{"orderId": 5}],
            [{"orderId": ID, "after": -1}],
            [{"orderId": ID, "after": "1"}],
            [{"orderId": ID, "after": 2**63}],
            [{"orderId": ID}] * 501,
        ],
    )
    def test_followed_orders(self, wanted: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            follow_orders(NO_DATABASE, TRUSTED, wanted)
        assert list(refused.value.details["errors"]) == ["wanted"]


class TestIds:
    @pytest.mark.parametrize("sought", [ID, ID[:8], ID[:9], ID[:20], ID.replace("-", ""), ID[:8].upper(), ID[:-1]])
    def test_a_beginning_of_an_id_finds_it(self, sought: str) -> None:
        found = prefix_range(sought)
        assert found is not None
        assert found[0] <= UUID(ID) <= found[1]

    @pytest.mark.parametrize("sought", [ID[:7], "user-1", "0192f3a1b2-c3", "-" * 8, ID + "0", "0192f3a1--", "0192f3ag"])
    def test_what_begins_no_id_finds_none(self, sought: str) -> None:
        assert prefix_range(sought) is None

    @pytest.mark.parametrize(
        ("sought", "found"),
        [(ID[-8:], ID[-8:]), (ID[-8:].upper(), ID[-8:]), (ID[-7:], None), (ID[-9:], None), ("user-123", None)],
    )
    def test_the_end_that_lists_show_finds_it(self, sought: str, found: str | None) -> None:
        assert tail(sought) == found

    def test_another_beginning_does_not(self) -> None:
        found = prefix_range("0192f3a2")
        assert found is not None
        assert not found[0] <= UUID(ID) <= found[1]

    def test_a_period_bounds_the_ids_made_in_it(self) -> None:
        before = datetime.now(UTC)
        made = new_id()
        after = datetime.now(UTC)
        assert first_id(before) <= made <= last_id(after)
        assert first_id(before + timedelta(hours=23)) < made < last_id(after - timedelta(hours=23))
        assert made < first_id(after + timedelta(hours=25))
        assert last_id(before - timedelta(hours=25)) < made

    @pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    def test_the_ends_of_time_have_ids_too(self, moment: datetime) -> None:
        assert first_id(moment) <= last_id(moment)


class TestBoard:
    @pytest.mark.parametrize(
        ("saga", "step", "actor"),
        [
            (order(OrderStatus.PENDING, awaits_approval=True), Wait.APPROVAL, Actor.SELLER),
            (order(OrderStatus.PENDING), Wait.ANSWER, Actor.INVENTORY),
            (order(OrderStatus.RESERVED), Wait.PAYMENT, Actor.PAYMENT),
            (order(OrderStatus.RESERVED, money=Money.AWAITED), Wait.PAYMENT, Actor.CUSTOMER),
            (order(OrderStatus.CONFIRMED), Wait.STOCK, Actor.INVENTORY),
            (order(OrderStatus.CONFIRMED, stock=Stock.HELD), SHIPMENT, Actor.SELLER),
            (order(OrderStatus.CONFIRMED, fulfil_requested_at=NOW), Wait.FULFILMENT, Actor.INVENTORY),
            (order(OrderStatus.FULFILLED), DONE, Actor.NOBODY),
            (order(OrderStatus.CANCELLED, reason=CancelReason.TIMEOUT), Wait.COMPENSATION, Actor.INVENTORY),
            (order(OrderStatus.CANCELLED, stock=Stock.FREE), Wait.COMPENSATION, Actor.PAYMENT),
            (order(OrderStatus.CANCELLED, settled_at=NOW), DONE, Actor.NOBODY),
        ],
    )
    def test_who_has_to_do_something_next(self, saga: Order, step: str, actor: Actor) -> None:
        assert (step_of(saga), awaited(saga)) == (step, actor)
        assert saga.is_whole == (actor is Actor.NOBODY)

    @pytest.mark.parametrize(
        ("saga", "next_", "later"),
        [
            (
                order(OrderStatus.PENDING, awaits_approval=True),
                [("seller", None)],
                [("inventory", "ORDER_APPROVED"), ("payment", "INVENTORY_RESERVED"), ("order", "PAYMENT_SUCCESS")],
            ),
            (
                order(OrderStatus.PENDING),
                [("inventory", "ORDER_CREATED")],
                [("payment", "INVENTORY_RESERVED"), ("order", "PAYMENT_SUCCESS")],
            ),
            (
                order(OrderStatus.PENDING, approved_at=NOW),
                [("inventory", "ORDER_APPROVED")],
                [("payment", "INVENTORY_RESERVED"), ("order", "PAYMENT_SUCCESS")],
            ),
            (order(OrderStatus.RESERVED), [("payment", "INVENTORY_RESERVED")], [("order", "PAYMENT_SUCCESS")]),
            (
                order(OrderStatus.RESERVED, money=Money.AWAITED),
                [("customer", "INVENTORY_RESERVED")],
                [("order", "PAYMENT_SUCCESS")],
            ),
            (
                order(OrderStatus.CONFIRMED),
                [("inventory", "PAYMENT_SUCCESS")],
                [("inventory", "ORDER_FULFILLED")],
            ),
            (order(OrderStatus.CONFIRMED, stock=Stock.HELD), [("seller", None)], [("inventory", "ORDER_FULFILLED")]),
            (order(OrderStatus.CONFIRMED, fulfil_requested_at=NOW), [("inventory", "ORDER_FULFILLED")], []),
            (
                order(OrderStatus.CANCELLED),
                [("inventory", "ORDER_CANCELLED"), ("payment", "ORDER_CANCELLED")],
                [],
            ),
            (order(OrderStatus.CANCELLED, stock=Stock.FREE), [("payment", "ORDER_CANCELLED")], []),
            (order(OrderStatus.CANCELLED, money=Money.NOT_TAKEN), [("inventory", "ORDER_CANCELLED")], []),
            (order(OrderStatus.CANCELLED, settled_at=NOW), [], []),
            (order(OrderStatus.FULFILLED), [], []),
        ],
    )
    def test_what_is_still_expected_is_what_the_choreography_declares(
        self, saga: Order, next_: list[tuple[str, str | None]], later: list[tuple[str, str]]
    ) -> None:
        steps = expected(saga, _answers)
        assert [(step.who, step.answers_to) for step in steps if step.is_next] == next_
        assert [(step.who, step.answers_to) for step in steps if not step.is_next] == later
        assert all(step.events for step in steps)

    @pytest.mark.parametrize(
        ("saga", "is_whole", "has_checked_out"),
        [
            (order(OrderStatus.PENDING), False, False),
            (order(OrderStatus.RESERVED), False, False),
            (order(OrderStatus.CONFIRMED), False, True),
            (order(OrderStatus.FULFILLED), True, True),
            (order(OrderStatus.CANCELLED), False, False),
            (order(OrderStatus.CANCELLED, settled_at=NOW), True, True),
        ],
    )
    def test_when_a_saga_has_ended(self, saga: Order, is_whole: bool, has_checked_out: bool) -> None:
        assert (saga.is_whole, saga.has_checked_out) == (is_whole, has_checked_out)


class TestResolving:
    def test_takes_flag_and_clock_away_and_nothing_else(self) -> None:
        late = order(OrderStatus.PENDING, flag=Flag.PENDING_OVERDUE, flagged_at=NOW, deadline_at=NOW, wake_at=NOW)
        assert resolved(late) == order(OrderStatus.PENDING, deadline_at=NOW)

    def test_what_waits_for_the_same_stays_quiet_and_for_something_else_is_watched(self) -> None:
        quiet = resolved(order(OrderStatus.PENDING, flag=Flag.PENDING_OVERDUE, flagged_at=NOW, deadline_at=NOW))
        assert scheduled(quiet, replace(quiet, money=Money.AWAITED), NOW, RULES).wake_at is None
        assert scheduled(quiet, replace(quiet, status=OrderStatus.CANCELLED), NOW, RULES).wake_at is not None


class TestArchiveSetting:
    @pytest.mark.parametrize(("value", "after"), [("", timedelta(days=90)), ("0", None), ("60", timedelta(minutes=1))])
    def test_never_is_nought(self, value: str, after: timedelta | None) -> None:
        assert Settings.read(Source(values={"ORDERS_ARCHIVE_AFTER_S": value})).archive_after == after

    @pytest.mark.parametrize("value", ["-1", "soon"])
    def test_nonsense_is_refused(self, value: str) -> None:
        with pytest.raises(Misconfigured):
            Settings.read(Source(values={"ORDERS_ARCHIVE_AFTER_S": value}))
