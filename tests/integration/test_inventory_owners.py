"""Whose stock and reservations these are, over the real broker and database: each identity sees and changes its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import new_order_id, order_created
from harness.people import CUSTOMER, EVERYTHING_BUT_OPERATOR, OPERATOR, RIVAL, SELLER, STRANGER, asks_of
from harness.processes import Processes
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from shared.errors import Forbidden, PreconditionFailed, ProductNotFound, ReservationNotFound
from shared.identity import Identity

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

SERVICE = "inventory_service"
PRODUCT = {"name": "Mug", "price": "10.00", "currency": "EUR", "onHand": 5}
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga([SERVICE])


@pytest.fixture
def ask(rpc: RpcClient) -> Call:
    return asks_of(rpc, SERVICE)


@pytest.fixture
def make(ask: Call) -> Call:
    """A new product of a seller; its item."""

    def create(caller: Identity = SELLER, **changes: Any) -> str:
        product = {"item": f"item-{uuid4().hex[:8]}", **PRODUCT, **changes}
        answer = ask(caller, "create_product", product=product)
        return str(answer["product"]["item"])

    return create


@pytest.fixture
def order(broker: Broker, databases: Databases) -> Call:
    """An order that is reserved when this returns; its id."""

    def place(item: str, **changes: Any) -> str:
        order_id = new_order_id()
        broker.publish_event("ORDER_CREATED", order_created(order_id, item, paymentMode="manual", **changes))
        reserved = "select count(*) from reservations where order_id = %s"
        wait_until(lambda: databases.value(SERVICE, reserved, order_id), f"{order_id} is reserved")
        return order_id

    return place


def _audited(ask: Call, object_id: str) -> list[dict[str, Any]]:
    """Oldest first."""
    page = ask(OPERATOR, "list_audit", object_id=object_id)
    assert page["nextCursor"] is None
    entries: list[dict[str, Any]] = page["entries"]
    return entries[::-1]


class TestProducts:
    def test_a_seller_makes_and_changes_their_own(self, ask: Call, make: Call, databases: Databases) -> None:
        """Given a product without a seller's name, then it is its maker's; each change is told and recorded."""
        item = make()
        made = ask(None, "get_product", item=item)
        assert (made["sellerId"], made["version"]) == ("shop", 1)

        changes = {"price": "12.50", "active": False}
        changed = ask(SELLER, "update_product", item=item, changes=changes, versions=[1], correlation_id="r-1")
        assert changed == {**made, "version": 2, "price": "12.50", "active": False, "updatedAt": changed["updatedAt"]}
        told = "select payload, correlation_id from outbox where aggregate_id = %s order by id desc limit 1"
        [(payload, correlation_id)] = databases.query(SERVICE, told, item)
        assert (payload["version"], payload["price"], payload["active"], correlation_id) == (2, "12.50", False, "r-1")

        first, second = _audited(ask, item)
        assert (first["actor"], first["roles"], first["action"], first["before"]) == (
            "sue",
            ["SELLER"],
            "create_product",
            None,
        )
        assert (second["action"], second["objectType"], second["requestId"]) == ("update_product", "product", "r-1")
        assert second["before"] == {"version": 1, "price": "10.00", "active": True}
        assert second["after"] == {"version": 2, "price": "12.50", "active": False}

    def test_what_changes_nothing_is_no_new_version(self, ask: Call, make: Call, databases: Databases) -> None:
        item = make()
        for changes in ({}, {"price": "10.00"}, {"name": "Mug", "requiresApproval": False}):
            assert ask(SELLER, "update_product", item=item, changes=changes, versions=[1])["version"] == 1
        told = "select count(*) from outbox where aggregate_id = %s"
        assert databases.value(SERVICE, told, item) == 1
        assert len(_audited(ask, item)) == 1

    def test_one_that_has_changed_is_not_changed_unseen(self, ask: Call, make: Call) -> None:
        item = make()
        for versions in ([2], [], [0, 7]):
            with pytest.raises(PreconditionFailed) as refused:
                ask(SELLER, "update_product", item=item, changes={"name": "Cup"}, versions=versions)
            assert refused.value.details == {"version": 1}
        assert ask(SELLER, "update_product", item=item, changes={"name": "Cup"}, versions=[9, 1])["version"] == 2
        assert ask(SELLER, "update_product", item=item, changes={"name": "Pot"})["version"] == 3

    @pytest.mark.parametrize("caller", [RIVAL, CUSTOMER])
    def test_foreign_ones_are_seen_and_not_touched(self, ask: Call, make: Call, caller: Identity) -> None:
        item = make()
        assert ask(caller, "get_product", item=item)["available"] == 5
        hold = {"items": [{"item": item, "quantity": 1}]}
        for method, arguments in (
            ("create_product", {"product": {**PRODUCT, "item": f"{item}-2", "sellerId": "shop"}}),
            ("update_product", {"item": item, "changes": {"price": "0.01"}}),
            ("adjust_stock", {"adjustment": {"item": item, "delta": -5, "reason": "envy"}}),
            ("reserve_stock", {"reservation": hold}),
            ("list_movements", {"item": item}),
        ):
            with pytest.raises(Forbidden):
                ask(caller, method, **arguments)
        assert ask(None, "get_product", item=item)["version"] == 1
        assert [entry["action"] for entry in _audited(ask, item)] == ["create_product"]

    def test_operators_change_anybodys(self, ask: Call, make: Call) -> None:
        item = make()
        ask(OPERATOR, "update_product", item=item, changes={"requiresApproval": True})
        ask(OPERATOR, "adjust_stock", adjustment={"item": item, "delta": 3, "reason": "counted"})
        adjusted = _audited(ask, item)[-1]
        assert (adjusted["actor"], adjusted["before"], adjusted["after"]) == (
            "root",
            {"onHand": 5},
            {"onHand": 8, "reason": "counted"},
        )
        with pytest.raises(ProductNotFound):
            ask(OPERATOR, "update_product", item="no-such-item", changes={})

    def test_the_same_key_of_two_sellers_is_two_requests(self, ask: Call, make: Call) -> None:
        mine, theirs = make(), make(RIVAL)
        for caller, item in ((SELLER, mine), (RIVAL, theirs), (SELLER, mine)):
            adjustment = {"item": item, "delta": 1, "reason": "found"}
            ask(caller, "adjust_stock", adjustment=adjustment, idempotency_key="k-1")
        assert [ask(None, "get_product", item=item)["onHand"] for item in (mine, theirs)] == [6, 6]
        assert [entry["action"] for entry in _audited(ask, mine)] == ["create_product", "adjust_stock"]


class TestLists:
    def _items(self, page: Any, name: str = "products") -> list[str]:
        return [row["item"] for row in page[name]]

    def test_of_products_by_text_seller_and_whether_they_are_sold(self, ask: Call, make: Call) -> None:
        for item, name, caller in (
            ("a-1", "Blue MUG", SELLER),
            ("b-mug", "Cup", SELLER),
            ("c-1", "100% wool", RIVAL),
            ("d_1", r"back\slash", RIVAL),
        ):
            make(caller, item=item, name=name)
        ask(SELLER, "update_product", item="a-1", changes={"active": False})
        for found, asked in (
            (["a-1", "b-mug", "c-1", "d_1"], {}),
            (["a-1", "b-mug"], {"text": "Mug"}),
            (["c-1"], {"text": "%"}),
            (["d_1"], {"text": "_"}),
            (["d_1"], {"text": "\\"}),
            (["d_1"], {"text": r"back\s"}),
            ([], {"text": "%mug"}),
            (["c-1", "d_1"], {"seller_id": "other-shop"}),
            (["b-mug"], {"seller_id": "shop", "active": "true"}),
            (["a-1"], {"active": "false"}),
            (["a-1", "b-mug"], {"text": "mug", "active": "any"}),
        ):
            assert self._items(ask(STRANGER, "list_products", **asked)) == found, asked
        first = ask(STRANGER, "list_products", limit=1, text="mug")
        assert self._items(ask(STRANGER, "list_products", limit=1, text="mug", cursor=first["nextCursor"])) == ["b-mug"]

    def test_of_stock_are_the_sellers_own(self, ask: Call, make: Call, order: Call) -> None:
        mine, theirs = sorted((make(), make())), make(RIVAL)
        order(mine[0])
        page = ask(SELLER, "list_stock")
        assert page["nextCursor"] is None
        assert page["stock"][0] == {
            "item": mine[0],
            "name": "Mug",
            "sellerId": "shop",
            "onHand": 5,
            "reserved": 1,
            "available": 4,
        }
        assert self._items(page, "stock") == mine
        assert self._items(ask(OPERATOR, "list_stock"), "stock") == sorted([*mine, theirs])
        assert self._items(ask(OPERATOR, "list_stock", seller_id="other-shop"), "stock") == [theirs]
        assert self._items(ask(SELLER, "list_stock", item=mine[1]), "stock") == [mine[1]]
        assert ask(SELLER, "list_stock", item=theirs) == {"stock": [], "nextCursor": None}
        first = ask(SELLER, "list_stock", limit=1)
        assert self._items(ask(SELLER, "list_stock", limit=1, cursor=first["nextCursor"]), "stock") == [mine[1]]
        with pytest.raises(Forbidden):
            ask(CUSTOMER, "list_stock")


class TestReservations:
    def _ids(self, ask: Call, caller: Identity | None, **asked: Any) -> list[str]:
        return [r["id"] for r in ask(caller, "list_reservations", **asked)["reservations"]]

    def test_an_order_says_whose_goods_it_holds(self, ask: Call, make: Call, order: Call, databases: Databases) -> None:
        order_id = order(make())
        told = "select payload from outbox where aggregate_id = %s"
        assert databases.value(SERVICE, told, order_id)["sellerId"] == "shop"
        found = ask(SELLER, "get_reservation", reservation_id=order_id)
        assert (found["userId"], found["sellerId"], found["kind"]) == ("ann", "shop", "order")

    def test_an_order_that_does_not_say_is_its_customers(
        self, ask: Call, make: Call, order: Call, databases: Databases
    ) -> None:
        item = make()
        order_id = order(item, items=[{"item": item, "quantity": 1}])
        told = "select payload from outbox where aggregate_id = %s"
        assert databases.value(SERVICE, told, order_id)["sellerId"] is None
        assert ask(CUSTOMER, "get_reservation", reservation_id=order_id)["sellerId"] is None
        with pytest.raises(ReservationNotFound):
            ask(SELLER, "get_reservation", reservation_id=order_id)

    def test_are_seen_by_their_parties(self, ask: Call, make: Call, order: Call) -> None:
        """Given an order of ann's and one of bob's at different shops, then each list holds its own, newest first."""
        anns = order(make())
        elsewhere = make(RIVAL)
        bobs = order(elsewhere, userId="bob", items=[{"item": elsewhere, "sellerId": "other-shop", "quantity": 1}])
        hold = ask(SELLER, "reserve_stock", reservation={"items": [{"item": make(), "quantity": 1}]})["reservation"]
        assert (hold["userId"], hold["sellerId"]) == (None, "shop")

        assert self._ids(ask, OPERATOR) == [hold["id"], bobs, anns]
        assert self._ids(ask, None, seller_id="other-shop") == [bobs]
        assert self._ids(ask, SELLER) == [hold["id"], anns]
        assert self._ids(ask, RIVAL) == [bobs]
        assert self._ids(ask, CUSTOMER) == [anns]
        assert self._ids(ask, STRANGER) == [bobs]
        assert self._ids(ask, STRANGER, seller_id="shop") == []
        assert self._ids(ask, RIVAL, seller_id="shop") == []
        for caller, foreign in ((STRANGER, anns), (RIVAL, anns), (CUSTOMER, bobs), (CUSTOMER, hold["id"])):
            with pytest.raises(ReservationNotFound):
                ask(caller, "get_reservation", reservation_id=foreign)

    def test_of_somebody_who_buys_and_sells_come_in_one_list(self, ask: Call, make: Call, order: Call) -> None:
        own = [order(make()), order(make(), userId="bob")]
        elsewhere = make(RIVAL)
        own.append(order(elsewhere, items=[{"item": elsewhere, "sellerId": "other-shop", "quantity": 1}]))
        order(elsewhere, userId="bob", items=[{"item": elsewhere, "sellerId": "other-shop", "quantity": 1}])
        found, cursor = [], None
        while True:
            page = ask(EVERYTHING_BUT_OPERATOR, "list_reservations", limit=1, cursor=cursor, status="RESERVED")
            found += [r["id"] for r in page["reservations"]]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        assert found == own[::-1]

    def test_are_ended_by_their_seller(self, ask: Call, make: Call) -> None:
        hold = ask(SELLER, "reserve_stock", reservation={"items": [{"item": make(), "quantity": 2}]})["reservation"]
        with pytest.raises(ReservationNotFound):
            ask(RIVAL, "release_reservation", reservation_id=hold["id"])
        ask(SELLER, "release_reservation", reservation_id=hold["id"], correlation_id="r-2")
        held, released = _audited(ask, hold["id"])
        assert (held["action"], held["after"]) == ("reserve_stock", hold)
        assert (released["action"], released["requestId"]) == ("release_reservation", "r-2")
        assert (released["before"], released["after"]) == ({"status": "RESERVED"}, {"status": "RELEASED"})

    def test_of_several_sellers_are_an_operators(self, ask: Call, make: Call) -> None:
        items = [{"item": make(), "quantity": 1}, {"item": make(RIVAL), "quantity": 1}]
        hold = ask(OPERATOR, "reserve_stock", reservation={"items": items})["reservation"]
        assert (hold["userId"], hold["sellerId"]) == (None, None)
        with pytest.raises(ReservationNotFound):
            ask(SELLER, "commit_reservation", reservation_id=hold["id"])
        assert ask(OPERATOR, "commit_reservation", reservation_id=hold["id"])["reservation"]["status"] == "COMMITTED"

    def test_of_orders_are_not_their_customers_to_end(self, ask: Call, make: Call, order: Call) -> None:
        order_id = order(make())
        for method in ("release_reservation", "commit_reservation"):
            with pytest.raises(Forbidden):
                ask(CUSTOMER, method, reservation_id=order_id)


class TestAudit:
    @pytest.mark.parametrize("caller", [CUSTOMER, SELLER, EVERYTHING_BUT_OPERATOR])
    def test_is_for_operators(self, ask: Call, caller: Identity) -> None:
        with pytest.raises(Forbidden):
            ask(caller, "list_audit")

    def test_a_caller_without_a_name_is_the_broker(self, ask: Call, make: Call) -> None:
        item = f"item-{uuid4().hex[:8]}"
        ask(None, "create_product", product={"item": item, "sellerId": "shop", **PRODUCT})
        assert [(entry["actor"], entry["roles"]) for entry in _audited(ask, item)] == [("broker", [])]

    @pytest.mark.parametrize("change", ["update audit_log set actor = 'nobody'", "delete from audit_log"])
    def test_nobody_takes_a_line_back(self, databases: Databases, change: str) -> None:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            databases.query(SERVICE, change)
