"""Who may ask what of an order, in whose name something is ordered, whose orders somebody sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from order_service.access import ENTITLED, Sight, customer_of, party_for, refuse_stranger_to_cart, sight_of
from order_service.commands import _REQUESTS
from order_service.placing import Request
from order_service.requests import fulfil_order, get_order, read_request, read_requests
from order_service.saga_requests import list_sagas
from shared.errors import CartNotFound, Forbidden, InvalidRequest, OrderNotFound
from shared.idempotency import owned_key
from shared.identity import ANONYMOUS, TRUSTED, Identity, Party, Role

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
BOB = Identity(subject="bob", roles=frozenset({Role.USER}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
OTHER_SHOP = Identity(subject="tom", roles=frozenset({Role.SELLER}), seller_id="other")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
SHOP_AND_CUSTOMER = Identity(subject="ada", roles=frozenset({Role.USER, Role.SELLER}), seller_id="shop")
OF_ADA = {"id": UUID(int=1), "user_id": "ada", "seller_id": "shop"}
ITEMS = [{"item": "mug", "quantity": 1}]
ID = str(UUID(int=1))
CART = UUID(int=2)
NO_DATABASE: Any = None


class OneOrder:
    """Takes the place of a transaction: ada's order at the shop is all there is."""

    def fetch(self, _statement: Any, **_parameters: Any) -> list[Any]:
        return []


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (Forbidden, OrderNotFound, CartNotFound) as refusal:
        return type(refusal)


@pytest.mark.parametrize(
    ("caller", "cancels", "sells"),
    [
        (ADA, Party.CUSTOMER, Forbidden),
        (BOB, OrderNotFound, OrderNotFound),
        (SHOP, Party.SELLER, Party.SELLER),
        (OTHER_SHOP, OrderNotFound, OrderNotFound),
        (ADMIN, Party.OPERATOR, Forbidden),
        (SHOP_AND_CUSTOMER, Party.CUSTOMER, Party.SELLER),
        (ANONYMOUS, OrderNotFound, OrderNotFound),
        (TRUSTED, Party.CUSTOMER, Party.SELLER),
    ],
)
def test_a_stranger_learns_nothing_and_who_may_see_it_may_not_do_everything(
    caller: Identity, cancels: Any, sells: Any
) -> None:
    assert _outcome(lambda: party_for(caller, "cancel_order", OF_ADA, None)) == cancels
    for request in ("approve_order", "decline_order", "fulfil_order", "return_order"):
        assert _outcome(lambda name=request: party_for(caller, name, OF_ADA, None)) == sells


@pytest.mark.parametrize(
    ("caller", "by", "outcome"),
    [
        (ADA, Party.CUSTOMER, Party.CUSTOMER),
        (ADA, Party.SELLER, Forbidden),
        (ADA, Party.OPERATOR, Forbidden),
        (BOB, Party.CUSTOMER, OrderNotFound),
        (SHOP, Party.CUSTOMER, Forbidden),
        (SHOP_AND_CUSTOMER, Party.SELLER, Party.SELLER),
        (ADMIN, Party.OPERATOR, Party.OPERATOR),
        (ADMIN, Party.SELLER, Forbidden),
        (TRUSTED, Party.OPERATOR, Party.OPERATOR),
    ],
)
def test_nobody_asks_as_what_they_are_not(caller: Identity, by: Party, outcome: Any) -> None:
    assert _outcome(lambda: party_for(caller, "cancel_order", OF_ADA, by)) == outcome


def test_every_request_for_an_order_says_whom_it_is_for() -> None:
    assert len(ENTITLED) == len(_REQUESTS)
    assert all(ENTITLED.values())


def test_an_order_that_is_not_there_and_a_foreign_one_read_alike() -> None:
    there: Any = OneOrder()
    with pytest.raises(OrderNotFound) as missing:
        get_order(there, BOB, ID)
    with pytest.raises(OrderNotFound) as foreign:
        party_for(BOB, "cancel_order", OF_ADA, None)
    assert missing.value.args == foreign.value.args


class TestInWhoseName:
    @pytest.mark.parametrize(
        ("caller", "said", "outcome"),
        [
            (ADA, None, "ada"),
            (ADA, "ada", "ada"),
            (ADA, "bob", Forbidden),
            (SHOP, None, Forbidden),
            (SHOP, "sue", Forbidden),
            (ADMIN, "ada", Forbidden),
            (ANONYMOUS, None, Forbidden),
            (SHOP_AND_CUSTOMER, None, "ada"),
            (TRUSTED, "ada", "ada"),
        ],
    )
    def test_everybody_orders_in_their_own(self, caller: Identity, said: str | None, outcome: Any) -> None:
        assert _outcome(lambda: customer_of(caller, said)) == outcome

    def test_who_is_trusted_says_in_whose(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            customer_of(TRUSTED, None)
        assert list(refused.value.details["errors"]) == ["userId"]

    def test_the_name_may_be_said_or_left_out(self) -> None:
        silent = read_request(ADA, {"items": ITEMS}, "k")
        said = read_request(ADA, {"items": ITEMS, "userId": "ada"}, "k")
        assert silent == said
        assert silent.order.user_id == "ada"

    def test_keys_belong_to_who_uses_them(self) -> None:
        keys = {read_request(caller, {"items": ITEMS}, "k").key for caller in (ADA, BOB)}
        assert len(keys) == 2
        assert read_request(TRUSTED, {"items": ITEMS, "userId": "ada"}, "k").key == "k"
        slashed, short = (Identity(subject=name, roles=ADA.roles) for name in ("a/b", "a"))
        assert owned_key(slashed, "c") != owned_key(short, "b/c")

    def test_the_gateway_passes_orders_of_several_on(self) -> None:
        """Each with its own identity, its own key, its own refusal."""
        entries = [
            {"order": {"items": ITEMS}, "idempotencyKey": "k", "identity": ADA.header()},
            {"order": {"items": ITEMS, "userId": "ada"}, "identity": BOB.header()},
            {"order": {"items": ITEMS}, "identity": SHOP.header()},
            {"order": {"items": ITEMS}, "identity": "ada"},
            {"order": {"items": ITEMS, "userId": "cyd"}},
        ]
        ada, *refused, cyd = read_requests(TRUSTED, entries)
        assert isinstance(ada, Request)
        assert ada == read_request(ADA, {"items": ITEMS}, "k")
        assert [type(error) for error in refused] == [Forbidden, Forbidden, InvalidRequest]
        assert isinstance(cyd, Request)
        assert cyd.order.user_id == "cyd"

    def test_an_identity_that_a_customer_sends_counts_for_nothing(self) -> None:
        [request] = read_requests(BOB, [{"order": {"items": ITEMS}, "identity": ADA.header()}])
        assert isinstance(request, Request)
        assert request.order.user_id == "bob"


class TestSight:
    @pytest.mark.parametrize(
        ("caller", "sight"),
        [
            (ADA, Sight(user_id="ada")),
            (SHOP, Sight(seller_id="shop")),
            (SHOP_AND_CUSTOMER, Sight(user_id="ada", seller_id="shop")),
            (ADMIN, Sight(sees_all=True)),
            (TRUSTED, Sight(sees_all=True)),
            (ANONYMOUS, Sight()),
        ],
    )
    def test_whose_orders_somebody_sees(self, caller: Identity, sight: Sight) -> None:
        assert sight_of(caller) == sight

    @pytest.mark.parametrize("caller", [ADA, SHOP, SHOP_AND_CUSTOMER, ANONYMOUS])
    def test_the_saga_board_is_for_operators(self, caller: Identity) -> None:
        with pytest.raises(Forbidden):
            list_sagas(NO_DATABASE, caller, limit=1)


@pytest.mark.parametrize(
    ("caller", "sees", "changes"),
    [
        (ADA, None, None),
        (BOB, CartNotFound, CartNotFound),
        (SHOP, CartNotFound, CartNotFound),
        (ADMIN, None, Forbidden),
        (TRUSTED, None, None),
        (ANONYMOUS, CartNotFound, CartNotFound),
    ],
)
def test_a_cart_is_its_customers(caller: Identity, sees: Any, changes: Any) -> None:
    assert _outcome(lambda: refuse_stranger_to_cart(caller, CART, "ada", to_change=False)) == sees
    assert _outcome(lambda: refuse_stranger_to_cart(caller, CART, "ada", to_change=True)) == changes


def test_what_cannot_be_an_id_is_no_order_for_anybody() -> None:
    with pytest.raises(OrderNotFound):
        fulfil_order(NO_DATABASE, BOB, "7", None, "k", None, NO_DATABASE)
