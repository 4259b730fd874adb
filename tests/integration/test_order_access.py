"""Orders belong to somebody: on the locked row it is seen who asks, and the audit log keeps who did.

No process runs but in the last test, where the identity comes with the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.databases import Databases
from harness.order_database import SETTINGS, OrderDatabase, Work, open_orders, telling
from harness.processes import Processes

from gateway.rpc import RpcClient
from order_service import requests
from order_service.happenings import StockCommitted
from shared import audit
from shared.errors import Forbidden, IdempotencyKeyReused, OrderNotFound
from shared.identity import ANONYMOUS, TRUSTED, Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
BOB = Identity(subject="bob", roles=frozenset({Role.USER}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
OTHER_SHOP = Identity(subject="tom", roles=frozenset({Role.SELLER}), seller_id="other")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
STRANGERS = (BOB, OTHER_SHOP, ANONYMOUS)
GOODS = {"items": [{"item": "mug", "quantity": 1}], "restock": True}


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        yield opened


def _cancel(order_id: UUID, caller: Identity, by: str | None = None) -> Work:
    return lambda tx: requests.cancel_order(tx, caller, str(order_id), by, None, "req-1", SETTINGS)["order"]


def _approve(order_id: UUID, caller: Identity) -> Work:
    return lambda tx: requests.approve_order(tx, caller, str(order_id), None, None, "req-1", SETTINGS)["order"]


def _decline(order_id: UUID, caller: Identity) -> Work:
    return lambda tx: requests.decline_order(tx, caller, str(order_id), None, None, "req-1", SETTINGS)["order"]


def _fulfil(order_id: UUID, caller: Identity, key: str | None = None, tracking: str = "T-1") -> Work:
    return lambda tx: requests.fulfil_order(tx, caller, str(order_id), tracking, key, "req-1", SETTINGS)


def _return(order_id: UUID, caller: Identity) -> Work:
    return lambda tx: requests.return_order(tx, caller, str(order_id), GOODS, None, "req-1", SETTINGS)


SELLERS_REQUESTS = (_approve, _decline, _fulfil, _return)


def _placed(orders: OrderDatabase, *, requires_approval: bool = False) -> UUID:
    orders.sell("mug", requires_approval=requires_approval)
    return orders.place("ada", "mug", caller=ADA)


def _state(orders: OrderDatabase, order_id: UUID) -> Any:
    return orders.query("select * from orders where id = %s", str(order_id)), orders.events(order_id)


def _log(orders: OrderDatabase, order_id: UUID) -> list[tuple[Any, ...]]:
    statement = """select actor, roles, action, object_type, request_id, before, after from audit_log
                   where object_id = %s order by id"""
    return orders.query(statement, str(order_id))


class TestWhoSees:
    def test_parties_see_the_order_and_for_others_there_is_none(self, orders: OrderDatabase) -> None:
        order_id = _placed(orders)
        for caller in (ADA, SHOP, ADMIN, TRUSTED):
            seen = orders.run(lambda tx, caller=caller: requests.get_order(tx, caller, str(order_id)))
            assert (seen["id"], seen["userId"], seen["sellerId"]) == (str(order_id), "ada", "shop")
        for caller in STRANGERS:
            with pytest.raises(OrderNotFound) as foreign:
                orders.run(lambda tx, caller=caller: requests.get_order(tx, caller, str(order_id)))
            assert foreign.value.details == {"id": str(order_id)}


class TestWhoDoes:
    @pytest.mark.parametrize("ask", [_cancel, *SELLERS_REQUESTS])
    @pytest.mark.parametrize("stranger", STRANGERS, ids=lambda identity: identity.subject)
    def test_a_stranger_changes_nothing(
        self, orders: OrderDatabase, ask: Callable[[UUID, Identity], Work], stranger: Identity
    ) -> None:
        order_id = _placed(orders)
        before = _state(orders, order_id)
        with pytest.raises(OrderNotFound):
            orders.run(ask(order_id, stranger))
        assert _state(orders, order_id) == before
        assert _log(orders, order_id) == []

    @pytest.mark.parametrize("ask", SELLERS_REQUESTS)
    @pytest.mark.parametrize("caller", [ADA, ADMIN], ids=lambda identity: identity.subject)
    def test_what_is_the_sellers_nobody_else_does(
        self, orders: OrderDatabase, ask: Callable[[UUID, Identity], Work], caller: Identity
    ) -> None:
        order_id = _placed(orders)
        before = _state(orders, order_id)
        with pytest.raises(Forbidden):
            orders.run(ask(order_id, caller))
        assert _state(orders, order_id) == before

    @pytest.mark.parametrize(
        ("caller", "reason"), [(ADA, "customer"), (SHOP, "seller"), (ADMIN, "operator"), (TRUSTED, "customer")]
    )
    def test_the_reason_says_who_cancelled(self, orders: OrderDatabase, caller: Identity, reason: str) -> None:
        order_id = _placed(orders)
        assert orders.run(_cancel(order_id, caller))["reason"] == reason

    def test_nobody_cancels_as_somebody_else(self, orders: OrderDatabase) -> None:
        order_id = _placed(orders)
        for caller, by in ((ADA, "seller"), (SHOP, "customer"), (ADMIN, "customer"), (ADA, "operator")):
            with pytest.raises(Forbidden):
                orders.run(_cancel(order_id, caller, by))
        assert orders.run(_cancel(order_id, SHOP, "seller"))["reason"] == "seller"

    def test_who_is_trusted_says_as_whom(self, orders: OrderDatabase) -> None:
        order_id = _placed(orders)
        assert orders.run(_cancel(order_id, TRUSTED, "operator"))["reason"] == "operator"

    def test_a_key_is_its_callers(self, orders: OrderDatabase) -> None:
        """Given the seller's key, then a customer who sends the same one gets no answer of theirs."""
        order_id = _placed(orders)
        orders.confirm(order_id)
        first, again = (orders.run(_fulfil(order_id, SHOP, "k")) for _ in range(2))
        assert again == {"order": first["order"], "replayed": True}
        with pytest.raises(Forbidden):
            orders.run(_fulfil(order_id, ADA, "k"))
        with pytest.raises(IdempotencyKeyReused):
            orders.run(_fulfil(order_id, SHOP, "k", "T-2"))


class TestAudit:
    def test_a_whole_life(self, orders: OrderDatabase) -> None:
        order_id = _placed(orders, requires_approval=True)
        assert _log(orders, order_id) == []
        orders.run(_approve(order_id, SHOP))
        orders.confirm(order_id)
        orders.run(_fulfil(order_id, SHOP))
        orders.run(telling(StockCommitted(order_id=order_id, generation=1)))
        returned = orders.run(_return(order_id, TRUSTED))["return"]
        approved, fulfilled, taken_back = _log(orders, order_id)
        pending, confirmed = {"status": "PENDING"}, {"status": "CONFIRMED"}
        seller = ("sue", "SELLER")
        assert approved == (*seller, "approve_order", "order", "req-1", pending, {**pending, "by": "seller"})
        after = {**confirmed, "by": "seller", "tracking": "T-1"}
        assert fulfilled == (*seller, "fulfil_order", "order", "req-1", confirmed, after)
        assert taken_back[:3] == ("broker", "", "return_order")
        assert taken_back[6] == {
            "status": "FULFILLED",
            "by": "seller",
            "returnId": returned["id"],
            "items": GOODS["items"],
            "restock": True,
            "refundAmount": "10.00",
        }

    @pytest.mark.parametrize(("ask", "caller"), [(_cancel, ADMIN), (_decline, SHOP)])
    def test_what_is_asked_again_is_recorded_once(
        self, orders: OrderDatabase, ask: Callable[[UUID, Identity], Work], caller: Identity
    ) -> None:
        order_id = _placed(orders, requires_approval=True)
        for _ in range(2):
            orders.run(ask(order_id, caller))
        [line] = _log(orders, order_id)
        assert (line[0], line[5], line[6]["status"]) == (caller.subject, {"status": "PENDING"}, "CANCELLED")

    def test_an_operator_reads_it(self, orders: OrderDatabase) -> None:
        order_id = _placed(orders)
        orders.run(_cancel(order_id, ADA))
        wanted = audit.AuditFilter(object_id=str(order_id))
        page = orders.run(lambda tx: audit.page(tx, ADMIN, limit=10, cursor=None, wanted=wanted))
        assert [(entry["actor"], entry["action"]) for entry in page["entries"]] == [("ada", "cancel_order")]


def test_the_identity_comes_with_the_request(processes: Processes, orders: OrderDatabase, rpc: RpcClient) -> None:
    """Given a running service, then who asks decides what each of its methods answers."""
    processes.start_ready("order_service")
    orders.sell("mug")

    def call(method: str, caller: Identity | None, **arguments: Any) -> Any:
        return rpc.call("order_service", method, caller=caller, **arguments)

    items = [{"item": "mug", "quantity": 1}]
    cart = call("create_cart", ADA, cart={"items": items}, idempotency_key=uuid4().hex)["cart"]
    assert call("put_cart_item", ADA, cart_id=cart["id"], item="mug", quantity=2)["price"] == "20.00"
    assert call("remove_cart_item", ADA, cart_id=cart["id"], item="pen") == call("get_cart", ADA, cart_id=cart["id"])
    placed = call("place_order", ADA, order={"cartId": cart["id"]})["order"]
    assert (placed["userId"], placed["price"]) == ("ada", "20.00")
    entries = [{"order": {"items": items}, "identity": identity.header()} for identity in (BOB, SHOP)]
    bobs, refused = call("place_orders", None, orders=entries)
    assert (bobs["order"]["userId"], refused["error"]["code"]) == ("bob", "forbidden")

    assert [order["userId"] for order in call("list_orders", ADA)["orders"]] == ["ada"]
    assert [order["userId"] for order in call("list_orders", SHOP)["orders"]] == ["bob", "ada"]
    with pytest.raises(OrderNotFound):
        call("get_order", BOB, order_id=placed["id"])
    with pytest.raises(Forbidden):
        call("cancel_order", ADA, order_id=placed["id"], by="seller")
    assert call("cancel_order", ADA, order_id=placed["id"])["order"]["reason"] == "customer"
    [followed] = call("follow_orders", ADA, wanted=[{"orderId": placed["id"]}])
    assert [event["type"] for event in followed["events"]][:2] == ["ORDER_CREATED", "CANCEL_REQUESTED"]
    assert placed["id"] in json.dumps(call("list_sagas", ADMIN, state="running"))
    assert call("list_audit", ADMIN, object_id=placed["id"])["entries"][0]["actor"] == "ada"
    for method in ("list_sagas", "list_audit"):
        with pytest.raises(Forbidden):
            call(method, ADA)
