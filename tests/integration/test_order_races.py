"""Two open transactions of the order service at once: whoever locks the order first decides, and only once.

No process runs: the test holds both transactions, and says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.order_database import SETTINGS, OrderDatabase, Work, open_orders, telling

from order_service import commands, handlers, requests
from order_service.commands import Asking
from order_service.happenings import PaymentTaken, StockCommitted, StockReserved
from order_service.returns import ReturnedLine
from order_service.schemas import ReturnGoods
from order_service.settings import Settings
from shared.database import transaction
from shared.errors import (
    IdempotencyKeyInProgress,
    OrderNotApprovable,
    OrderNotCancellable,
    OrderNotFulfillable,
    ReturnTooLarge,
)
from shared.identity import TRUSTED

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

FLAGGING = replace(SETTINGS, rules=replace(SETTINGS.rules, flags_overdue=True))
RULES = SETTINGS.rules


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        yield opened


def _place(orders: OrderDatabase, *, requires_approval: bool = False) -> UUID:
    orders.sell("mug", requires_approval=requires_approval)
    return orders.place("ann", "mug", "mug")


def _confirmed(orders: OrderDatabase) -> UUID:
    order_id = _place(orders)
    orders.confirm(order_id)
    return order_id


def _asking(order_id: UUID) -> Asking:
    return Asking(caller=TRUSTED, order_id=order_id)


def _cancel(order_id: UUID) -> Work:
    return lambda tx: commands.cancel_order(tx, _asking(order_id), SETTINGS)


def _fulfil(order_id: UUID) -> Work:
    return lambda tx: commands.fulfil_order(tx, _asking(order_id), None, SETTINGS)


def _return_one(order_id: UUID) -> Work:
    goods = ReturnGoods(lines=(ReturnedLine(item="mug", quantity=1),), restock=True)
    return lambda tx: commands.return_order(tx, _asking(order_id), goods, SETTINGS)


def _watch(settings: Settings = SETTINGS) -> Work:
    return lambda tx: handlers.watch_deadlines(tx, settings)


class TestRequests:
    def test_cancel_waits_for_fulfil_and_is_refused(self, orders: OrderDatabase) -> None:
        order_id = _confirmed(orders)
        with transaction(orders.sessions) as first:
            _fulfil(order_id)(first)
            second = orders.blocked(_cancel(order_id))
        with pytest.raises(OrderNotCancellable):
            second.result()
        assert orders.status(order_id) == ("CONFIRMED", None)
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_CONFIRMED", "ORDER_FULFILLED"]

    def test_fulfil_waits_for_cancel_and_is_refused(self, orders: OrderDatabase) -> None:
        order_id = _confirmed(orders)
        with transaction(orders.sessions) as first:
            _cancel(order_id)(first)
            second = orders.blocked(_fulfil(order_id))
        with pytest.raises(OrderNotFulfillable):
            second.result()
        assert orders.status(order_id) == ("CANCELLED", "customer")
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_CONFIRMED", "ORDER_CANCELLED"]

    def test_fulfil_goes_on_where_the_cancellation_was_rolled_back(self, orders: OrderDatabase) -> None:
        order_id = _confirmed(orders)
        with orders.rolled_back() as first:
            _cancel(order_id)(first)
            second = orders.blocked(_fulfil(order_id))
        second.result()
        assert orders.emitted(order_id)[-1] == "ORDER_FULFILLED"

    def test_two_that_fulfil_ship_once(self, orders: OrderDatabase) -> None:
        order_id = _confirmed(orders)
        with transaction(orders.sessions) as first:
            _fulfil(order_id)(first)
            second = orders.blocked(_fulfil(order_id))
        second.result()
        assert orders.emitted(order_id).count("ORDER_FULFILLED") == 1

    def test_decline_waits_for_approve_and_is_refused(self, orders: OrderDatabase) -> None:
        order_id = _place(orders, requires_approval=True)
        with transaction(orders.sessions) as first:
            commands.approve_order(first, _asking(order_id), SETTINGS)
            second = orders.blocked(lambda tx: commands.decline_order(tx, _asking(order_id), SETTINGS))
        with pytest.raises(OrderNotApprovable):
            second.result()
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_APPROVED"]

    def test_two_returns_of_the_last_one_are_one(self, orders: OrderDatabase) -> None:
        order_id = _confirmed(orders)
        orders.run(_fulfil(order_id))
        orders.run(telling(StockCommitted(order_id=order_id, generation=1)))
        orders.run(_return_one(order_id))
        with transaction(orders.sessions) as first:
            _return_one(order_id)(first)
            second = orders.blocked(_return_one(order_id))
        with pytest.raises(ReturnTooLarge) as refused:
            second.result()
        assert refused.value.details == {"items": {"mug": 0}}
        assert orders.query("select sum(quantity) from order_return_lines") == [(2,)]
        assert orders.emitted(order_id).count("ORDER_RETURNED") == 2

    def test_one_key_at_the_same_time_is_one_request(self, orders: OrderDatabase) -> None:
        order_id, key = _confirmed(orders), uuid4().hex
        with transaction(orders.sessions) as first:
            answer = requests.fulfil_order(first, TRUSTED, str(order_id), "T-1", key, None, SETTINGS)
            with pytest.raises(IdempotencyKeyInProgress):
                orders.run(lambda tx: requests.fulfil_order(tx, TRUSTED, str(order_id), "T-1", key, None, SETTINGS))
        again = orders.run(lambda tx: requests.fulfil_order(tx, TRUSTED, str(order_id), "T-1", key, None, SETTINGS))
        assert again == {"order": answer["order"], "replayed": True}


class TestTimers:
    def test_two_at_once_cancel_once(self, orders: OrderDatabase) -> None:
        order_id = _place(orders)
        with transaction(orders.sessions) as first:
            first.happens_at(first.now + RULES.pending_deadline * 2)
            assert handlers.watch_deadlines(first, SETTINGS) == 1
            assert orders.run(_watch(), later=RULES.pending_deadline * 2) == 0
        assert orders.run(_watch(), later=RULES.pending_deadline * 2) == 0
        assert orders.status(order_id) == ("CANCELLED", "timeout")
        assert orders.events(order_id) == ["ORDER_CREATED", "DEADLINE_PASSED", "ORDER_CANCELLED"]

    def test_two_at_once_nudge_once(self, orders: OrderDatabase) -> None:
        order_id, half = _place(orders), RULES.pending_deadline / 2 + timedelta(seconds=1)
        with transaction(orders.sessions) as first:
            first.happens_at(first.now + half)
            assert handlers.watch_deadlines(first, SETTINGS) == 1
            assert orders.run(_watch(), later=half) == 0
        assert orders.run(_watch(), later=half) == 0
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_CREATED"]
        assert len(orders.query("select distinct event_id from outbox")) == 1

    def test_an_order_that_an_event_holds_is_left_for_the_next_tick(self, orders: OrderDatabase) -> None:
        order_id = _place(orders)
        with transaction(orders.sessions) as first:
            telling(StockReserved(order_id=order_id, generation=1, expires_at=None))(first)
            assert orders.run(_watch(), later=RULES.pending_deadline * 2) == 0
        assert orders.status(order_id) == ("RESERVED", None)

    def test_what_was_approved_is_nudged_by_its_approval(self, orders: OrderDatabase) -> None:
        order_id = _place(orders, requires_approval=True)
        assert orders.run(_watch(), later=RULES.approval_deadline / 2 + timedelta(hours=1)) == 0
        orders.run(lambda tx: commands.approve_order(tx, _asking(order_id), SETTINGS))
        assert orders.run(_watch(), later=RULES.pending_deadline / 2 + timedelta(seconds=1)) == 1
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_APPROVED", "ORDER_APPROVED"]

    def test_what_nobody_approves_is_cancelled(self, orders: OrderDatabase) -> None:
        order_id = _place(orders, requires_approval=True)
        assert orders.run(_watch(FLAGGING), later=RULES.approval_deadline + timedelta(seconds=1)) == 1
        assert orders.status(order_id) == ("CANCELLED", "timeout")

    def test_by_setting_an_overdue_order_is_flagged_once_and_goes_on(self, orders: OrderDatabase) -> None:
        order_id, late = _place(orders), RULES.pending_deadline * 2
        assert [orders.run(_watch(FLAGGING), later=late) for _ in range(2)] == [1, 0]
        shown = "select status, flag, wake_at from orders where id = %s"
        assert orders.query(shown, str(order_id)) == [("PENDING", "pending_overdue", None)]
        orders.run(telling(StockReserved(order_id=order_id, generation=1, expires_at=None)))
        [[status, flag, wake_at]] = orders.query(shown, str(order_id))
        assert (status, flag, wake_at is not None) == ("RESERVED", None, True)

    def test_a_backlog_is_done_in_one_tick(self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "DUE_AT_ONCE", 2)
        placed = [_place(orders) for _ in range(5)]
        orders.query("update orders set deadline_at = now() - interval '1 s', wake_at = now() - interval '1 s'")
        handlers.watch_all_deadlines(orders.sessions, SETTINGS)
        assert {orders.status(order_id) for order_id in placed} == {("CANCELLED", "timeout")}
        moments = orders.query(
            "select count(*) from order_events where event_type = 'DEADLINE_PASSED' group by recorded_at"
        )
        assert sorted(moments) == [(1,), (2,), (2,)]

    def test_a_tick_comes_to_its_end_and_the_next_one_goes_on(
        self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(handlers, "DUE_AT_ONCE", 1)
        monkeypatch.setattr(handlers, "MOST_ROUNDS", 2)
        for _ in range(3):
            _place(orders)
        orders.query("update orders set deadline_at = now() - interval '1 s', wake_at = now() - interval '1 s'")
        cancelled = "select count(*) from orders where status = 'CANCELLED'"
        handlers.watch_all_deadlines(orders.sessions, SETTINGS)
        assert orders.query(cancelled) == [(2,)]
        handlers.watch_all_deadlines(orders.sessions, SETTINGS)
        assert orders.query(cancelled) == [(3,)]

    def test_paid_without_word_of_its_stock_it_is_flagged_until_that_comes(self, orders: OrderDatabase) -> None:
        order_id, late = _place(orders), RULES.finish_deadline + timedelta(seconds=1)
        orders.run(telling(PaymentTaken(order_id=order_id)))
        assert [orders.run(_watch(), later=late) for _ in range(2)] == [1, 0]
        shown = "select status, stock, flag, deadline_at is null, wake_at from orders where id = %s"
        assert orders.query(shown, str(order_id)) == [("CONFIRMED", "UNKNOWN", "stock_missing", False, None)]
        orders.run(telling(StockReserved(order_id=order_id, generation=1, expires_at=None)))
        assert orders.query(shown, str(order_id)) == [("CONFIRMED", "HELD", None, True, None)]

    def test_an_order_that_the_version_before_placed_gets_its_turn(self, orders: OrderDatabase) -> None:
        """It writes none of the new columns: their defaults make the timer look at the order and schedule it."""
        order_id = _place(orders)
        orders.query("update orders set wake_at = default, refunded = default, awaits_approval = default")
        assert orders.run(_watch(), later=timedelta(seconds=1)) == 1
        assert orders.query("select wake_at = deadline_at from orders") == [(True,)]
        assert orders.run(_watch(), later=RULES.pending_deadline * 2) == 1
        assert orders.status(order_id) == ("CANCELLED", "timeout")
