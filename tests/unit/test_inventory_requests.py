"""Requests and events as they come to the inventory service: what is bad is named before anything is read."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from marshmallow import ValidationError

from inventory_service import requests, reservation_requests
from inventory_service.domain import Rules
from inventory_service.happenings import OrderApproved, OrderCreated, OrderFulfilled, OrderReturned
from inventory_service.schemas import NewHold, NewHoldSchema, NewProductSchema
from inventory_service.schemas import OrderApproved as OrderApprovedSchema
from inventory_service.schemas import OrderCreated as OrderCreatedSchema
from inventory_service.schemas import OrderFulfilled as OrderFulfilledSchema
from inventory_service.schemas import OrderReturned as OrderReturnedSchema
from inventory_service.settings import Settings
from inventory_service.states import Line, Terms
from shared.errors import InvalidRequest, ProductNotFound, ReservationNotFound
from shared.identity import TRUSTED

ID = UUID(int=7)
SETTINGS = Settings(rules=Rules(reservation_ttl=timedelta(1), manual_payment_ttl=timedelta(1)))
ORDER = {
    "id": str(ID),
    "userId": "ann",
    "items": [{"item": "tea", "sellerId": "shop", "quantity": 1}, {"item": "mug", "quantity": 2}],
    "price": "10.00",
    "currency": "EUR",
    "status": "PENDING",
}
PRODUCT = {"item": "mug", "name": "Mug", "sellerId": "s", "price": "1.00", "currency": "EUR", "onHand": 1}


class Untouched:
    """A transaction that nobody may use."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked of the database")


UNTOUCHED: Any = Untouched()


def _refused(wanted: Any) -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as error:
        reservation_requests.reserve_stock(UNTOUCHED, TRUSTED, wanted, None, None, SETTINGS)
    errors: dict[str, Any] = error.value.details["errors"]
    return errors


class TestHoldRequests:
    def test_the_least_that_is_needed(self) -> None:
        lines = (Line(item="mug", quantity=2),)
        wanted = {"items": [{"item": "mug", "quantity": 2}]}
        assert NewHoldSchema().load(wanted) == NewHold(lines=lines, ttl=None, reference=None)

    def test_lines_of_one_item_are_added_up(self) -> None:
        items = [{"item": "tea", "quantity": 1}, {"item": "mug", "quantity": 2}, {"item": "tea", "quantity": 3}]
        hold = NewHoldSchema().load({"items": items, "ttlSeconds": 60, "reference": "till 4"})
        assert hold.lines == (Line(item="mug", quantity=2), Line(item="tea", quantity=4))
        assert (hold.ttl, hold.reference) == (timedelta(seconds=60), "till 4")

    @pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 10**30, 1.5, "2", True, None, [], {}])
    def test_a_quantity_is_one_to_a_million(self, quantity: Any) -> None:
        assert "quantity" in _refused({"items": [{"item": "mug", "quantity": quantity}]})["items"]["0"]

    @pytest.mark.parametrize("item", ["", None, 7, "x" * 201])
    def test_an_item_is_a_short_text(self, item: Any) -> None:
        assert "item" in _refused({"items": [{"item": item, "quantity": 1}]})["items"]["0"]

    @pytest.mark.parametrize("items", [[], None, {}, "mug", 7, [{"item": "mug", "quantity": 1}] * 1001])
    def test_items_are_one_to_a_thousand_lines(self, items: Any) -> None:
        assert "items" in _refused({"items": items})

    @pytest.mark.parametrize("ttl", [0, -5, 86_401, 10**30, 1.5, "60", True])
    def test_a_ttl_is_one_second_to_a_day(self, ttl: Any) -> None:
        assert "ttlSeconds" in _refused({"items": [{"item": "mug", "quantity": 1}], "ttlSeconds": ttl})

    @pytest.mark.parametrize("reference", ["", 7, "x" * 201, []])
    def test_a_reference_is_a_short_text(self, reference: Any) -> None:
        assert "reference" in _refused({"items": [{"item": "mug", "quantity": 1}], "reference": reference})

    def test_what_nobody_knows_is_refused(self) -> None:
        assert "ttl" in _refused({"items": [{"item": "mug", "quantity": 1}], "ttl": 60})
        assert "price" in _refused({"items": [{"item": "mug", "quantity": 1, "price": "1.00"}]})["items"]["0"]

    @pytest.mark.parametrize("wanted", [None, [], "mug", 7])
    def test_a_request_is_an_object(self, wanted: Any) -> None:
        assert "_schema" in _refused(wanted)

    @pytest.mark.parametrize("end", [reservation_requests.release_reservation, reservation_requests.commit_reservation])
    @pytest.mark.parametrize("id_", [None, 7, "", "abc", {}, [], str(ID)[:-1], ID])
    def test_an_id_that_is_none_is_not_found(self, end: Any, id_: Any) -> None:
        with pytest.raises(ReservationNotFound):
            end(UNTOUCHED, TRUSTED, id_, None, None, SETTINGS)
        with pytest.raises(ReservationNotFound):
            reservation_requests.get_reservation(UNTOUCHED, TRUSTED, id_)

    @pytest.mark.parametrize(("key", "correlation_id"), [("", None), (7, None), ("x" * 256, None), (None, "é" * 200)])
    @pytest.mark.parametrize(
        "ask",
        [
            reservation_requests.reserve_stock,
            reservation_requests.release_reservation,
            reservation_requests.commit_reservation,
        ],
    )
    def test_the_ids_of_a_request_are_short_texts(self, ask: Any, key: Any, correlation_id: Any) -> None:
        what = {"items": [{"item": "mug", "quantity": 1}]} if ask is reservation_requests.reserve_stock else str(ID)
        with pytest.raises(InvalidRequest):
            ask(UNTOUCHED, TRUSTED, what, key, correlation_id, SETTINGS)


class TestLists:
    @pytest.mark.parametrize("limit", [0, 101, -1, "10", None, True, 1.0, []])
    def test_a_limit_is_one_to_a_hundred(self, limit: Any) -> None:
        with pytest.raises(InvalidRequest):
            reservation_requests.list_reservations(UNTOUCHED, TRUSTED, limit, None, None)
        with pytest.raises(InvalidRequest):
            requests.list_movements(UNTOUCHED, TRUSTED, "mug", limit, None)

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "next",
            7,
            [],
            {},
            f"_{ID}",
            f"{ID}_",
            str(ID)[:-1],
            ID,
        ],
    )
    def test_a_cursor_of_reservations_is_one_of_ours(self, cursor: Any) -> None:
        with pytest.raises(InvalidRequest, match="cursor"):
            reservation_requests.list_reservations(UNTOUCHED, TRUSTED, 10, cursor, None)

    @pytest.mark.parametrize("cursor", ["", "next", 7, [], "-1", "1.0", "9" * 19, "٣"])
    def test_a_cursor_of_movements_is_one_of_ours(self, cursor: Any) -> None:
        with pytest.raises(InvalidRequest, match="cursor"):
            requests.list_movements(UNTOUCHED, TRUSTED, "mug", 10, cursor)

    @pytest.mark.parametrize("status", ["HELD", "reserved", "", 7, [], {}])
    def test_a_status_is_one_that_reservations_have(self, status: Any) -> None:
        with pytest.raises(InvalidRequest, match="status"):
            reservation_requests.list_reservations(UNTOUCHED, TRUSTED, 10, None, status)

    @pytest.mark.parametrize("item", [None, 7, [], {}])
    def test_movements_are_of_an_item(self, item: Any) -> None:
        with pytest.raises(ProductNotFound):
            requests.list_movements(UNTOUCHED, TRUSTED, item, 10, None)


class TestProducts:
    @pytest.mark.parametrize("value", [True, False])
    def test_may_require_approval(self, value: bool) -> None:
        assert NewProductSchema().load({**PRODUCT, "requiresApproval": value}).requires_approval is value

    def test_require_none_unless_said(self) -> None:
        product = NewProductSchema().load(dict(PRODUCT))
        assert (product.requires_approval, product.price) == (False, Decimal("1.00"))

    @pytest.mark.parametrize("price", ["0.00", "-1.00"])
    def test_cost_more_than_nothing(self, price: str) -> None:
        with pytest.raises(ValidationError) as refused:
            NewProductSchema().load({**PRODUCT, "price": price})
        assert refused.value.messages == {"price": ["Must be more than 0."]}

    @pytest.mark.parametrize("value", ["true", "yes", None, 2, []])
    def test_and_say_so_with_a_boolean(self, value: Any) -> None:
        with pytest.raises(ValidationError, match="requiresApproval"):
            NewProductSchema().load({**PRODUCT, "requiresApproval": value})

    @pytest.mark.parametrize("on_hand", [-1, 10**9 + 1, 10**30, 1.5, "1", True, None])
    def test_have_nought_to_a_thousand_million_units(self, on_hand: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            requests.create_product(UNTOUCHED, TRUSTED, {**PRODUCT, "onHand": on_hand}, None, None)
        assert "onHand" in refused.value.details["errors"]

    @pytest.mark.parametrize("delta", [0, -(10**9) - 1, 10**9 + 1, 10**30, 0.5, "1", True, None])
    def test_are_adjusted_by_something_that_can_be_counted(self, delta: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            requests.adjust_stock(UNTOUCHED, TRUSTED, {"item": "mug", "delta": delta, "reason": "lost"}, None, None)
        assert "delta" in refused.value.details["errors"]


class TestEvents:
    LINES = (Line(item="mug", quantity=2), Line(item="tea", quantity=1))
    TERMS = Terms(
        user_id="ann",
        price=Decimal("10.00"),
        currency="EUR",
        payment_mode="auto",
        payment_method=None,
        seller_id="shop",
    )

    @pytest.mark.parametrize(("said", "meant"), [({}, False), ({"requiresApproval": True}, True)])
    def test_an_order_says_whether_it_waits_for_approval(self, said: dict[str, Any], meant: bool) -> None:
        created = OrderCreated(order_id=ID, lines=self.LINES, terms=self.TERMS, requires_approval=meant)
        assert OrderCreatedSchema().load({**ORDER, **said}) == created

    def test_an_approval_is_the_order_again(self) -> None:
        approved = OrderApproved(order_id=ID, lines=self.LINES, terms=self.TERMS)
        assert OrderApprovedSchema().load({**ORDER, "requiresApproval": True}) == approved

    def test_of_a_shipment_only_the_order_matters(self) -> None:
        payload = {"id": str(ID), "shippedAt": "2026-01-01T12:00:00Z", "tracking": None}
        assert OrderFulfilledSchema().load(payload) == OrderFulfilled(order_id=ID)

    def test_a_return_has_an_id_lines_and_a_place_to_go(self) -> None:
        payload = {
            "id": str(ID),
            "returnId": str(UUID(int=9)),
            "items": [{"item": "tea", "quantity": 1}, {"item": "mug", "quantity": 1}, {"item": "mug", "quantity": 1}],
            "restock": True,
            "refundAmount": "3.00",
            "currency": "EUR",
        }
        returned = OrderReturned(order_id=ID, return_id=UUID(int=9), lines=self.LINES, restock=True)
        assert OrderReturnedSchema().load(payload) == returned
        for needed in ("returnId", "items", "restock"):
            with pytest.raises(ValidationError, match=needed):
                OrderReturnedSchema().load({name: value for name, value in payload.items() if name != needed})
        for bad in ({"items": []}, {"items": [{"item": "mug", "quantity": 0}]}, {"returnId": "9"}, {"restock": None}):
            with pytest.raises(ValidationError, match=next(iter(bad))):
                OrderReturnedSchema().load({**payload, **bad})


def test_a_card_number_in_an_event_does_not_come_in() -> None:
    schema = OrderCreatedSchema()
    assert schema.load({**ORDER, "paymentMethod": "4111 1111 1111 1111"}).terms.payment_method == "tok_refused"
    assert schema.load({**ORDER, "paymentMethod": "tok_success"}).terms.payment_method == "tok_success"


class TestChangesOfProducts:
    def refused(self, changes: Any, versions: Any = None) -> dict[str, Any]:
        with pytest.raises(InvalidRequest) as error:
            requests.update_product(UNTOUCHED, TRUSTED, "mug", changes, versions, None)
        errors: dict[str, Any] = error.value.details["errors"]
        return errors

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("name", ""),
            ("name", None),
            ("price", "0.00"),
            ("price", 1),
            ("currency", "eur"),
            ("active", "true"),
            ("active", None),
            ("requiresApproval", 2),
            ("item", "tea"),
            ("sellerId", "other-shop"),
            ("onHand", 5),
            ("version", 9),
        ],
    )
    def test_only_what_may_change_and_only_to_what_makes_sense(self, name: str, value: Any) -> None:
        assert list(self.refused({name: value})) == [name]

    @pytest.mark.parametrize("changes", [None, [], "name", 7])
    def test_changes_are_an_object(self, changes: Any) -> None:
        assert list(self.refused(changes)) == ["changes"]

    @pytest.mark.parametrize("versions", [1, "1", [True], ["1"], [1.0], [None], {}, [1] * 101])
    def test_versions_are_a_list_of_numbers(self, versions: Any) -> None:
        assert list(self.refused({}, versions)) == ["versions"]


class TestFilters:
    @pytest.mark.parametrize("value", ["", "x" * 201, 7, [], True])
    @pytest.mark.parametrize("name", ["part", "seller_id"])
    def test_of_products_are_short_texts(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidRequest):
            requests.list_products(UNTOUCHED, 10, None, **{name: value})

    @pytest.mark.parametrize("value", ["yes", True, "", 1, []])
    def test_active_is_one_of_three_words(self, value: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            requests.list_products(UNTOUCHED, 10, None, active=value)
        assert list(refused.value.details["errors"]) == ["active"]

    @pytest.mark.parametrize("name", ["seller_id", "item"])
    def test_of_stock_too(self, name: str) -> None:
        with pytest.raises(InvalidRequest):
            requests.list_stock(UNTOUCHED, TRUSTED, 10, None, **{name: ""})


@pytest.mark.parametrize(
    ("sellers", "meant"),
    [(["shop", None], "shop"), ([None, "shop"], "shop"), ([None, None], None), (["shop", "shop"], "shop")],
)
def test_the_seller_of_an_order_is_that_of_its_first_line_that_has_one(sellers: list[Any], meant: str | None) -> None:
    items = [{"item": f"item-{n}", "sellerId": seller, "quantity": 1} for n, seller in enumerate(sellers)]
    assert OrderCreatedSchema().load({**ORDER, "items": items}).terms.seller_id == meant
