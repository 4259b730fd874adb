"""Looking for orders on the real database: filters, words, pages, who sees what, the saga board, what is new.

No process runs. Orders are placed and moved by the service's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.order_database import SETTINGS, OrderDatabase, open_orders, telling

from order_service import handlers, listings, requests, saga_requests
from order_service.happenings import PaymentAwaited, PaymentCancelled, StockCommitted, StockReserved, StockReturned
from shared.event_schema import moment_text
from shared.identity import ANONYMOUS, TRUSTED, Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
SHOP_AND_CUSTOMER = Identity(subject="bob", roles=frozenset({Role.USER, Role.SELLER}), seller_id="shop")
FLAGGING = replace(SETTINGS, rules=replace(SETTINGS.rules, flags_overdue=True))


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        for item, seller_id in (("mug", "shop"), ("pen", "shop"), ("cup", "other")):
            opened.sell(item, seller_id)
        yield opened


def _list(orders: OrderDatabase, caller: Identity = ADMIN, *, limit: int = 50, **wanted: Any) -> dict[str, Any]:
    answer: dict[str, Any] = orders.run(lambda tx: listings.list_orders(tx, caller, limit=limit, **wanted))
    return answer


def _ids(orders: OrderDatabase, caller: Identity = ADMIN, **wanted: Any) -> list[UUID]:
    return [UUID(order["id"]) for order in _list(orders, caller, **wanted)["orders"]]


def _move(orders: OrderDatabase, order_id: UUID, *, later: timedelta = timedelta(0)) -> None:
    orders.query("update orders set created_at = created_at + %s where id = %s", later, str(order_id))


class TestWhoSeesWhat:
    def test_each_sees_what_they_are_a_party_to(self, orders: OrderDatabase) -> None:
        mug, cup, bobs = orders.place("ada", "mug"), orders.place("ada", "cup"), orders.place("bob", "cup")
        bobs_mug = orders.place("bob", "mug")
        newest_first = [bobs_mug, bobs, cup, mug]
        assert _ids(orders, ADMIN) == _ids(orders, TRUSTED) == newest_first
        assert _ids(orders, ADA) == [cup, mug]
        assert _ids(orders, SHOP) == [bobs_mug, mug]
        assert _ids(orders, SHOP_AND_CUSTOMER) == [bobs_mug, bobs, mug]
        assert _ids(orders, ANONYMOUS) == []

    @pytest.mark.parametrize("wanted", [{"userId": "bob"}, {"text": "bob"}, {"sellerId": "other"}, {"item": "cup"}])
    def test_no_filter_shows_more(self, orders: OrderDatabase, wanted: dict[str, str]) -> None:
        orders.place("bob", "cup")
        assert _ids(orders, ADA, **wanted) == _ids(orders, SHOP, **wanted) == []
        assert len(_ids(orders, SHOP_AND_CUSTOMER, **wanted)) == 1


class TestFilters:
    def test_each_filter_and_all_of_them(self, orders: OrderDatabase) -> None:
        mug, pen, cup = orders.place("ada", "mug"), orders.place("bob", "mug", "pen"), orders.place("ada", "cup")
        orders.confirm(mug)
        assert _ids(orders, status="CONFIRMED") == [mug]
        assert _ids(orders, userId="ada") == [cup, mug]
        assert _ids(orders, sellerId="shop") == [pen, mug]
        assert _ids(orders, item="mug") == [pen, mug]
        assert _ids(orders, item="mug", userId="ada") == [mug]
        assert _ids(orders, item="mug", userId="ada", status="PENDING") == []
        assert _ids(orders, item="mug", text="ada", sellerId="shop", status="CONFIRMED") == [mug]

    def test_since_is_inside_and_until_is_not(self, orders: OrderDatabase) -> None:
        first, second = orders.place("ada", "mug"), orders.place("ada", "mug")
        _move(orders, first, later=-timedelta(hours=2))
        [[moment]] = orders.query("select created_at from orders where id = %s", str(second))
        exactly, later = moment_text(moment), moment_text(moment + timedelta(microseconds=1))
        assert _ids(orders, since=exactly) == [second]
        assert _ids(orders, until=exactly) == [first]
        assert _ids(orders, since=later) == []
        assert _ids(orders, until=later) == [second, first]
        assert _ids(orders, until=later, since=exactly, text="ada") == [second]

    def test_times_have_zones_and_all_of_them_are_known(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        assert _ids(orders, since="0001-01-01T00:00:00Z", until="9999-12-31T23:59:59Z") == [order_id]
        assert _ids(orders, since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []


class TestPages:
    @pytest.mark.parametrize("wanted", [{}, {"text": "shop"}, {"item": "mug"}, {"text": "ada", "item": "mug"}])
    def test_every_order_is_on_one_page(self, orders: OrderDatabase, wanted: dict[str, str]) -> None:
        placed = [orders.place("ada", "mug") for _ in range(5)]
        found: list[UUID] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            page = _list(orders, SHOP_AND_CUSTOMER, limit=2, cursor=cursor, **wanted)
            found += [UUID(order["id"]) for order in page["orders"]]
            cursor, pages = page["nextCursor"], pages + 1
        assert (found, pages) == (placed[::-1], 3)

    def test_what_several_ways_lead_to_is_there_once(self, orders: OrderDatabase) -> None:
        """Given a customer who bears the name of a shop and of an item, then each of their orders is found once."""
        orders.sell("shop")
        placed = [orders.place("shop", "shop", correlation_id="shop") for _ in range(3)]
        assert _ids(orders, text="shop") == placed[::-1]
        assert _ids(orders, text="shop", limit=2) == placed[:0:-1]


class TestText:
    def test_all_that_an_order_is_called(self, orders: OrderDatabase) -> None:
        order_id, other = orders.place("ada", "mug", correlation_id="req-7"), orders.place("bob", "cup")
        orders.confirm(order_id)
        orders.run(lambda tx: requests.fulfil_order(tx, TRUSTED, str(order_id), "T-9", None, "req-8", SETTINGS))
        name = str(order_id)
        for sought in ("ada", "shop", "mug", "T-9", "req-7", "req-8", name, name.upper(), name[:-2]):
            assert _ids(orders, text=sought) == [order_id], sought
        # Both begin with the same minute, or nearly always so.
        assert order_id in _ids(orders, text=name[:8])
        assert other in _ids(orders, text=str(other)[:8])
        for sought in (name[-8:], name[-8:].upper()):
            assert _ids(orders, text=sought) == [order_id], sought
        for sought in ("AD", "ad", "T-", "mu", "%", "_", name[:7], name[-7:], name[-9:], "' or true --"):
            assert _ids(orders, text=sought) == [], sought

    def test_an_order_is_called_by_its_own_id_where_nobody_gave_another(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        assert _ids(orders, text=str(order_id)) == [order_id]


class TestFollowing:
    @staticmethod
    def _follow(orders: OrderDatabase, caller: Identity, *wanted: tuple[UUID | str, int]) -> Any:
        entries = [{"orderId": str(order_id), "after": after} for order_id, after in wanted]
        return orders.run(lambda tx: listings.follow_orders(tx, caller, entries))

    def test_what_is_new_about_an_order(self, orders: OrderDatabase) -> None:
        order_id = orders.place("ada", "mug")
        [placed] = self._follow(orders, ADA, (order_id, 0))
        assert [event["type"] for event in placed["events"]] == ["ORDER_CREATED"]
        assert (placed["order"]["status"], placed["order"]["allowedActions"]) == ("PENDING", ["cancel"])
        assert (placed["order"]["flag"], placed["isWhole"], placed["hasCheckedOut"]) == (None, False, False)
        orders.confirm(order_id)
        [confirmed] = self._follow(orders, ADA, (order_id, placed["events"][-1]["seq"]))
        assert [event["type"] for event in confirmed["events"]] == ["TOLD", "TOLD", "ORDER_CONFIRMED"]
        assert (confirmed["isWhole"], confirmed["hasCheckedOut"]) == (False, True)
        seqs = [event["seq"] for event in confirmed["events"]]
        assert seqs == sorted(seqs)
        [nothing] = self._follow(orders, ADA, (order_id, seqs[-1]))
        assert nothing == {**confirmed, "events": []}
        timeline = orders.run(lambda tx: requests.get_order(tx, ADA, str(order_id)))["timeline"]
        told = [{name: said for name, said in event.items() if name != "seq"} for event in confirmed["events"]]
        assert all(event in timeline for event in told)

    def test_when_it_is_whole(self, orders: OrderDatabase) -> None:
        shipped, undone = orders.place("ada", "mug"), orders.place("ada", "mug")
        orders.confirm(shipped)
        orders.run(lambda tx: requests.fulfil_order(tx, SHOP, str(shipped), None, None, None, SETTINGS))
        orders.run(lambda tx: requests.cancel_order(tx, ADA, str(undone), None, None, None, SETTINGS))

        def ended() -> list[tuple[bool, bool]]:
            followed = self._follow(orders, ADA, (shipped, 0), (undone, 0))
            return [(entry["isWhole"], entry["hasCheckedOut"]) for entry in followed]

        assert ended() == [(False, True), (False, False)]
        orders.run(telling(StockCommitted(order_id=shipped, generation=1)))
        freed = StockReturned(order_id=undone, generation=1, reason="cancelled")
        orders.run(telling(freed, PaymentCancelled(order_id=undone)))
        assert ended() == [(True, True), (True, True)]

    def test_each_entry_has_its_own_answer(self, orders: OrderDatabase) -> None:
        """Given one's own order twice, a foreign one, one that is not there and no id, then errors beside answers."""
        mine, foreign, missing = orders.place("ada", "mug"), orders.place("bob", "cup"), uuid4()
        wanted = ((mine, 0), (foreign, 0), (mine, 2**62), (missing, 0), ("no id", 0))
        whole, *others = self._follow(orders, ADA, *wanted)
        assert len(whole["events"]) == 1
        assert others[1]["events"] == []
        errors = [others[0], others[2], others[3]]
        assert [entry["error"]["code"] for entry in errors] == ["order_not_found"] * 3
        assert [entry["error"]["details"]["id"] for entry in errors] == [str(foreign), str(missing), "no id"]
        assert self._follow(orders, ADA) == []

    def test_the_rest_comes_with_the_next_question(
        self, orders: OrderDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listings, "MOST_EVENTS", 2)
        order_id = orders.place("ada", "mug")
        orders.confirm(order_id)
        types, after = [], 0
        for _ in range(2):
            [followed] = self._follow(orders, ADMIN, (order_id, after))
            types += [event["type"] for event in followed["events"]]
            after = followed["events"][-1]["seq"]
        assert types == orders.events(order_id)


class TestBoard:
    @staticmethod
    def _board(orders: OrderDatabase, *, limit: int = 50, **wanted: Any) -> Any:
        return orders.run(lambda tx: saga_requests.list_sagas(tx, ADMIN, limit=limit, **wanted))

    def _shown(self, orders: OrderDatabase, **wanted: Any) -> list[tuple[str, str, str]]:
        sagas = self._board(orders, **wanted)["sagas"]
        return [(saga["orderId"], saga["step"], saga["waitsFor"]) for saga in sagas]

    def test_who_waits_for_whom_what_is_stuck_first(self, orders: OrderDatabase) -> None:
        late = orders.place("ada", "mug", correlation_id="req-1")
        orders.query("update orders set deadline_at = now(), wake_at = now()")
        orders.sell("pen", requires_approval=True, version=2)
        asked = orders.place("ada", "pen")
        paid, manual, undone, ended = (orders.place("ada", "mug") for _ in range(4))
        orders.confirm(paid)
        held = StockReserved(order_id=manual, generation=1, expires_at=datetime.now(UTC) + timedelta(hours=1))
        orders.run(telling(held, PaymentAwaited(order_id=manual)))
        for order_id in (undone, ended):
            orders.run(lambda tx, id_=order_id: requests.cancel_order(tx, ADA, str(id_), None, None, None, SETTINGS))
        freed = StockReturned(order_id=ended, generation=1, reason="cancelled")
        orders.run(telling(freed, PaymentCancelled(order_id=ended)))
        orders.run(lambda tx: handlers.watch_deadlines(tx, FLAGGING), later=timedelta(seconds=1))

        stuck = [(str(late), "answer", "inventory")]
        running = [
            (str(undone), "compensation", "inventory"),
            (str(manual), "payment", "customer"),
            (str(paid), "shipment", "seller"),
            (str(asked), "approval", "seller"),
        ]
        done = [(str(ended), "done", "nobody")]
        assert self._shown(orders, state="stuck") == stuck
        assert self._shown(orders, state="running") == stuck + running
        assert self._shown(orders, state="ended") == done
        assert self._shown(orders) == stuck + done + running
        assert self._shown(orders, text="req-1") == self._shown(orders, text="req-1", state="running") == stuck
        assert self._shown(orders, text="ada", state="running") == stuck + running
        assert self._shown(orders, text="ada", state="ended") == done
        assert self._shown(orders, text="nobody") == []
        [flagged] = self._board(orders, state="stuck")["sagas"]
        assert (flagged["flag"], flagged["status"], flagged["correlationId"]) == ("pending_overdue", "PENDING", "req-1")
        assert flagged["flaggedAt"] > flagged["startedAt"]

    @pytest.mark.parametrize("wanted", [{}, {"state": "running"}, {"text": "ada"}])
    def test_every_saga_is_on_one_page(self, orders: OrderDatabase, wanted: dict[str, str]) -> None:
        placed = [str(orders.place("ada", "mug")) for _ in range(5)]
        statement = "update orders set flag = 'stock_missing', flagged_at = now() where id = any(%s::uuid[])"
        orders.query(statement, placed[1:4:2])
        found: list[str] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            page = self._board(orders, limit=2, cursor=cursor, **wanted)
            found += [saga["orderId"] for saga in page["sagas"]]
            cursor, pages = page["nextCursor"], pages + 1
        assert found == [placed[n] for n in (3, 1, 4, 2, 0)]
        assert pages == 3
