"""Who may do what with products, stock and reservations: own ones, foreign ones, and without the role."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.closed import ClosedDatabase, LetThrough
from harness.people import (
    CUSTOMER,
    EVERYTHING_BUT_OPERATOR,
    OPERATOR,
    RIVAL,
    SELLER,
    SHOPLESS,
    STRANGER,
)

from inventory_service import access, product_queries, queries, requests, reservation_requests
from inventory_service.access import Scope
from inventory_service.domain import Rules
from inventory_service.settings import Settings
from shared.errors import Forbidden, InvalidRequest, ProductExists, ReservationNotFound
from shared.identity import ANONYMOUS, TRUSTED, Identity

ID = str(UUID(int=7))
ITEM = "mug"
SETTINGS = Settings(rules=Rules(reservation_ttl=timedelta(1), manual_payment_ttl=timedelta(1)))
PRODUCT = {"item": ITEM, "name": "Mug", "sellerId": "shop", "price": "1.00", "currency": "EUR", "onHand": 1}
KEEPERS = [SELLER, OPERATOR, TRUSTED, EVERYTHING_BUT_OPERATOR]
OTHERS = [CUSTOMER, STRANGER, RIVAL, SHOPLESS, ANONYMOUS]
NOBODYS_SHOP = [CUSTOMER, ANONYMOUS]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database with one product of ``shop`` and one holding that ``ann`` has from it; nothing can be changed."""
    row = {"item": ITEM, "seller_id": "shop"}
    monkeypatch.setattr(product_queries, "product_row", lambda _tx, item: row if item == ITEM else None)
    monkeypatch.setattr(product_queries, "sellers", lambda _tx, items: {item: "shop" for item in items if item == ITEM})
    monkeypatch.setattr(queries, "parties", lambda _tx, _id: ("ann", "shop"))
    held = {"id": UUID(ID), "user_id": "ann", "seller_id": "shop", "status": "RESERVED", "items": []}
    monkeypatch.setattr(queries, "reservation_row", lambda _tx, _id: held)
    return ClosedDatabase()


def _create(tx: Any, caller: Identity) -> Any:
    return requests.create_product(tx, caller, PRODUCT, None, None)


def _update(tx: Any, caller: Identity) -> Any:
    return requests.update_product(tx, caller, ITEM, {"name": "Cup"}, None, None)


def _adjust(tx: Any, caller: Identity) -> Any:
    return requests.adjust_stock(tx, caller, {"item": ITEM, "delta": 1, "reason": "found"}, None, None)


def _movements(tx: Any, caller: Identity) -> Any:
    return requests.list_movements(tx, caller, ITEM, 10, None)


def _hold(tx: Any, caller: Identity) -> Any:
    wanted = {"items": [{"item": ITEM, "quantity": 1}]}
    return reservation_requests.reserve_stock(tx, caller, wanted, None, None, SETTINGS)


def _release(tx: Any, caller: Identity) -> Any:
    return reservation_requests.release_reservation(tx, caller, ID, None, None, SETTINGS)


def _commit(tx: Any, caller: Identity) -> Any:
    return reservation_requests.commit_reservation(tx, caller, ID, None, None, SETTINGS)


Ask = Callable[[Any, Identity], Any]


class TestProducts:
    @pytest.mark.parametrize("caller", KEEPERS)
    @pytest.mark.parametrize("ask", [_create, _update, _adjust, _movements, _hold])
    def test_their_seller_and_operators_may(self, shelf: Any, ask: Ask, caller: Identity) -> None:
        with pytest.raises(LetThrough):
            ask(shelf, caller)

    @pytest.mark.parametrize("caller", OTHERS)
    @pytest.mark.parametrize("ask", [_create, _update, _adjust, _movements, _hold])
    def test_others_see_that_they_may_not(self, shelf: Any, ask: Ask, caller: Identity) -> None:
        with pytest.raises(Forbidden):
            ask(shelf, caller)

    def test_a_hold_with_one_foreign_item_is_refused_by_name(self) -> None:
        with pytest.raises(Forbidden) as refused:
            access.require_seller_of(SELLER, {"mug": "shop", "tea": "other-shop"})
        assert refused.value.details == {"items": ["tea"]}

    @pytest.mark.parametrize(("caller", "seller"), [(SELLER, "shop"), (RIVAL, "other-shop")])
    def test_a_new_one_is_its_sellers_own(self, monkeypatch: pytest.MonkeyPatch, caller: Identity, seller: str) -> None:
        made: list[Any] = []
        monkeypatch.setattr(product_queries, "insert_product", lambda _tx, product: made.append(product))
        unowned = {name: value for name, value in PRODUCT.items() if name != "sellerId"}
        with pytest.raises(ProductExists):
            requests.create_product(ClosedDatabase(), caller, unowned, None, None)  # type: ignore[arg-type]
        assert made[0].seller_id == seller

    @pytest.mark.parametrize("caller", [OPERATOR, TRUSTED])
    def test_an_operator_says_whose_it_is(self, shelf: Any, caller: Identity) -> None:
        unowned = {name: value for name, value in PRODUCT.items() if name != "sellerId"}
        with pytest.raises(InvalidRequest) as refused:
            requests.create_product(shelf, caller, unowned, None, None)
        assert list(refused.value.details["errors"]) == ["sellerId"]

    def test_a_seller_without_a_shop_has_none(self, shelf: Any) -> None:
        with pytest.raises(Forbidden):
            requests.create_product(shelf, SHOPLESS, {"item": "tea"}, None, None)


class TestReservations:
    @pytest.mark.parametrize("caller", KEEPERS)
    @pytest.mark.parametrize("ask", [_release, _commit])
    def test_their_seller_and_operators_end_them(self, shelf: Any, ask: Ask, caller: Identity) -> None:
        with pytest.raises(LetThrough):
            ask(shelf, caller)

    @pytest.mark.parametrize("ask", [_release, _commit])
    def test_their_customer_sees_that_they_may_not(self, shelf: Any, ask: Ask) -> None:
        with pytest.raises(Forbidden):
            ask(shelf, CUSTOMER)

    @pytest.mark.parametrize("caller", [STRANGER, RIVAL, SHOPLESS, ANONYMOUS])
    @pytest.mark.parametrize("ask", [_release, _commit])
    def test_to_others_there_is_none(self, shelf: Any, ask: Ask, caller: Identity) -> None:
        with pytest.raises(ReservationNotFound):
            ask(shelf, caller)
        with pytest.raises(ReservationNotFound):
            reservation_requests.get_reservation(shelf, caller, ID)

    @pytest.mark.parametrize("caller", [*KEEPERS, CUSTOMER])
    def test_all_who_have_to_do_with_them_see_them(self, shelf: Any, caller: Identity) -> None:
        found = reservation_requests.get_reservation(shelf, caller, ID)
        assert (found["id"], found["userId"], found["sellerId"]) == (ID, "ann", "shop")

    @pytest.mark.parametrize(
        ("caller", "asked_for", "scopes"),
        [
            (TRUSTED, None, (Scope(),)),
            (OPERATOR, "shop", (Scope(seller_id="shop"),)),
            (SELLER, None, (Scope(seller_id="shop"),)),
            (SELLER, "shop", (Scope(seller_id="shop"),)),
            (SELLER, "other-shop", ()),
            (SHOPLESS, None, ()),
            (CUSTOMER, None, (Scope(user_id="ann"),)),
            (CUSTOMER, "shop", (Scope(user_id="ann", seller_id="shop"),)),
            (EVERYTHING_BUT_OPERATOR, None, (Scope(user_id="ann"), Scope(seller_id="shop"))),
            (EVERYTHING_BUT_OPERATOR, "other-shop", (Scope(user_id="ann", seller_id="other-shop"),)),
            (ANONYMOUS, None, ()),
        ],
    )
    def test_lists_hold_what_somebody_may_see(
        self, caller: Identity, asked_for: str | None, scopes: tuple[Scope, ...]
    ) -> None:
        assert access.reservation_scopes(caller, asked_for) == scopes


class TestStock:
    @pytest.mark.parametrize(
        ("caller", "asked_for", "scope"),
        [
            (TRUSTED, None, Scope()),
            (OPERATOR, "shop", Scope(seller_id="shop")),
            (SELLER, None, Scope(seller_id="shop")),
            (SELLER, "other-shop", None),
            (SHOPLESS, None, None),
            (EVERYTHING_BUT_OPERATOR, None, Scope(seller_id="shop")),
        ],
    )
    def test_is_shown_to_its_seller(self, caller: Identity, asked_for: str | None, scope: Scope | None) -> None:
        assert access.stock_scope(caller, asked_for) == scope

    @pytest.mark.parametrize("caller", NOBODYS_SHOP)
    def test_and_to_no_customer(self, caller: Identity) -> None:
        with pytest.raises(Forbidden):
            requests.list_stock(ClosedDatabase(), caller, 10, None)  # type: ignore[arg-type]

    def test_nobodys_is_an_empty_page(self) -> None:
        empty = {"stock": [], "nextCursor": None}
        assert requests.list_stock(ClosedDatabase(), SELLER, 10, None, "other-shop") == empty  # type: ignore[arg-type]
