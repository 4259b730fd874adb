"""Requests to the order service: what is accepted, what is refused and how the refusal reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from order_service.listing_schemas import FollowedEventView
from order_service.placing import Placed, Request, first_hashes
from order_service.requests import (
    MOST_AT_ONCE,
    approve_order,
    cancel_order,
    decline_order,
    fulfil_order,
    in_causal_order,
    outcome_answer,
    read_request,
    read_requests,
    return_order,
)
from order_service.returns import ReturnedLine
from order_service.schemas import PlaceOrder, ReturnGoods, ReturnGoodsSchema, TimelineEventView
from shared.errors import InvalidRequest, OrderNotFound, UnknownItem
from shared.identity import TRUSTED

ITEMS = [{"item": "mug", "quantity": 2}]
ORDER: dict[str, Any] = {"userId": "u1", "items": ITEMS}
NO_DATABASE: Any = None
NO_SETTINGS: Any = None
ID = "00000000-0000-4000-8000-000000000001"
GOODS: dict[str, Any] = {"items": [{"item": "mug", "quantity": 2}], "restock": True}


def errors_of(order: Any, **options: Any) -> Any:
    with pytest.raises(InvalidRequest) as refused:
        read_request(TRUSTED, order, **options)
    return refused.value.details["errors"]


class TestPlaceOrder:
    def test_the_shortest_order_has_defaults(self) -> None:
        request = read_request(TRUSTED, ORDER)
        assert request.order == PlaceOrder(user_id="u1", items=(("mug", 2),))
        assert (request.order.payment_mode, request.key, request.correlation_id) == ("auto", None, None)

    def test_everything_that_can_be_said_is_kept(self) -> None:
        said = {
            **ORDER,
            "paymentMethod": "tok_success",
            "paymentMode": "manual",
            "price": "20.00",
            "currency": "EUR",
            "shippingAddress": {"city": "Ulm"},
        }
        request = read_request(TRUSTED, said, "key-1", "corr-1")
        assert request.order == PlaceOrder(
            user_id="u1",
            items=(("mug", 2),),
            payment_mode="manual",
            payment_method="tok_success",
            price=Decimal("20.00"),
            currency="EUR",
            shipping_address={"city": "Ulm"},
        )
        assert (request.key, request.correlation_id) == ("key-1", "corr-1")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"userId": ""}, "userId"),
            ({"userId": 5}, "userId"),
            ({"paymentMethod": "4242 4242 4242 4242"}, "paymentMethod"),
            ({"userId": "x" * 201}, "userId"),
            ({"items": []}, "items"),
            ({"items": "mug"}, "items"),
            ({"items": [{"item": "mug", "quantity": 1}] * 101}, "items"),
            ({"items": [{"item": "mug", "quantity": 0}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 1001}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 1.5}]}, "items"),
            ({"items": [{"item": "mug", "quantity": "2"}]}, "items"),
            ({"items": [{"item": "mug", "quantity": True}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 1, "price": "0.01"}]}, "items"),
            ({"paymentMode": "later"}, "paymentMode"),
            ({"price": 20}, "price"),
            ({"price": "20.001"}, "price"),
            ({"currency": "eur"}, "currency"),
            ({"currency": "EUR\n"}, "currency"),
            ({"shippingAddress": "Ulm"}, "shippingAddress"),
            ({"discount": "1.00"}, "discount"),
            ({"cartId": "00000000-0000-4000-8000-000000000001"}, "cartId"),
        ],
    )
    def test_a_wrong_field_is_named(self, change: dict[str, Any], field: str) -> None:
        assert list(errors_of({**ORDER, **change})) == [field]

    @pytest.mark.parametrize("order", [None, [], "mug", 5])
    def test_an_order_is_an_object(self, order: Any) -> None:
        assert list(errors_of(order)) == ["order"]

    @pytest.mark.parametrize("key", ["", "x" * 256, 5, ["k"]])
    def test_an_idempotency_key_is_a_short_text(self, key: Any) -> None:
        assert list(errors_of(ORDER, idempotency_key=key)) == ["idempotencyKey"]

    @pytest.mark.parametrize("correlation_id", ["", "x" * 201, "ü" * 128, "a\x00b", "\ud800", 5, {}])
    def test_a_correlation_id_fits_every_message_on_the_way(self, correlation_id: Any) -> None:
        assert list(errors_of(ORDER, correlation_id=correlation_id)) == ["correlationId"]

    def test_a_cart_stands_for_its_items(self) -> None:
        request = read_request(TRUSTED, {"userId": "u1", "cartId": ID})
        assert request.order == PlaceOrder(user_id="u1", cart_id=UUID(ID))

    @pytest.mark.parametrize(
        ("order", "field"),
        [({"userId": "u1"}, "items"), ({"userId": "u1", "cartId": "mine"}, "cartId"), ({"items": ITEMS}, "userId")],
    )
    def test_what_is_missing_is_named(self, order: dict[str, Any], field: str) -> None:
        assert list(errors_of(order)) == [field]

    def test_the_order_of_keys_is_no_difference_and_a_value_is(self) -> None:
        again = dict(reversed(ORDER.items()))
        assert read_request(TRUSTED, again).hash == read_request(TRUSTED, ORDER).hash
        assert read_request(TRUSTED, {**ORDER, "userId": "u2"}).hash != read_request(TRUSTED, ORDER).hash


class TestManyOrders:
    def test_a_bad_one_is_refused_alone(self) -> None:
        good, bad, odd = read_requests(TRUSTED, [{"order": ORDER, "idempotencyKey": "k"}, {"order": {}}, "odd"])
        assert isinstance(good, Request)
        assert (good.key, good.order.user_id) == ("k", "u1")
        assert isinstance(bad, InvalidRequest)
        assert isinstance(odd, InvalidRequest)

    @pytest.mark.parametrize("orders", [None, {}, [], [{}] * (MOST_AT_ONCE + 1)])
    def test_too_many_or_none(self, orders: Any) -> None:
        with pytest.raises(InvalidRequest):
            read_requests(TRUSTED, orders)

    def test_the_first_of_two_with_the_same_key_counts(self) -> None:
        wanted = read_request(TRUSTED, ORDER).order
        requests = [
            Request(order=wanted, hash="first", key="k"),
            Request(order=wanted, hash="without"),
            Request(order=wanted, hash="second", key="k"),
            Request(order=wanted, hash="other", key="l"),
        ]
        assert first_hashes(requests) == {"k": "first", "l": "other"}

    def test_outcomes_read_alike(self) -> None:
        assert outcome_answer(Placed(summary={"id": "1"}, replayed=True)) == {"order": {"id": "1"}, "replayed": True}
        assert outcome_answer(UnknownItem("no mug", {"items": ["mug"]})) == {
            "error": {"code": "unknown_item", "message": "no mug", "details": {"items": ["mug"]}}
        }


class TestRequestsForOneOrder:
    """What is wrong is refused by name before anything is asked of the database."""

    @pytest.mark.parametrize("method", [cancel_order, approve_order, decline_order])
    @pytest.mark.parametrize("by", ["nobody", "", 5, ["seller"], {"by": "seller"}])
    def test_somebody_we_know_asks(self, method: Any, by: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            method(NO_DATABASE, TRUSTED, ID, by, None, None, NO_SETTINGS)
        assert list(refused.value.details["errors"]) == ["by"]

    @pytest.mark.parametrize("method", [approve_order, decline_order])
    def test_a_customer_neither_approves_nor_declines(self, method: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            method(NO_DATABASE, TRUSTED, ID, "customer", None, None, NO_SETTINGS)
        assert refused.value.details["errors"] == {"by": ["one of seller, operator"]}

    @pytest.mark.parametrize("order_id", ["", "7", "no uuid", None, 5, [ID]])
    def test_an_id_that_cannot_be_one_names_no_order(self, order_id: Any) -> None:
        with pytest.raises(OrderNotFound):
            cancel_order(NO_DATABASE, TRUSTED, order_id, "customer", None, None, NO_SETTINGS)
        with pytest.raises(OrderNotFound):
            approve_order(NO_DATABASE, TRUSTED, order_id, "seller", None, None, NO_SETTINGS)
        with pytest.raises(OrderNotFound):
            decline_order(NO_DATABASE, TRUSTED, order_id, "seller", None, None, NO_SETTINGS)
        with pytest.raises(OrderNotFound):
            fulfil_order(NO_DATABASE, TRUSTED, order_id, None, "key", None, NO_SETTINGS)
        with pytest.raises(OrderNotFound):
            return_order(NO_DATABASE, TRUSTED, order_id, GOODS, "key", None, NO_SETTINGS)

    @pytest.mark.parametrize("tracking", ["", "x" * 201, 5, ["T-1"], {}])
    def test_tracking_is_a_short_text(self, tracking: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            fulfil_order(NO_DATABASE, TRUSTED, ID, tracking, "key", None, NO_SETTINGS)
        assert list(refused.value.details["errors"]) == ["tracking"]

    @pytest.mark.parametrize(("key", "correlation_id"), [("", None), (5, None), (None, ""), (None, {})])
    def test_keys_and_correlation_ids_are_short_texts(self, key: Any, correlation_id: Any) -> None:
        named = "idempotencyKey" if key is not None else "correlationId"
        for ask in (
            lambda: fulfil_order(NO_DATABASE, TRUSTED, ID, None, key, correlation_id, NO_SETTINGS),
            lambda: return_order(NO_DATABASE, TRUSTED, ID, GOODS, key, correlation_id, NO_SETTINGS),
        ):
            with pytest.raises(InvalidRequest) as refused:
                ask()
            assert list(refused.value.details["errors"]) == [named]


class TestReturnGoods:
    def test_what_is_said_is_kept(self) -> None:
        line = ReturnedLine(item="mug", quantity=2)
        assert ReturnGoodsSchema().load(GOODS) == ReturnGoods(lines=(line,), restock=True)
        said = ReturnGoodsSchema().load({**GOODS, "restock": False, "refundAmount": "0.00"})
        assert said == ReturnGoods(lines=(line,), restock=False, refund_amount=Decimal(0))

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"items": []}, "items"),
            ({"items": "mug"}, "items"),
            ({"items": [{"item": "mug", "quantity": 1}] * 101}, "items"),
            ({"items": [{"item": "mug", "quantity": 0}]}, "items"),
            ({"items": [{"item": "mug", "quantity": -1}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 10**9}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 1.5}]}, "items"),
            ({"items": [{"item": "mug", "quantity": 1, "price": "0.01"}]}, "items"),
            ({"items": [{"item": "", "quantity": 1}]}, "items"),
            ({"restock": None}, "restock"),
            ({"restock": "yes"}, "restock"),
            ({"refundAmount": 5}, "refundAmount"),
            ({"refundAmount": "-0.01"}, "refundAmount"),
            ({"refundAmount": "1.001"}, "refundAmount"),
            ({"reason": "broken"}, "reason"),
        ],
    )
    def test_a_wrong_field_is_named(self, change: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            return_order(NO_DATABASE, TRUSTED, ID, {**GOODS, **change}, None, None, NO_SETTINGS)
        assert list(refused.value.details["errors"]) == [field]

    @pytest.mark.parametrize("name", GOODS)
    def test_a_missing_field_is_named(self, name: str) -> None:
        goods = {key: value for key, value in GOODS.items() if key != name}
        with pytest.raises(InvalidRequest) as refused:
            return_order(NO_DATABASE, TRUSTED, ID, goods, None, None, NO_SETTINGS)
        assert list(refused.value.details["errors"]) == [name]

    @pytest.mark.parametrize("goods", [None, [], "mug", 5])
    def test_goods_are_an_object(self, goods: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            return_order(NO_DATABASE, TRUSTED, ID, goods, None, None, NO_SETTINGS)
        assert list(refused.value.details["errors"]) == ["goods"]


def test_timeline_rows_stand_in_causal_order() -> None:
    cause = {"event_id": 1, "causation_id": None, "occurred_at": 9}
    effect = {"event_id": 2, "causation_id": 1, "occurred_at": 3}
    assert in_causal_order([effect, cause]) == [cause, effect]


def test_the_payment_token_is_shown_to_nobody() -> None:
    """Given an event that bears it, then neither an order nor its news do: its reader could pay with it."""
    event = {"seq": 1, "event_type": "ORDER_CREATED", "payload": {"paymentMethod": "tok_anna", "paymentMode": "auto"}}

    shown = [view.dump(event) for view in (TimelineEventView(), FollowedEventView())]

    assert [entry["payload"] for entry in shown] == [{"paymentMode": "auto"}] * 2
