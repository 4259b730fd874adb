"""The inventory service over its real broker and database: reservations from beginning to end, and holds by hand.

The test plays the order and the payment service. Orders paid automatically expire after TTL_S here, those paid by hand
not within a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import new_order_id, order_cancelled, order_created, payment_failed, payment_success
from harness.processes import Processes
from harness.waiting import wait_until

from gateway.rpc import RpcClient
from shared.errors import (
    Conflict,
    ForeignReservation,
    IdempotencyKeyReused,
    InvalidRequest,
    OutOfStock,
    ProductNotFound,
    ReservationExists,
    ReservationNotFound,
    ReservationNotHeld,
    UnknownItem,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

# Its half is a second chance: far enough from its end for a busy machine.
TTL_S = 8
SERVICE = "inventory_service"
# (what must not exist, statement that counts it)
_NONE_OF = (
    (
        "stock that its movements do not explain",
        """select count(*) from stock s left join (
               select item, sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved
               from stock_movements group by item) m using (item)
           where (s.on_hand, s.reserved) is distinct from (coalesce(m.on_hand, 0), coalesce(m.reserved, 0))""",
    ),
    (
        "stock reserved for no open reservation",
        """select count(*) from stock s left join (
               select item, sum(quantity) as reserved from reservations join order_lines using (order_id)
               where status = 'RESERVED' group by item) r using (item)
           where s.reserved <> coalesce(r.reserved, 0)""",
    ),
    (
        "reservations that end without a time, or have one and go on",
        "select count(*) from reservations where (status = 'RESERVED') <> (ended_at is null)",
    ),
    (
        "events of manual holds",
        "select count(*) from outbox where aggregate_id in (select order_id::text from sagas where manual)",
    ),
)


@pytest.fixture(scope="module")
def services(processes: Processes) -> None:
    processes.start_saga([SERVICE], RESERVATION_TTL_S=str(TTL_S), MANUAL_PAYMENT_TTL_S="600")


@pytest.fixture(autouse=True)
def _books_are_right_afterwards(databases: Databases, broker: Broker, clean: None) -> Iterator[None]:
    """Stock equals its movements after everything, and nothing died that a test did not take away itself."""
    yield
    found = {what: databases.value(SERVICE, statement) for what, statement in _NONE_OF}
    assert found == dict.fromkeys(found, 0)
    assert broker.all_dead() == {}


class Warehouse:
    """The inventory service as its callers and publishers see it, and its books."""

    def __init__(self, rpc: RpcClient, broker: Broker, databases: Databases) -> None:
        self._rpc, self._broker, self._databases = rpc, broker, databases

    def call(self, method: str, **kwargs: Any) -> Any:
        return self._rpc.call(SERVICE, method, **kwargs)

    def product(self, on_hand: int, item: str | None = None, **changes: Any) -> str:
        name = item or f"item-{uuid4().hex[:8]}"
        product = {"item": name, "name": name, "sellerId": "shop", "price": "10.00", "currency": "EUR"}
        self.call("create_product", product={**product, "onHand": on_hand, **changes})
        return name

    def hold(self, item: str, quantity: int = 1, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        """For longer than a test lasts, unless it says otherwise."""
        wanted = {"items": [{"item": item, "quantity": quantity}], "ttlSeconds": 60, **more}
        answer: dict[str, Any] = self.call("reserve_stock", reservation=wanted, idempotency_key=key)
        return answer

    def reservation(self, id_: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("get_reservation", reservation_id=id_)
        return answer

    def stock(self, item: str) -> tuple[int, int]:
        """(on hand, reserved)."""
        product = self.call("get_product", item=item)
        return product["onHand"], product["reserved"]

    def tell(self, event_type: str, payload: Mapping[str, Any], **properties: Any) -> str:
        """Publish, and wait until it was applied; its id."""
        id_ = self._broker.publish_event(event_type, payload, **properties)
        assert id_ is not None
        self.wait_applied(id_)
        return id_

    def wait_applied(self, event_id: str) -> None:
        seen = "select count(*) from inbox where event_id = %s"
        wait_until(lambda: self._databases.value(SERVICE, seen, event_id), f"event {event_id} is applied")

    def order(self, item: str, quantity: int = 1, **changes: Any) -> str:
        """Reserved (or rejected) when this returns; paid by hand, so it does not expire within a test."""
        order_id = new_order_id()
        self.tell("ORDER_CREATED", order_created(order_id, item, quantity, **{"paymentMode": "manual", **changes}))
        return order_id

    def events(self, aggregate_id: str) -> list[str]:
        statement = "select event_type from outbox where aggregate_id = %s order by id"
        return [row[0] for row in self._databases.query(SERVICE, statement, aggregate_id)]

    def last(self, aggregate_id: str) -> dict[str, Any]:
        """The payload of the newest event about an order or an item."""
        statement = "select payload from outbox where aggregate_id = %s order by id desc limit 1"
        payload: dict[str, Any] = self._databases.value(SERVICE, statement, aggregate_id)
        return payload

    def wait_status(self, id_: str, status: str) -> dict[str, Any]:
        wait_until(lambda: self.reservation(id_)["status"] == status, f"{id_} is {status}")
        return self.reservation(id_)


@pytest.fixture
def warehouse(rpc: RpcClient, broker: Broker, databases: Databases) -> Warehouse:
    return Warehouse(rpc, broker, databases)


@pytest.fixture
def item(warehouse: Warehouse, clean: None) -> str:
    return warehouse.product(on_hand=5)


def _fulfilled(order_id: str) -> dict[str, Any]:
    return {"id": order_id, "shippedAt": "2026-01-01T12:00:00.000000Z", "tracking": None}


def _returned(
    order_id: str, item: str, quantity: int, *, restock: bool = True, return_id: str | None = None
) -> dict[str, Any]:
    return {
        "id": order_id,
        "returnId": return_id or str(uuid4()),
        "items": [{"item": item, "quantity": quantity}],
        "restock": restock,
        "refundAmount": "0.00",
        "currency": "EUR",
    }


def _age_s(reservation: Mapping[str, Any]) -> float:
    expires_at, created_at = (datetime.fromisoformat(reservation[name]) for name in ("expiresAt", "createdAt"))
    return (expires_at - created_at).total_seconds()


class TestShipping:
    def test_an_order_that_is_shipped_leaves_the_shelf(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, 2)
        warehouse.tell("PAYMENT_SUCCESS", payment_success(order_id))
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))

        assert warehouse.events(order_id) == ["INVENTORY_RESERVED", "INVENTORY_COMMITTED"]
        assert warehouse.last(order_id) == {
            "id": order_id,
            "generation": 1,
            "items": [{"item": item, "quantity": 2}],
        }
        assert warehouse.stock(item) == (3, 0)
        reservation = warehouse.reservation(order_id)
        assert (reservation["status"], reservation["generation"], reservation["kind"]) == ("COMMITTED", 1, "order")
        assert (reservation["expiresAt"], reservation["endedAt"] is None) == (None, False)

    def test_shipped_before_inventory_hears_of_the_payment(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item)
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        warehouse.tell("PAYMENT_SUCCESS", payment_success(order_id))
        assert warehouse.events(order_id) == ["INVENTORY_RESERVED", "INVENTORY_COMMITTED"]
        assert warehouse.stock(item) == (4, 0)

    def test_shipped_twice_beyond_the_inbox_it_leaves_once(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item)
        for _ in range(3):
            warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        for event, payload in (
            ("ORDER_CANCELLED", order_cancelled(order_id)),
            ("PAYMENT_FAILED", payment_failed(order_id)),
            ("ORDER_CREATED", order_created(order_id, item)),
        ):
            warehouse.tell(event, payload)
        assert warehouse.events(order_id) == ["INVENTORY_RESERVED", "INVENTORY_COMMITTED"]
        assert warehouse.stock(item) == (4, 0)

    def test_expired_and_then_shipped_it_is_held_again_and_leaves(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, 2, paymentMode="auto")
        warehouse.wait_status(order_id, "EXPIRED")
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))

        assert warehouse.events(order_id)[-2:] == ["INVENTORY_REFUNDED", "INVENTORY_COMMITTED"]
        assert warehouse.last(order_id)["generation"] == 2
        assert warehouse.stock(item) == (3, 0)
        kinds = [m["kind"] for m in warehouse.call("list_movements", item=item)["movements"]]
        assert kinds == ["committed", "reserved", "expired", "reserved", "initial"]
        reservation = warehouse.reservation(order_id)
        assert (reservation["status"], reservation["generation"]) == ("COMMITTED", 2)

    def test_expired_and_then_shipped_with_nothing_left_it_is_rejected(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, 2, paymentMode="auto")
        warehouse.wait_status(order_id, "EXPIRED")
        warehouse.call("adjust_stock", adjustment={"item": item, "delta": -4, "reason": "broken"})
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))

        assert warehouse.last(order_id) == {"id": order_id, "reason": "reservation_expired", "short": [item]}
        assert warehouse.stock(item) == (1, 0)
        assert warehouse.reservation(order_id)["status"] == "EXPIRED"

    @pytest.mark.parametrize("is_known", [False, True], ids=["never reserved", "released"])
    def test_shipped_without_stock_it_is_rejected_once(self, warehouse: Warehouse, item: str, is_known: bool) -> None:
        order_id = warehouse.order(item) if is_known else new_order_id()
        if is_known:
            warehouse.tell("PAYMENT_FAILED", payment_failed(order_id))
        for _ in range(2):
            warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        assert warehouse.events(order_id).count("INVENTORY_REJECTED") == 1
        assert warehouse.last(order_id) == {"id": order_id, "reason": "reservation_expired", "short": []}
        assert warehouse.stock(item) == (5, 0)

    def test_a_cancelled_order_is_not_shipped(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item)
        warehouse.tell("ORDER_CANCELLED", order_cancelled(order_id))
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        assert warehouse.events(order_id) == ["INVENTORY_RESERVED", "INVENTORY_REFUNDED"]


class TestReturns:
    @pytest.fixture
    def shipped(self, warehouse: Warehouse, item: str) -> str:
        order_id = warehouse.order(item, 3)
        warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        return order_id

    def test_with_restock_units_are_on_hand_again(
        self, warehouse: Warehouse, databases: Databases, item: str, shipped: str
    ) -> None:
        cause = warehouse.tell("ORDER_RETURNED", _returned(shipped, item, 2), correlation_id="c-7")

        assert warehouse.stock(item) == (4, 0)
        assert warehouse.last(item) == {"item": item, "delta": 2, "reason": "returned", "onHand": 4, "reserved": 0}
        statement = "select causation_id::text, correlation_id from outbox where aggregate_id = %s order by id desc"
        assert databases.query(SERVICE, statement, item)[0] == (cause, "c-7")
        [movement] = warehouse.call("list_movements", item=item, limit=1)["movements"]
        assert (movement["kind"], movement["deltaOnHand"], movement["deltaReserved"]) == ("returned", 2, 0)
        assert (movement["reservationId"], movement["reservationKind"]) == (shipped, "order")
        assert movement["eventId"] == cause

    def test_without_restock_nothing_moves(self, warehouse: Warehouse, item: str, shipped: str) -> None:
        warehouse.tell("ORDER_RETURNED", _returned(shipped, item, 2, restock=False))
        assert warehouse.stock(item) == (2, 0)
        assert warehouse.events(item) == ["PRODUCT_UPDATED"]

    def test_a_return_is_known_beyond_the_inbox(self, warehouse: Warehouse, item: str, shipped: str) -> None:
        return_id = str(uuid4())
        for quantity in (1, 1, 3):
            warehouse.tell("ORDER_RETURNED", _returned(shipped, item, quantity, return_id=return_id))
        assert warehouse.stock(item) == (3, 0)
        assert warehouse.events(item) == ["PRODUCT_UPDATED", "INVENTORY_ADJUSTED"]

    def test_in_parts_up_to_all_and_the_rest_is_dead(
        self, warehouse: Warehouse, broker: Broker, databases: Databases, item: str, shipped: str
    ) -> None:
        warehouse.tell("ORDER_RETURNED", _returned(shipped, item, 2))
        warehouse.tell("ORDER_RETURNED", _returned(shipped, item, 1, restock=False))
        broker.publish_event("ORDER_RETURNED", _returned(shipped, item, 1))
        queue = "inventory_service.ORDER_RETURNED"
        [letter] = wait_until(lambda: broker.dead(queue), "what is too much is a dead letter")

        assert "broken_rule" in str(letter.headers)
        assert warehouse.stock(item) == (4, 0)
        assert databases.value(SERVICE, "select sum(quantity) from return_lines where order_id = %s", shipped) == 3

    def test_of_an_order_that_was_not_shipped_nothing_comes_back(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, 2)
        warehouse.tell("ORDER_RETURNED", _returned(order_id, item, 1))
        assert warehouse.stock(item) == (5, 2)
        assert warehouse.events(item) == ["PRODUCT_UPDATED"]

    def test_several_at_once_count_one_after_the_other(self, warehouse: Warehouse, broker: Broker, item: str) -> None:
        """Given a batch of returns of one item, then each INVENTORY_ADJUSTED says what is on hand after it."""
        orders = [warehouse.order(item) for _ in range(3)]
        for order_id in orders:
            warehouse.tell("ORDER_FULFILLED", _fulfilled(order_id))
        for id_ in [broker.publish_event("ORDER_RETURNED", _returned(order_id, item, 1)) for order_id in orders]:
            warehouse.wait_applied(str(id_))
        assert warehouse.stock(item) == (5, 0)
        assert warehouse.last(item)["onHand"] == 5
        assert warehouse.events(item) == ["PRODUCT_UPDATED", *["INVENTORY_ADJUSTED"] * 3]


class TestApproval:
    def test_nothing_is_held_until_the_seller_approves(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, requiresApproval=True)
        assert warehouse.events(order_id) == []
        with pytest.raises(ReservationNotFound):
            warehouse.reservation(order_id)
        warehouse.tell("ORDER_APPROVED", order_created(order_id, item, requiresApproval=True))
        warehouse.tell("ORDER_APPROVED", order_created(order_id, item, requiresApproval=True))
        assert warehouse.events(order_id) == ["INVENTORY_RESERVED"]
        assert warehouse.stock(item) == (5, 1)

    def test_a_declined_order_is_never_held(self, warehouse: Warehouse, item: str) -> None:
        order_id = warehouse.order(item, requiresApproval=True)
        warehouse.tell("ORDER_CANCELLED", order_cancelled(order_id, "seller"))
        warehouse.tell("ORDER_APPROVED", order_created(order_id, item, requiresApproval=True))
        assert warehouse.events(order_id) == ["INVENTORY_REFUNDED"]
        assert warehouse.stock(item) == (5, 0)

    def test_a_product_may_require_it(self, warehouse: Warehouse) -> None:
        item = warehouse.product(on_hand=1, requiresApproval=True)
        assert warehouse.call("get_product", item=item)["requiresApproval"] is True
        assert warehouse.last(item)["requiresApproval"] is True


class TestHalfOfALife:
    SAID = """
    select event_id, payload::text, correlation_id, causation_id, schema_version, traceparent, occurred_at
    from outbox where aggregate_id = %s and event_type = 'INVENTORY_RESERVED' order by id
    """

    def test_the_reservation_is_said_once_more_word_for_word(
        self, warehouse: Warehouse, broker: Broker, databases: Databases
    ) -> None:
        """Given names that databases sort otherwise, then the lines still come in the same order."""
        names = [warehouse.product(5, f"{prefix}-{uuid4().hex[:6]}") for prefix in ("b", "B", "a.x", "a-x", "A_x")]
        order_id, trace = new_order_id(), f"00-{uuid4().hex}-{'1' * 16}-01"
        lines = [{"item": name, "quantity": n, "price": "0.10"} for n, name in enumerate(names, 1)]
        order = order_created(order_id, "-", items=lines, price="1.50", paymentMethod="tok_success")
        headers = {"schema_version": 1, "traceparent": trace}
        cause = warehouse.tell("ORDER_CREATED", order, headers=headers, correlation_id="c-1")
        warehouse.wait_status(order_id, "EXPIRED")

        assert warehouse.events(order_id) == ["INVENTORY_RESERVED", "INVENTORY_RESERVED", "INVENTORY_REFUNDED"]
        first, again = databases.query(SERVICE, self.SAID, order_id)
        assert again == first
        assert (first[2], str(first[3]), first[5]) == ("c-1", cause, trace)

        wait_until(lambda: databases.unpublished() == 0, "everything is published")
        letters = [x for x in broker.take("payment_service.INVENTORY_RESERVED") if json.loads(x.body)["id"] == order_id]
        assert len(letters) == 2
        assert letters[0].body == letters[1].body
        assert letters[0].properties.__dict__ == letters[1].properties.__dict__

    def test_a_paid_reservation_is_not_said_again_and_does_not_expire(self, warehouse: Warehouse, item: str) -> None:
        paid = warehouse.order(item, paymentMode="auto")
        warehouse.tell("PAYMENT_SUCCESS", payment_success(paid))
        unpaid = warehouse.order(item, paymentMode="auto")
        warehouse.wait_status(unpaid, "EXPIRED")
        assert warehouse.events(paid) == ["INVENTORY_RESERVED"]
        assert warehouse.reservation(paid)["status"] == "RESERVED"

    def test_the_setting_says_how_long_a_reservation_lives(self, warehouse: Warehouse, item: str) -> None:
        automatic, by_hand = warehouse.order(item, paymentMode="auto"), warehouse.order(item)
        assert _age_s(warehouse.reservation(automatic)) == TTL_S
        assert _age_s(warehouse.reservation(by_hand)) == 600
        assert _age_s(warehouse.hold(item, ttlSeconds=None)["reservation"]) == TTL_S


class TestManualHolds:
    def test_reserved_and_released(self, warehouse: Warehouse, item: str) -> None:
        answer = warehouse.hold(item, 2, reference="till 4")
        hold = answer["reservation"]
        assert answer["replayed"] is False
        assert (hold["kind"], hold["status"], hold["reference"], hold["generation"]) == (
            "manual",
            "RESERVED",
            "till 4",
            1,
        )
        assert hold["items"] == [{"item": item, "quantity": 2}]
        assert (_age_s(hold), hold["endedAt"]) == (60, None)
        assert warehouse.stock(item) == (5, 2)

        released = warehouse.call("release_reservation", reservation_id=hold["id"])["reservation"]
        assert (released["status"], released["expiresAt"], released["endedAt"] is None) == ("RELEASED", None, False)
        assert warehouse.reservation(hold["id"]) == released
        assert warehouse.stock(item) == (5, 0)

    def test_reserved_and_committed(self, warehouse: Warehouse, item: str) -> None:
        id_ = warehouse.hold(item, 2)["reservation"]["id"]
        committed = warehouse.call("commit_reservation", reservation_id=id_)["reservation"]
        assert committed["status"] == "COMMITTED"
        assert warehouse.stock(item) == (3, 0)
        movements = warehouse.call("list_movements", item=item)["movements"]
        assert [(m["kind"], m["deltaOnHand"], m["deltaReserved"]) for m in movements] == [
            ("committed", -2, -2),
            ("reserved", 0, 2),
            ("initial", 5, 0),
        ]

    def test_expired(self, warehouse: Warehouse, item: str) -> None:
        short, lasting = (warehouse.hold(item, ttlSeconds=ttl)["reservation"]["id"] for ttl in (1, 60))
        assert warehouse.wait_status(short, "EXPIRED")["expiresAt"] is None
        assert warehouse.reservation(lasting)["status"] == "RESERVED"
        assert warehouse.stock(item) == (5, 1)

    @pytest.mark.parametrize("method", ["release_reservation", "commit_reservation"])
    @pytest.mark.parametrize("ended_by", ["release_reservation", "commit_reservation", "expiry"])
    def test_what_has_ended_does_not_end_again(
        self, warehouse: Warehouse, item: str, ended_by: str, method: str
    ) -> None:
        id_ = warehouse.hold(item, ttlSeconds=1 if ended_by == "expiry" else 60)["reservation"]["id"]
        if ended_by == "expiry":
            warehouse.wait_status(id_, "EXPIRED")
        else:
            warehouse.call(ended_by, reservation_id=id_)
        before = (warehouse.reservation(id_), warehouse.stock(item))
        with pytest.raises(ReservationNotHeld) as refused:
            warehouse.call(method, reservation_id=id_)
        assert refused.value.details == {"id": id_, "status": before[0]["status"]}
        assert (warehouse.reservation(id_), warehouse.stock(item)) == before

    def test_all_or_none(self, warehouse: Warehouse, item: str, databases: Databases) -> None:
        scarce = warehouse.product(on_hand=1)
        lines = [{"item": item, "quantity": 1}, {"item": scarce, "quantity": 1}, {"item": scarce, "quantity": 1}]
        with pytest.raises(OutOfStock) as refused:
            warehouse.call("reserve_stock", reservation={"items": lines})
        assert refused.value.details == {"items": [scarce]}
        with pytest.raises(UnknownItem) as unknown:
            warehouse.call("reserve_stock", reservation={"items": [*lines, {"item": "no-such", "quantity": 1}]})
        assert unknown.value.details == {"items": ["no-such"]}
        assert (warehouse.stock(item), warehouse.stock(scarce)) == ((5, 0), (1, 0))
        assert databases.value(SERVICE, "select count(*) from sagas") == 0

    def test_sold_out_and_free_again(self, warehouse: Warehouse, item: str) -> None:
        everything = warehouse.hold(item, 5)["reservation"]["id"]
        with pytest.raises(OutOfStock):
            warehouse.hold(item)
        assert warehouse.order(item)
        warehouse.call("release_reservation", reservation_id=everything)
        assert warehouse.hold(item)["reservation"]["status"] == "RESERVED"

    @pytest.mark.parametrize(
        "reservation",
        [
            {"items": []},
            {"items": [{"item": "x", "quantity": 0}]},
            {"items": [{"item": "x", "quantity": -3}]},
            {"items": [{"item": "x", "quantity": 10**12}]},
            {"items": [{"item": "x", "quantity": 1}], "ttlSeconds": 0},
            {"items": [{"item": "x", "quantity": 1}], "reference": ""},
            None,
        ],
    )
    def test_nonsense_is_refused(self, warehouse: Warehouse, databases: Databases, reservation: Any) -> None:
        with pytest.raises(InvalidRequest):
            warehouse.call("reserve_stock", reservation=reservation, idempotency_key="k")
        assert databases.value(SERVICE, "select count(*) from idempotency_keys") == 0

    def test_more_than_there_ever_was(self, warehouse: Warehouse, item: str) -> None:
        with pytest.raises(OutOfStock):
            warehouse.hold(item, 1_000_000)
        with pytest.raises(Conflict):
            warehouse.call("adjust_stock", adjustment={"item": item, "delta": -6, "reason": "lost"})
        assert warehouse.stock(item) == (5, 0)

    def test_a_reference_is_one_hold_for_ever(self, warehouse: Warehouse, item: str) -> None:
        first = warehouse.hold(item, reference="till 4")["reservation"]["id"]
        with pytest.raises(ReservationExists) as refused:
            warehouse.hold(item, reference="till 4")
        assert refused.value.details == {"reference": "till 4"}
        warehouse.call("release_reservation", reservation_id=first)
        with pytest.raises(ReservationExists):
            warehouse.hold(item, reference="till 4")
        assert warehouse.stock(item) == (5, 0)

    @pytest.mark.parametrize("method", ["release_reservation", "commit_reservation"])
    def test_an_orders_reservation_is_foreign(self, warehouse: Warehouse, item: str, method: str) -> None:
        order_id = warehouse.order(item)
        with pytest.raises(ForeignReservation) as refused:
            warehouse.call(method, reservation_id=order_id)
        assert refused.value.details == {"id": order_id}
        assert warehouse.reservation(order_id)["status"] == "RESERVED"
        assert warehouse.stock(item) == (5, 1)

    @pytest.mark.parametrize("method", ["release_reservation", "commit_reservation", "get_reservation"])
    def test_what_nobody_knows_is_not_found(self, warehouse: Warehouse, method: str) -> None:
        heard_of = new_order_id()
        warehouse.tell("PAYMENT_SUCCESS", payment_success(heard_of))
        for id_ in (str(uuid4()), "no-id", heard_of):
            with pytest.raises(ReservationNotFound):
                warehouse.call(method, reservation_id=id_)

    def test_no_saga_moves_it_and_none_hears_of_it(self, warehouse: Warehouse, item: str) -> None:
        hold = warehouse.hold(item, 2)["reservation"]
        for event, payload in (
            ("ORDER_CREATED", order_created(hold["id"], item)),
            ("ORDER_APPROVED", order_created(hold["id"], item)),
            ("PAYMENT_SUCCESS", payment_success(hold["id"])),
            ("PAYMENT_FAILED", payment_failed(hold["id"])),
            ("ORDER_CANCELLED", order_cancelled(hold["id"])),
            ("ORDER_FULFILLED", _fulfilled(hold["id"])),
            ("ORDER_RETURNED", _returned(hold["id"], item, 1)),
        ):
            warehouse.tell(event, payload)
        assert warehouse.reservation(hold["id"]) == hold
        warehouse.call("commit_reservation", reservation_id=hold["id"])
        warehouse.tell("ORDER_RETURNED", _returned(hold["id"], item, 1))
        assert warehouse.stock(item) == (3, 0)
        assert warehouse.events(hold["id"]) == []
        assert warehouse.events(item) == ["PRODUCT_UPDATED"]


class TestKeys:
    def test_the_same_request_again_is_answered_as_it_was(self, warehouse: Warehouse, item: str) -> None:
        first = warehouse.hold(item, key="k1")
        again = warehouse.hold(item, key="k1")
        assert (again["reservation"], again["replayed"]) == (first["reservation"], True)
        id_ = first["reservation"]["id"]
        answers = [
            warehouse.call("release_reservation", reservation_id=id_, idempotency_key="k1")
            for id_ in (id_, id_.upper())
        ]
        assert answers[0]["reservation"] == answers[1]["reservation"]
        assert [answer["replayed"] for answer in answers] == [False, True]
        assert warehouse.stock(item) == (5, 0)

    def test_another_request_with_the_same_key_is_refused(self, warehouse: Warehouse, item: str) -> None:
        one, other = (warehouse.hold(item, key=key)["reservation"]["id"] for key in ("k1", "k2"))
        with pytest.raises(IdempotencyKeyReused):
            warehouse.hold(item, 2, key="k1")
        warehouse.call("commit_reservation", reservation_id=one, idempotency_key="k1")
        with pytest.raises(IdempotencyKeyReused):
            warehouse.call("commit_reservation", reservation_id=other, idempotency_key="k1")
        assert warehouse.reservation(other)["status"] == "RESERVED"

    def test_a_refused_request_leaves_its_key_free(self, warehouse: Warehouse, item: str) -> None:
        everything = warehouse.hold(item, 5)["reservation"]["id"]
        with pytest.raises(OutOfStock):
            warehouse.hold(item, key="k1")
        warehouse.call("release_reservation", reservation_id=everything)
        assert warehouse.hold(item, key="k1")["replayed"] is False


class TestLists:
    def _pages(self, warehouse: Warehouse, method: str, name: str, **which: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = warehouse.call(method, limit=2, cursor=cursor, **which)
            assert len(page[name]) <= 2
            found += page[name]
            cursor = page["nextCursor"]
            if cursor is None:
                return found

    def test_reservations_newest_first(self, warehouse: Warehouse, item: str) -> None:
        ids = [warehouse.hold(item)["reservation"]["id"] for _ in range(3)]
        ids.append(warehouse.order(item))
        warehouse.tell("ORDER_CANCELLED", order_cancelled(new_order_id()))
        warehouse.call("commit_reservation", reservation_id=ids[1])

        found = self._pages(warehouse, "list_reservations", "reservations")
        assert [r["id"] for r in found] == ids[::-1]
        assert [r["kind"] for r in found] == ["order", "manual", "manual", "manual"]
        assert found[0] == warehouse.reservation(ids[3])
        reserved = self._pages(warehouse, "list_reservations", "reservations", status="RESERVED")
        assert [r["id"] for r in reserved] == [ids[3], ids[2], ids[0]]
        assert warehouse.call("list_reservations", status="EXPIRED") == {"reservations": [], "nextCursor": None}

    def test_movements_newest_first(self, warehouse: Warehouse, item: str) -> None:
        other = warehouse.product(on_hand=1)
        hold = warehouse.hold(item)["reservation"]["id"]
        warehouse.hold(other)
        warehouse.call("adjust_stock", adjustment={"item": item, "delta": 2, "reason": "counted"})
        movements = self._pages(warehouse, "list_movements", "movements", item=item)
        assert [m["kind"] for m in movements] == ["adjusted", "reserved", "initial"]
        assert [m["reservationId"] for m in movements] == [None, hold, None]
        assert [m["reservationKind"] for m in movements] == [None, "manual", None]
        assert [m["reason"] for m in movements] == ["counted", None, None]
        assert {m["item"] for m in movements} == {item}

    def test_movements_of_nothing(self, warehouse: Warehouse) -> None:
        with pytest.raises(ProductNotFound):
            warehouse.call("list_movements", item="no-such-item")


class TestNeverOversold:
    @pytest.mark.parametrize(
        "change", ["reserved = on_hand + 1", "reserved = -1", "on_hand = reserved - 1", "on_hand = -1"]
    )
    def test_the_database_itself_forbids_it(
        self, warehouse: Warehouse, databases: Databases, item: str, change: str
    ) -> None:
        warehouse.hold(item, 2)
        with pytest.raises(psycopg2.errors.CheckViolation, match="never_oversold"):
            databases.query(SERVICE, f"update stock set {change} where item = %s", item)  # noqa: S608
        assert warehouse.stock(item) == (5, 2)

    def test_many_at_once_get_what_there_is_and_no_more(self, warehouse: Warehouse, broker: Broker, item: str) -> None:
        """Given orders and holds that want far more together, then exactly all five units are reserved."""
        published = [
            broker.publish_event("ORDER_CREATED", order_created(new_order_id(), item, paymentMode="manual"))
            for _ in range(10)
        ]

        def try_to_hold(_number: int) -> int:
            try:
                return len(warehouse.hold(item)["reservation"]["items"])
            except OutOfStock:
                return 0

        with ThreadPoolExecutor(10) as pool:
            held = sum(pool.map(try_to_hold, range(20)))
        for event_id in published:
            warehouse.wait_applied(str(event_id))
        ordered = len(warehouse.call("list_reservations", limit=100)["reservations"]) - held
        assert held + ordered == 5
        assert warehouse.stock(item) == (5, 5)
