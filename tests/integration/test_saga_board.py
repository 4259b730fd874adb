"""The saga board and what operators do with one saga, on the real database: filters, detail, nudge, cancel, resolve.

No process runs. Orders are placed and moved by the service's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.order_database import SETTINGS, OrderDatabase, open_orders, telling
from sqlalchemy import TextClause, text

from order_service import handlers, queries, reading, reconciling, saga_requests
from order_service.board import Actor, awaited, step_of
from order_service.happenings import MoneyReturnFailed, PaymentAwaited, StockReserved
from order_service.saga_search import STEPS, SagaFilter, find_sagas
from order_service.states import Money, OrderStatus, Stock
from shared.database import Transaction
from shared.errors import (
    Forbidden,
    IdempotencyKeyReused,
    InvalidRequest,
    OrderNotCancellable,
    OrderNotFound,
    SagaNotFlagged,
    SagaNotNudgeable,
)
from shared.identity import Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER, Role.USER}), seller_id="shop")
FLAGGING = replace(SETTINGS, rules=replace(SETTINGS.rules, flags_overdue=True))
NOTE = "ticket 4711"
HELPS = ("nudge", "cancel", "resolve")


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        opened.sell("mug", "shop")
        opened.sell("cup", "other")
        yield opened


def board(orders: OrderDatabase, *, limit: int = 100, **wanted: Any) -> list[str]:
    page = orders.run(lambda tx: saga_requests.list_sagas(tx, ADMIN, limit=limit, **wanted))
    return [saga["orderId"] for saga in page["sagas"]]


def look(orders: OrderDatabase, order_id: UUID) -> dict[str, Any]:
    answer: dict[str, Any] = orders.run(lambda tx: saga_requests.get_saga(tx, ADMIN, str(order_id), SETTINGS))
    return answer


def help_on(
    orders: OrderDatabase,
    what: str,
    order_id: Any,
    *,
    caller: Identity = ADMIN,
    note: Any = NOTE,
    key: str | None = None,
    later: timedelta = timedelta(0),
) -> dict[str, Any]:
    asked = (f"{what}_saga", str(order_id), note, key, "req-9")
    answer: dict[str, Any] = orders.run(lambda tx: saga_requests.steer_saga(tx, caller, *asked, SETTINGS), later=later)
    return answer


def make_late(orders: OrderDatabase, order_id: UUID) -> None:
    """Its deadline has passed, and it is flagged."""
    orders.query("update orders set deadline_at = now(), wake_at = now() where id = %s", str(order_id))
    orders.run(lambda tx: handlers.watch_deadlines(tx, FLAGGING), later=timedelta(seconds=1))


def audited(orders: OrderDatabase, order_id: UUID) -> list[tuple[Any, ...]]:
    statement = "select actor, action, before, after from audit_log where object_id = %s order by id"
    return orders.query(statement, str(order_id))


class TestFilters:
    def test_steps_and_turns_are_those_of_the_board(self, orders: OrderDatabase) -> None:
        """Given an order in every state that columns can be in, then SQL says of each what board.py says."""
        ids = [orders.place("ada", "mug") for _ in range(5)]
        variants = product(OrderStatus, (Stock.HELD, Stock.FREE, Stock.LAPSED), (Money.AWAITED, Money.TAKEN), (0, 1))
        for chunk in _chunks(list(variants), len(ids)):
            for order_id, (status, stock, money, flag) in zip(ids, chunk, strict=False):
                self._put(orders, order_id, status, stock, money, is_either=bool(flag))
            found = orders.run(lambda tx: reading.order_rows(tx, ids))
            for step in STEPS:
                expected = {str(id_) for id_, (order, _) in found.items() if step_of(order) == step}
                assert set(board(orders, step=step)) == expected, step
            for actor in Actor:
                expected = {str(id_) for id_, (order, _) in found.items() if awaited(order) == actor}
                assert set(board(orders, waitsFor=actor)) == expected, actor

    @staticmethod
    def _put(orders: OrderDatabase, order_id: UUID, status: str, stock: str, money: str, *, is_either: bool) -> None:
        """``is_either``: what else a status can be: to be approved, being shipped, settled."""
        orders.query(
            """update orders set status = %s, stock = %s, money = %s, reason = %s, awaits_approval = %s,
               fulfil_requested_at = %s, settled_at = %s where id = %s""",
            status,
            stock,
            money,
            "customer" if status == "CANCELLED" else None,
            is_either and status == "PENDING",
            datetime.now(UTC) if is_either and status == "CONFIRMED" else None,
            datetime.now(UTC) if is_either and status == "CANCELLED" else None,
            str(order_id),
        )

    def test_customer_seller_status_and_period(self, orders: OrderDatabase) -> None:
        first, second = orders.place("ada", "mug"), orders.place("bob", "cup")
        orders.confirm(second)
        orders.query("update orders set created_at = created_at - interval '1 hour' where id = %s", str(first))
        an_hour_half = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
        assert board(orders, userId="ada") == board(orders, sellerId="shop") == [str(first)]
        assert board(orders, status="CONFIRMED") == board(orders, since=an_hour_half) == [str(second)]
        assert board(orders, until=an_hour_half) == board(orders, text="ada", until=an_hour_half) == [str(first)]
        assert board(orders, userId="ada", status="CONFIRMED") == []

    @pytest.mark.parametrize(
        ("filters", "index"),
        [
            ({"step": "stock"}, "orders_unshipped"),
            ({"step": "fulfilment"}, "orders_unshipped"),
            ({"step": "compensation"}, "orders_unsettled"),
            ({"actor": Actor.CUSTOMER}, "orders_status"),
            ({"actor": Actor.PAYMENT}, "orders_unsettled"),
            ({"actor": Actor.INVENTORY}, "orders_unshipped"),
        ],
    )
    def test_the_few_are_found_among_the_many(self, orders: OrderDatabase, filters: dict[str, Any], index: str) -> None:
        """Given many orders that are over, then a page of those at a step is not found by reading them all."""
        orders.query(
            """insert into orders (id, user_id, seller_id, status, price, currency, payment_mode, correlation_id, stock,
                                   stock_generation, money, created_at, updated_at, wake_at)
               select gen_random_uuid(), 'ada', 'shop', case when n % 2 = 0 then 'FULFILLED' else 'CONFIRMED' end, 1,
                      'EUR', 'auto', 'x', 'HELD', 1, 'TAKEN', now(), now(), null
               from generate_series(1, 20000) n"""
        )
        orders.query("analyze orders")
        lines = [line for line in explained(orders, SagaFilter(limit=50, **filters)) if "never executed" not in line]
        assert any(f"using {index} " in line or f"on {index} " in line for line in lines)
        assert not any("Seq Scan" in line for line in lines)
        # Whatever is read is read through an index, and thrown away by none of them.
        assert not any("Rows Removed by Filter" in line for line in lines), "\n".join(lines)


def explained(orders: OrderDatabase, wanted: SagaFilter) -> list[str]:
    """The plan of that search, with what really was read."""
    lines: list[str] = []

    def work(tx: Transaction) -> None:
        class Explaining:
            def fetch(self, statement: TextClause, **said: Any) -> list[Any]:
                lines.extend(row[0] for row in tx.fetch(text(f"explain analyze {statement.text}"), **said))
                return []

        find_sagas(cast(Transaction, Explaining()), wanted)

    orders.run(work)
    return lines


class TestDetail:
    def test_what_happened_how_long_it_took_and_what_is_expected(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug", correlation_id="req-1")
        held = StockReserved(order_id=order_id, generation=1, expires_at=datetime.now(UTC) + timedelta(hours=1))
        orders.run(telling(held, PaymentAwaited(order_id=order_id)))

        saga = look(orders, order_id)

        assert (saga["step"], saga["waitsFor"], saga["atDeadline"]) == ("payment", "customer", "cancel")
        assert saga["until"] > saga["asOf"] >= saga["since"] > saga["startedAt"]
        created = saga["timeline"][0]
        assert (created["type"], created["afterCauseS"], created["afterStartS"]) == ("ORDER_CREATED", None, 0.0)
        assert all("payload" not in step for step in saga["timeline"])
        paid, confirmed = saga["expected"]
        assert (paid["who"], paid["answersTo"], paid["isNext"]) == ("customer", "INVENTORY_RESERVED", True)
        assert paid["events"] == ["PAYMENT_SUCCESS", "PAYMENT_FAILED", "PAYMENT_CANCELLED"]
        assert paid["until"] == saga["until"]
        assert (confirmed["events"], confirmed["isNext"], confirmed["until"]) == (["ORDER_CONFIRMED"], False, None)

    def test_a_nudge_does_not_change_since_when_it_waits(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        before = look(orders, order_id)["since"]
        help_on(orders, "nudge", order_id)
        assert look(orders, order_id)["since"] == before

    def test_is_for_operators_and_of_orders_that_exist(self, orders: OrderDatabase) -> None:
        order_id = str(orders.place("ada", "mug"))
        with pytest.raises(Forbidden):
            orders.run(lambda tx: saga_requests.get_saga(tx, SHOP, order_id, SETTINGS))
        for unknown in (str(uuid4()), "no id", None):
            with pytest.raises(OrderNotFound):
                orders.run(lambda tx, id_=unknown: saga_requests.get_saga(tx, ADMIN, id_, SETTINGS))


class TestNudge:
    def test_the_last_event_is_published_once_more_with_its_own_id(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        outbox = "select event_id, payload::text from outbox where aggregate_id = %s order by id"
        [before] = orders.query(outbox, str(order_id))

        saga = help_on(orders, "nudge", order_id)["saga"]

        assert orders.query(outbox, str(order_id)) == [before, before]
        assert saga["timeline"][-1]["type"] == "SAGA_NUDGED"
        said = {"eventId": str(before[0]), "eventType": "ORDER_CREATED", "note": NOTE}
        where = {"status": "PENDING", "step": "answer", "flag": None}
        assert audited(orders, order_id) == [("root", "nudge_saga", where, said)]

    def test_what_was_written_in_another_version_is_said_in_that_version(self, orders: OrderDatabase) -> None:
        """Given an event of a major that is not the one published now, then its payload goes out under its own."""
        order_id = orders.place("ada", "mug")
        orders.query("update order_events set schema_version = 7 where order_id = %s returning 1", str(order_id))

        help_on(orders, "nudge", order_id)

        outbox = "select schema_version from outbox where aggregate_id = %s order by id"
        assert orders.query(outbox, str(order_id)) == [(1,), (7,)]

    def test_so_is_what_a_repair_says_again(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        help_on(orders, "cancel", order_id)
        of_then = "update order_events set schema_version = 7 where order_id = %s and event_type = 'ORDER_CANCELLED'"
        orders.query(f"{of_then} returning 1", str(order_id))

        orders.run(lambda tx: reconciling.say_again(tx, ADMIN, str(order_id), "ORDER_CANCELLED"))

        said = "select schema_version from %s where event_type = 'ORDER_CANCELLED' and %s = %%s order by id"
        assert orders.query(said % ("outbox", "aggregate_id"), str(order_id)) == [(1,), (7,)]
        # And once more, from what the repair has written into the timeline.
        assert orders.query(said % ("order_events", "order_id"), str(order_id)) == [(7,), (7,)]

    def test_where_it_is_somebody_elses_turn_it_is_refused(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        orders.confirm(order_id)
        with pytest.raises(SagaNotNudgeable) as refused:
            help_on(orders, "nudge", order_id)
        assert refused.value.details == {"status": "CONFIRMED", "step": "shipment", "flag": None}
        assert audited(orders, order_id) == []

    def test_what_consumers_have_forgotten_is_not_sent_to_their_dead_letters(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        with pytest.raises(SagaNotNudgeable, match="older"):
            help_on(orders, "nudge", order_id, later=SETTINGS.inbox_horizon + timedelta(seconds=1))
        assert orders.emitted(order_id) == ["ORDER_CREATED"]


class TestResolve:
    def test_the_flag_goes_and_the_clock_is_quiet(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        make_late(orders, order_id)
        assert look(orders, order_id)["flag"] == "pending_overdue"

        saga = help_on(orders, "resolve", order_id)["saga"]

        assert (saga["flag"], saga["status"], board(orders, state="stuck")) == (None, "PENDING", [])
        assert orders.run(lambda tx: handlers.watch_deadlines(tx, FLAGGING), later=timedelta(days=1)) == 0
        where = {"status": "PENDING", "step": "answer"}
        before, after = where | {"flag": "pending_overdue"}, where | {"flag": None, "note": NOTE}
        assert audited(orders, order_id) == [("root", "resolve_saga", before, after)]

    def test_what_goes_on_is_watched_again(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        make_late(orders, order_id)
        help_on(orders, "resolve", order_id)
        orders.run(telling(StockReserved(order_id=order_id, generation=1, expires_at=None)))
        assert orders.query("select wake_at is not null from orders where id = %s", str(order_id)) == [(True,)]

    def test_a_refund_that_fails_again_is_flagged_again(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        orders.confirm(order_id)
        for _ in range(2):
            orders.run(telling(MoneyReturnFailed(order_id=order_id, refund_id=None, reason="refused")))
            assert look(orders, order_id)["flag"] == "refund_failed"
            help_on(orders, "resolve", order_id)
            assert look(orders, order_id)["flag"] is None

    def test_without_a_flag_there_is_nothing_to_resolve(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        with pytest.raises(SagaNotFlagged):
            help_on(orders, "resolve", order_id)
        assert audited(orders, order_id) == []

    def test_an_event_that_comes_meanwhile_is_not_lost(self, orders: OrderDatabase) -> None:
        """Given an operator who has the order's row, then the event waits and applies to what they left."""
        order_id = orders.place("ada", "mug")
        make_late(orders, order_id)
        reserved = StockReserved(order_id=order_id, generation=1, expires_at=None)
        with orders.rolled_back() as tx:
            queries.order_for_update(tx, order_id)
            event = orders.blocked(telling(reserved))
        event.result(10)
        with pytest.raises(SagaNotFlagged):
            help_on(orders, "resolve", order_id)
        assert look(orders, order_id)["status"] == "RESERVED"


class TestCancel:
    def test_as_an_operator_with_a_note(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        saga = help_on(orders, "cancel", order_id)["saga"]
        assert (saga["status"], saga["reason"], saga["step"]) == ("CANCELLED", "operator", "compensation")
        assert [(step["who"], step["isNext"]) for step in saga["expected"]] == [("inventory", True), ("payment", True)]
        assert orders.emitted(order_id) == ["ORDER_CREATED", "ORDER_CANCELLED"]
        [(actor, action, before, after)] = audited(orders, order_id)
        assert (actor, action, before["status"], after["status"]) == ("root", "cancel_order", "PENDING", "CANCELLED")
        assert after["note"] == NOTE

    def test_what_is_being_shipped_is_not(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        orders.confirm(order_id)
        orders.query("update orders set fulfil_requested_at = now() where id = %s", str(order_id))
        with pytest.raises(OrderNotCancellable):
            help_on(orders, "cancel", order_id)


class TestEachOfThem:
    @pytest.mark.parametrize("what", HELPS)
    def test_the_same_key_does_it_once(self, orders: OrderDatabase, what: str) -> None:
        order_id = orders.place("ada", "mug")
        make_late(orders, order_id)
        first, again = (help_on(orders, what, order_id, key="k") for _ in range(2))
        assert (first["replayed"], again["replayed"]) == (False, True)
        assert first["saga"] == again["saga"]
        assert len(audited(orders, order_id)) == 1
        with pytest.raises(IdempotencyKeyReused):
            help_on(orders, what, order_id, key="k", note="another")

    @pytest.mark.parametrize("what", HELPS)
    def test_is_for_operators_with_a_reason(self, orders: OrderDatabase, what: str) -> None:
        order_id = orders.place("ada", "mug")
        with pytest.raises(Forbidden):
            help_on(orders, what, order_id, caller=SHOP)
        for note in (None, "", 5, "x" * 501):
            with pytest.raises(InvalidRequest):
                help_on(orders, what, order_id, note=note)
        with pytest.raises(OrderNotFound):
            help_on(orders, what, uuid4())
        assert audited(orders, order_id) == []


def _chunks(values: list[Any], size: int) -> Iterator[list[Any]]:
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]
