"""Finished orders put away and addresses forgotten, on the real database, beside everything that may happen meanwhile.

No process runs. Orders are placed and moved by the service's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.order_database import SETTINGS, OrderDatabase, open_orders, telling

from order_service import archiving, erasure_requests, erasures, handlers, listings, requests, saga_requests
from order_service.happenings import (
    MoneyReturned,
    MoneyReturnFailed,
    PaymentCancelled,
    StockCommitted,
    StockReserved,
    StockReturned,
)
from shared.envelope import Received, caused_by
from shared.errors import ErasureNotFound, Forbidden, InvalidRequest, OrderArchived, OrderNotFound
from shared.identity import Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
BOB = Identity(subject="bob", roles=frozenset({Role.USER}))
SUE = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
AFTER = timedelta(days=30)
ARCHIVING = replace(SETTINGS, archive_after=AFTER)
LATER = AFTER + timedelta(minutes=1)
STREET = "Domplatz 1, Erfurt"
TOKEN = "tok_visa_of_ada"
LEFT = {
    "orders": "id",
    "order_items": "order_id",
    "order_events": "order_id",
    "order_status_history": "order_id",
    "order_returns": "order_id",
}


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        opened.sell("mug", "shop")
        yield opened


def place(orders: OrderDatabase, user_id: str = "ada") -> UUID:
    return orders.place(user_id, "mug", shippingAddress={"line1": STREET}, paymentMethod=TOKEN)


def fulfilled(orders: OrderDatabase, user_id: str = "ada") -> UUID:
    order_id = place(orders, user_id)
    orders.confirm(order_id)
    orders.run(telling(StockReserved(order_id=order_id, generation=2, expires_at=None)))
    orders.run(lambda tx: requests.fulfil_order(tx, SUE, str(order_id), "JJD1", f"ship {order_id}", "req-2", SETTINGS))
    orders.run(telling(StockCommitted(order_id=order_id, generation=2)))
    assert orders.status(order_id) == ("FULFILLED", None)
    return order_id


def cancelled(orders: OrderDatabase, *, is_settled: bool = True) -> UUID:
    order_id = place(orders)
    orders.run(lambda tx: requests.cancel_order(tx, ADA, str(order_id), None, f"stop {order_id}", None, SETTINGS))
    if is_settled:
        freed = StockReturned(order_id=order_id, generation=1, reason="cancelled")
        orders.run(telling(freed, PaymentCancelled(order_id=order_id)))
    return order_id


def archive_some(orders: OrderDatabase, *, later: timedelta = LATER) -> int:
    # What was emitted has long been published.
    orders.query("update outbox set published_at = now()")
    done: int = orders.run(lambda tx: archiving.archive_some(tx, ARCHIVING), later=later)
    return done


def archived(orders: OrderDatabase) -> UUID:
    order_id = fulfilled(orders)
    assert archive_some(orders) == 1
    return order_id


def look(orders: OrderDatabase, order_id: UUID, caller: Identity = ADA) -> dict[str, Any]:
    answer: dict[str, Any] = orders.run(lambda tx: requests.get_order(tx, caller, str(order_id)))
    return answer


def left_of(orders: OrderDatabase, order_id: UUID) -> dict[str, int]:
    counted = {
        table: orders.query(f"select count(*) from {table} where {column} = %s", str(order_id))[0][0]  # noqa: S608
        for table, column in LEFT.items()
    }
    return {table: number for table, number in counted.items() if number}


def tell(orders: OrderDatabase, event_type: str, happening: Any, **payload: Any) -> None:
    def work(tx: Any) -> None:
        envelope = caused_by(None, type=event_type, source="test", now=tx.now)
        handlers.apply_events(tx, [Received(envelope=envelope, payload=payload, body=happening)], SETTINGS)

    orders.run(work)


class TestWhatIsPutAway:
    @pytest.mark.parametrize("make", [fulfilled, cancelled])
    def test_what_is_over_and_it_looks_as_before(self, orders: OrderDatabase, make: Any) -> None:
        order_id = make(orders)
        before = look(orders, order_id)

        assert archive_some(orders) == 1

        after = look(orders, order_id)
        assert after.pop("archived") is True
        assert after.pop("archivedAt") > before["updatedAt"]
        assert after == before | {"allowedActions": []}
        assert left_of(orders, order_id) == {}
        assert look(orders, order_id, SUE)["id"] == look(orders, order_id, ADMIN)["id"] == str(order_id)
        with pytest.raises(OrderNotFound):
            look(orders, order_id, BOB)

    def test_not_what_is_under_way_unsettled_flagged_or_young(self, orders: OrderDatabase) -> None:
        place(orders)
        orders.confirm(place(orders))
        cancelled(orders, is_settled=False)
        flagged = fulfilled(orders)
        orders.query("update orders set flag = 'refund_failed', flagged_at = now() where id = %s", str(flagged))
        assert archive_some(orders) == 0
        fulfilled(orders)
        assert archive_some(orders, later=AFTER - timedelta(minutes=1)) == 0

    def test_not_while_a_return_waits_for_its_refund(self, orders: OrderDatabase) -> None:
        order_id = fulfilled(orders)
        goods = {"items": [{"item": "mug", "quantity": 1}], "restock": True}
        taken = orders.run(lambda tx: requests.return_order(tx, SUE, str(order_id), goods, None, None, SETTINGS))
        assert archive_some(orders) == 0
        refund_id = UUID(taken["return"]["id"])
        refunded = MoneyReturned(order_id=order_id, refund_id=refund_id, total_refunded=Decimal("10.00"))
        orders.run(telling(refunded))
        assert archive_some(orders) == 1
        assert [r["status"] for r in look(orders, order_id)["returns"]] == ["REFUNDED"]

    def test_nothing_while_the_outbox_is_behind_or_where_it_is_switched_off(self, orders: OrderDatabase) -> None:
        fulfilled(orders)
        orders.query(
            """insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload,
                                   occurred_at)
               select gen_random_uuid(), 'X', 'x', 'x', 1, '{}', now() from generate_series(1, %s)""",
            archiving.BUSY_BACKLOG,
        )
        assert orders.run(lambda tx: archiving.archive_some(tx, ARCHIVING), later=LATER) == 0
        never = replace(SETTINGS, archive_after=None)
        orders.query("delete from outbox")
        assert orders.run(lambda tx: archiving.archive_some(tx, never), later=LATER) == 0
        assert archive_some(orders) == 1

    def test_in_batches_oldest_first(self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = [fulfilled(orders) for _ in range(3)]
        monkeypatch.setattr(archiving, "AT_ONCE", 2)
        assert [archive_some(orders) for _ in range(3)] == [2, 1, 0]
        assert [row[0] for row in orders.query("select id from archived_orders order by archived_at, id")] == [
            str(id_) for id_ in ids
        ]

    def test_a_tick_goes_on_until_nothing_is_left(self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archiving, "AT_ONCE", 2)
        for _ in range(3):
            fulfilled(orders)
        orders.query("update outbox set published_at = now()")
        orders.query("update orders set updated_at = updated_at - interval '1 hour'")
        at_once = replace(SETTINGS, archive_after=timedelta(minutes=1))
        # Their ids are young: a period is bounded by ids too, give or take a day.
        archiving.archive_finished(orders.sessions, at_once)
        assert orders.query("select count(*) from archived_orders") == [(3,)]
        assert orders.query("select count(*) from orders") == [(0,)]

    def test_it_is_no_more_in_lists_and_still_on_the_board(self, orders: OrderDatabase) -> None:
        order_id = archived(orders)
        assert orders.run(lambda tx: listings.list_orders(tx, ADMIN, limit=5))["orders"] == []
        saga = orders.run(lambda tx: saga_requests.get_saga(tx, ADMIN, str(order_id), SETTINGS))
        assert (saga["isArchived"], saga["isWhole"], saga["step"], saga["expected"]) == (True, True, "done", [])
        assert next(step["type"] for step in saga["timeline"]) == "ORDER_CREATED"


class TestLateEvents:
    def test_a_late_reservation_is_not_answered_as_for_an_unknown_order(self, orders: OrderDatabase) -> None:
        order_id = archived(orders)
        emitted = orders.emitted(order_id)
        tell(orders, "INVENTORY_RESERVED", StockReserved(order_id=order_id, generation=9, expires_at=None))
        assert orders.emitted(order_id) == emitted
        assert left_of(orders, order_id) == {}
        late = look(orders, order_id)["timeline"][-1]
        assert (late["type"], late["decision"], late["note"]) == ("INVENTORY_RESERVED", "ignored", "archived")

    def test_an_order_that_nobody_placed_is_still_unknown(self, orders: OrderDatabase) -> None:
        known, unknown = archived(orders), uuid4()
        happenings = [StockReserved(order_id=id_, generation=1, expires_at=None) for id_ in (known, unknown)]

        def work(tx: Any) -> None:
            envelopes = [caused_by(None, type="INVENTORY_RESERVED", source="test", now=tx.now) for _ in happenings]
            events = [Received(envelope=e, payload={}, body=h) for e, h in zip(envelopes, happenings, strict=True)]
            handlers.apply_events(tx, events, SETTINGS)

        orders.run(work)
        assert orders.emitted(unknown) == ["ORDER_CANCELLED"]
        assert orders.events(unknown) == ["INVENTORY_RESERVED", "ORDER_CANCELLED"]

    def test_a_late_refund_is_kept_and_counted(self, orders: OrderDatabase) -> None:
        order_id = archived(orders)
        refunded = MoneyReturned(order_id=order_id, refund_id=None, total_refunded=Decimal("4.00"))
        tell(orders, "PAYMENT_REFUNDED", refunded, totalRefunded="4.00")
        failed = MoneyReturnFailed(order_id=order_id, refund_id=None, reason="refused")
        tell(orders, "PAYMENT_REFUND_FAILED", failed, reason="refused")
        order = look(orders, order_id)
        assert order["refunded"] == "4.00"
        assert [event["type"] for event in order["timeline"][-2:]] == ["PAYMENT_REFUNDED", "PAYMENT_REFUND_FAILED"]

    def test_an_event_that_comes_while_its_order_is_put_away_waits_and_finds_it_there(
        self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given an archiver in the middle of its transaction, then a late event waits, and is kept beside the order."""
        order_id = fulfilled(orders)
        orders.query("update outbox set published_at = now()")
        emitted = orders.emitted(order_id)
        late = []
        put_away = archiving.archive.put_away

        def with_an_event(tx: Any, documents: Any) -> None:
            late.append(orders.blocked(telling(StockReserved(order_id=order_id, generation=9, expires_at=None))))
            put_away(tx, documents)

        monkeypatch.setattr(archiving.archive, "put_away", with_an_event)
        assert orders.run(lambda tx: archiving.archive_some(tx, ARCHIVING), later=LATER) == 1
        late[0].result(10)

        assert orders.emitted(order_id) == emitted
        assert left_of(orders, order_id) == {}
        assert look(orders, order_id)["timeline"][-1]["note"] == "archived"

    def test_an_order_that_an_event_holds_is_left_for_later(self, orders: OrderDatabase) -> None:
        """Given an event in the middle of its transaction, then the archiver goes past, and does not wait."""
        held, free = fulfilled(orders), fulfilled(orders)
        orders.query("update outbox set published_at = now()")
        with orders.rolled_back() as tx:
            telling(StockCommitted(order_id=held, generation=2))(tx)
            tx.flush()
            assert orders.run(lambda tx: archiving.archive_some(tx, ARCHIVING), later=LATER) == 1
        assert left_of(orders, held) != {}
        assert left_of(orders, free) == {}
        assert archive_some(orders) == 1


class TestWhatIsAsked:
    def test_nothing_can_be_asked_of_it_and_strangers_learn_nothing(self, orders: OrderDatabase) -> None:
        order_id = str(archived(orders))
        goods = {"items": [{"item": "mug", "quantity": 1}], "restock": True}
        with pytest.raises(OrderArchived):
            orders.run(lambda tx: requests.return_order(tx, SUE, order_id, goods, None, None, SETTINGS))
        with pytest.raises(OrderArchived):
            orders.run(lambda tx: requests.cancel_order(tx, ADA, order_id, None, None, None, SETTINGS))
        with pytest.raises(OrderNotFound):
            orders.run(lambda tx: requests.cancel_order(tx, BOB, order_id, None, None, None, SETTINGS))
        nudge = ("nudge_saga", order_id, "x", None, None, SETTINGS)
        with pytest.raises(OrderArchived):
            orders.run(lambda tx: saga_requests.steer_saga(tx, ADMIN, *nudge))

    def test_a_repeated_request_still_gets_its_answer(self, orders: OrderDatabase) -> None:
        order_id = str(cancelled(orders))
        archive_some(orders)
        again = orders.run(
            lambda tx: requests.cancel_order(tx, ADA, order_id, None, f"stop {order_id}", None, SETTINGS)
        )
        assert (again["replayed"], again["order"]["status"]) == (True, "CANCELLED")


class TestErasure:
    @staticmethod
    def _erase(orders: OrderDatabase, user_id: str = "ada") -> dict[str, Any]:
        asked = orders.run(lambda tx: erasure_requests.request_erasure(tx, ADMIN, user_id, "letter", "e-1", "req-3"))
        erasures.erase_what_was_asked(orders.sessions)
        id_ = asked["erasure"]["id"]
        found: dict[str, Any] = orders.run(lambda tx: erasure_requests.get_erasure(tx, ADMIN, id_))
        return found

    @staticmethod
    def _tables_with(orders: OrderDatabase, word: str) -> set[str]:
        tables = [row[0] for row in orders.query("select tablename from pg_tables where schemaname = 'public'")]
        statement = "select count(*) from {0} where {0}::text like %s"
        found = {t: orders.query(statement.format(f'"{t}"'), f"%{word}%")[0][0] for t in tables}
        return {table for table, number in found.items() if number}

    def test_no_table_knows_the_address_any_more(self, orders: OrderDatabase) -> None:
        put_away = archived(orders)
        live = [fulfilled(orders), cancelled(orders)]
        money = "select sum(price) from (select price from orders union all select price from archived_orders) p"
        before = orders.query(money)
        assert self._tables_with(orders, STREET) == {"orders", "archived_orders", "idempotency_keys"}

        erasure = self._erase(orders)

        assert (erasure["erased"], erasure["skipped"]) == (3, 0)
        assert erasure["finishedAt"] is not None
        assert self._tables_with(orders, STREET) == set()
        # From the outbox the token goes with its row, once that is purged.
        assert self._tables_with(orders, TOKEN) == {"outbox"}
        for order_id in (put_away, *live):
            assert look(orders, order_id)["shippingAddress"] is None
        assert orders.query(money) == before

    def test_orders_under_way_and_other_customers_keep_theirs(self, orders: OrderDatabase) -> None:
        under_way, others = place(orders), fulfilled(orders, "bob")
        erasure = self._erase(orders)
        assert (erasure["erased"], erasure["skipped"]) == (0, 1)
        for order_id, caller in ((under_way, ADA), (others, BOB)):
            assert look(orders, order_id, caller)["shippingAddress"] == {"line1": STREET}

    def test_in_batches_that_go_on_where_they_were(
        self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasures, "AT_ONCE", 2)
        for _ in range(3):
            fulfilled(orders)
        archive_some(orders)
        for _ in range(4):
            cancelled(orders)
        assert self._erase(orders)["erased"] == 7
        assert self._tables_with(orders, STREET) == set()

    def test_is_recorded_at_both_ends_without_what_was_erased(self, orders: OrderDatabase) -> None:
        user_id = f"ada-{uuid4().hex[:8]}"
        fulfilled(orders, user_id)
        erasure = self._erase(orders, user_id)
        rows = orders.query("select actor, action, after from audit_log where object_id = %s order by id", user_id)
        assert rows == [
            ("root", "erase_user", {"erasureId": erasure["id"], "note": "letter"}),
            ("root", "user_erased", {"erasureId": erasure["id"], "erased": 1, "skipped": 0}),
        ]
        assert "audit_log" not in self._tables_with(orders, STREET)

    def test_the_same_key_asks_once(self, orders: OrderDatabase) -> None:
        first, second = self._erase(orders), self._erase(orders)
        assert first == second

    def test_is_for_operators_and_says_what_is_wrong(self, orders: OrderDatabase) -> None:
        with pytest.raises(Forbidden):
            orders.run(lambda tx: erasure_requests.request_erasure(tx, ADA, "ada", "x", None, None))
        with pytest.raises(InvalidRequest):
            orders.run(lambda tx: erasure_requests.request_erasure(tx, ADMIN, "", None, None, None))
        for unknown in (str(uuid4()), "none", None):
            with pytest.raises(ErasureNotFound):
                orders.run(lambda tx, id_=unknown: erasure_requests.get_erasure(tx, ADMIN, id_))


def test_moments_are_those_of_the_database(orders: OrderDatabase) -> None:
    order_id = archived(orders)
    at = datetime.fromisoformat(look(orders, order_id)["archivedAt"])
    assert at - datetime.now(UTC) > AFTER - timedelta(minutes=1)
