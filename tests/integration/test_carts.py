"""Carts on the real database: filled, changed, and become one order, whoever comes at the same time.

No process runs: the test holds the transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from harness.databases import Databases
from harness.order_database import OrderDatabase, Work, open_orders, placing_of
from sqlalchemy import event

from order_service import cart_requests
from order_service.basket import MOST_LINES
from order_service.placing import Outcome, Placed
from shared.database import transaction
from shared.errors import (
    CartEmpty,
    CartFull,
    CartNotFound,
    CartNotOpen,
    Forbidden,
    IdempotencyKeyReused,
    MixedSellers,
    OrderSagaError,
    PriceMismatch,
    UnknownItem,
)
from shared.identity import TRUSTED, Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADA = Identity(subject="ada", roles=frozenset({Role.USER}))
BOB = Identity(subject="bob", roles=frozenset({Role.USER}))
SHOP = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        for item, seller_id, price in (("mug", "shop", "10.00"), ("pen", "shop", "0.50"), ("cup", "other", "3.00")):
            opened.sell(item, seller_id, price=price)
        yield opened


def _create(orders: OrderDatabase, *lines: tuple[str, int], caller: Identity = ADA, key: str | None = None) -> Any:
    said = {"items": [{"item": item, "quantity": quantity} for item, quantity in lines]}
    return orders.run(lambda tx: cart_requests.create_cart(tx, caller, said, key, None))


def _cart(orders: OrderDatabase, *lines: tuple[str, int]) -> str:
    return str(_create(orders, *lines)["cart"]["id"])


def _put(cart_id: str, item: str, quantity: int, caller: Identity = ADA) -> Work:
    return lambda tx: cart_requests.put_cart_item(tx, caller, cart_id, item, quantity)


def _remove(cart_id: str, item: str, caller: Identity = ADA) -> Work:
    return lambda tx: cart_requests.remove_cart_item(tx, caller, cart_id, item)


def _get(orders: OrderDatabase, cart_id: str, caller: Identity = ADA) -> Any:
    return orders.run(lambda tx: cart_requests.get_cart(tx, caller, cart_id))


def _lines(cart: Any) -> dict[str, int]:
    return {line["item"]: line["quantity"] for line in cart["items"]}


def _check_out(cart_id: str, *, caller: Identity = ADA, key: str | None = None, **said: Any) -> Work:
    return placing_of((caller, {"cartId": cart_id, **said}), key=key)


def _only(outcomes: list[Outcome]) -> Outcome:
    [outcome] = outcomes
    return outcome


def _order_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Placed), outcome
    return str(outcome.summary["id"])


class TestFilling:
    def test_a_cart_shows_what_it_would_cost_now(self, orders: OrderDatabase) -> None:
        cart = _create(orders, ("mug", 2), ("pen", 1), ("mug", 1))["cart"]
        assert (cart["userId"], cart["status"], cart["orderId"]) == ("ada", "OPEN", None)
        assert _lines(cart) == {"mug": 3, "pen": 1}
        assert cart["items"][0] == {
            "item": "mug",
            "quantity": 3,
            "name": "Mug",
            "sellerId": "shop",
            "price": "10.00",
            "currency": "EUR",
            "forSale": True,
        }
        assert (cart["price"], cart["currency"]) == ("30.50", "EUR")
        orders.sell("mug", price="12.00", version=2)
        assert _get(orders, cart["id"])["price"] == "36.50"

    def test_what_is_not_sold_any_more_stays_and_has_no_price_in_sum(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1), ("pen", 1))
        orders.sell("mug", version=2, active=False)
        cart = _get(orders, cart_id)
        assert [(line["item"], line["forSale"]) for line in cart["items"]] == [("mug", False), ("pen", True)]
        assert (cart["price"], cart["currency"]) == (None, None)

    def test_put_and_remove_may_be_repeated(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders)
        for _ in range(2):
            assert _lines(orders.run(_put(cart_id, "mug", 3))) == {"mug": 3}
        assert _lines(orders.run(_put(cart_id, "mug", 1))) == {"mug": 1}
        changed = _get(orders, cart_id)["updatedAt"]
        assert orders.run(_put(cart_id, "mug", 1))["updatedAt"] == changed
        for _ in range(2):
            assert _lines(orders.run(_remove(cart_id, "mug"))) == {}

    def test_only_what_is_sold_comes_in(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders)
        orders.sell("old", active=False)
        for item in ("old", "nothing"):
            with pytest.raises(UnknownItem) as refused:
                orders.run(_put(cart_id, item, 1))
            assert refused.value.details == {"items": [item]}
        with pytest.raises(UnknownItem):
            _create(orders, ("mug", 1), ("nothing", 1))
        assert orders.query("select count(*) from carts") == [(1,)]

    def test_as_many_lines_as_an_order_may_have(self, orders: OrderDatabase) -> None:
        names = [f"item-{number}" for number in range(MOST_LINES)]
        for name in names:
            orders.sell(name)
        cart_id = _cart(orders, *((name, 1) for name in names))
        with pytest.raises(CartFull) as refused:
            orders.run(_put(cart_id, "mug", 1))
        assert refused.value.details == {"maxLines": MOST_LINES}
        assert orders.run(_put(cart_id, names[0], 5))["items"][0]["quantity"] == 5
        with pytest.raises(CartFull):
            _create(orders, *((name, 1) for name in names), ("mug", 1))

    def test_one_key_is_one_cart_and_each_caller_has_keys_of_their_own(self, orders: OrderDatabase) -> None:
        first, again = (_create(orders, ("mug", 1), key="k") for _ in range(2))
        assert (first["replayed"], again) == (False, {**first, "replayed": True})
        assert _create(orders, ("mug", 1), key="k", caller=BOB)["cart"]["userId"] == "bob"
        with pytest.raises(IdempotencyKeyReused):
            _create(orders, ("pen", 1), key="k")


class TestWhose:
    def test_a_foreign_cart_is_none(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        asks: list[Callable[[Identity], Any]] = [
            lambda caller: _get(orders, cart_id, caller),
            lambda caller: orders.run(_put(cart_id, "mug", 2, caller)),
            lambda caller: orders.run(_remove(cart_id, "mug", caller)),
        ]
        for ask in asks:
            for caller in (BOB, SHOP):
                with pytest.raises(CartNotFound):
                    ask(caller)
        assert isinstance(_only(orders.run(_check_out(cart_id, caller=BOB))), CartNotFound)
        assert _lines(_get(orders, cart_id)) == {"mug": 1}

    def test_an_operator_looks_and_leaves_it_alone(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        assert _lines(_get(orders, cart_id, ADMIN)) == {"mug": 1}
        with pytest.raises(Forbidden):
            orders.run(_put(cart_id, "mug", 2, ADMIN))
        with pytest.raises(Forbidden):
            _create(orders, caller=ADMIN)

    def test_who_is_trusted_names_its_customer(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        others = orders.run(_check_out(cart_id, caller=TRUSTED, userId="bob"))
        assert isinstance(_only(others), CartNotFound)
        _order_of(_only(orders.run(_check_out(cart_id, caller=TRUSTED, userId="ada"))))

    def test_a_cart_that_is_not_there(self, orders: OrderDatabase) -> None:
        with pytest.raises(CartNotFound):
            _get(orders, str(uuid4()))
        assert isinstance(_only(orders.run(_check_out(str(uuid4())))), CartNotFound)


class TestCheckout:
    def test_the_order_is_of_the_carts_lines(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 2), ("pen", 3))
        order_id = _order_of(_only(orders.run(_check_out(cart_id, price="21.50"))))
        items = orders.query("select item, quantity from order_items where order_id = %s order by item", order_id)
        assert items == [("mug", 2), ("pen", 3)]
        cart = _get(orders, cart_id)
        assert (cart["status"], cart["orderId"], _lines(cart)) == ("ORDERED", order_id, {"mug": 2, "pen": 3})

    def test_what_was_ordered_is_not_changed_and_not_ordered_again(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        order_id = _order_of(_only(orders.run(_check_out(cart_id))))
        for change in (_put(cart_id, "mug", 1), _put(cart_id, "pen", 1), _remove(cart_id, "mug")):
            with pytest.raises(CartNotOpen) as refused:
                orders.run(change)
            assert refused.value.details == {"orderId": order_id}
        again = _only(orders.run(_check_out(cart_id)))
        assert isinstance(again, CartNotOpen)
        assert again.details == {"orderId": order_id}

    @pytest.mark.parametrize(
        ("lines", "said", "refusal"),
        [
            ([], {}, CartEmpty),
            ([("mug", 1), ("cup", 1)], {}, MixedSellers),
            ([("mug", 1)], {"price": "9.99"}, PriceMismatch),
        ],
    )
    def test_a_cart_that_is_refused_stays_open(
        self, orders: OrderDatabase, lines: list[tuple[str, int]], said: dict[str, Any], refusal: type[OrderSagaError]
    ) -> None:
        cart_id = _cart(orders, *lines)
        assert isinstance(_only(orders.run(_check_out(cart_id, **said))), refusal)
        assert _get(orders, cart_id)["status"] == "OPEN"
        assert orders.query("select count(*) from orders") == [(0,)]
        orders.run(_put(cart_id, "mug", 1))
        orders.run(_remove(cart_id, "cup"))
        _order_of(_only(orders.run(_check_out(cart_id))))

    def test_the_same_key_gets_the_same_order(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        first, again = (_only(orders.run(_check_out(cart_id, key="k"))) for _ in range(2))
        assert _order_of(first) == _order_of(again)
        assert isinstance(again, Placed)
        assert again.replayed

    def test_many_in_one_batch(self, orders: OrderDatabase) -> None:
        """Given two carts, one of them twice, and an order without a cart, then each has its own answer."""
        mugs, pens = _cart(orders, ("mug", 1)), _cart(orders, ("pen", 2))
        one, two, twice, plain = orders.run(
            placing_of(
                (ADA, {"cartId": pens}),
                (ADA, {"cartId": mugs}),
                (ADA, {"cartId": mugs}),
                (BOB, {"items": [{"item": "cup", "quantity": 1}]}),
            )
        )
        assert isinstance(twice, CartNotOpen)
        assert twice.details == {"orderId": _order_of(two)}
        assert [outcome.summary["price"] for outcome in (one, two, plain)] == ["1.00", "10.00", "3.00"]
        assert orders.query("select count(*) from orders") == [(3,)]
        linked = orders.query("select id::text, order_id::text from carts")
        assert sorted(linked) == sorted([(pens, _order_of(one)), (mugs, _order_of(two))])


class TestAtTheSameTime:
    def test_a_second_checkout_waits_and_is_refused(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        with transaction(orders.sessions) as first:
            order_id = _order_of(_only(_check_out(cart_id, key="k-1")(first)))
            second = orders.blocked(_check_out(cart_id, key="k-2"))
        refusal = _only(second.result())
        assert isinstance(refusal, CartNotOpen)
        assert refusal.details == {"orderId": order_id}
        assert orders.query("select count(*) from orders") == [(1,)]

    def test_the_same_request_waits_and_gets_the_same_order(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        with transaction(orders.sessions) as first:
            order_id = _order_of(_only(_check_out(cart_id, key="k")(first)))
            second = orders.blocked(_check_out(cart_id, key="k"))
        replay = _only(second.result())
        assert isinstance(replay, Placed)
        assert (_order_of(replay), replay.replayed) == (order_id, True)

    def test_the_second_orders_where_the_first_was_rolled_back(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        with orders.rolled_back() as first:
            _check_out(cart_id)(first)
            second = orders.blocked(_check_out(cart_id))
        order_id = _order_of(_only(second.result()))
        assert orders.query("select order_id::text from carts") == [(order_id,)]

    def test_a_checkout_orders_what_was_put_in_before_it(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        with transaction(orders.sessions) as first:
            _put(cart_id, "mug", 4)(first)
            second = orders.blocked(_check_out(cart_id))
        order_id = _order_of(_only(second.result()))
        assert orders.query("select quantity from order_items where order_id = %s", order_id) == [(4,)]

    def test_what_comes_after_the_checkout_is_refused(self, orders: OrderDatabase) -> None:
        cart_id = _cart(orders, ("mug", 1))
        with transaction(orders.sessions) as first:
            _check_out(cart_id)(first)
            second = orders.blocked(_put(cart_id, "pen", 1))
        with pytest.raises(CartNotOpen):
            second.result()
        assert _lines(_get(orders, cart_id)) == {"mug": 1}

    def test_two_batches_with_the_same_carts_in_another_order_do_not_block_each_other(
        self, orders: OrderDatabase
    ) -> None:
        """Locks are taken by id, whatever comes first in a batch: the second waits for the first, never both."""
        one, two = _cart(orders, ("mug", 1)), _cart(orders, ("pen", 1))
        with transaction(orders.sessions) as first:
            placed = placing_of((ADA, {"cartId": two}), (ADA, {"cartId": one}))(first)
            second = orders.blocked(placing_of((ADA, {"cartId": one}), (ADA, {"cartId": two})))
        assert [type(outcome) for outcome in placed] == [Placed, Placed]
        assert [type(outcome) for outcome in second.result()] == [CartNotOpen, CartNotOpen]


def test_orders_without_a_cart_cost_no_statement_more(orders: OrderDatabase) -> None:
    """Given a batch without carts, then no statement names them; with carts there are two more questions, for one as
    for three.
    """

    def statements(*wanted: dict[str, Any]) -> list[str]:
        seen: list[str] = []
        with transaction(orders.sessions) as tx:
            connection = tx.session.connection()
            event.listen(connection, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
            placing_of(*((ADA, order) for order in wanted))(tx)
        return seen

    plain = statements(*[{"items": [{"item": "mug", "quantity": 1}]}] * 3)
    assert not any("cart" in statement for statement in plain)
    one = statements({"cartId": _cart(orders, ("mug", 1))})
    three = statements(*({"cartId": _cart(orders, ("mug", 1))} for _ in range(3)))
    assert len(one) == len(three) == len(plain) + 2


@pytest.mark.parametrize(
    "forbidden",
    [
        "insert into carts values (gen_random_uuid(), 'ada', 'ORDERED', null, now(), now())",
        "insert into carts values (gen_random_uuid(), 'ada', 'OPEN', gen_random_uuid(), now(), now())",
        "insert into carts values (gen_random_uuid(), 'ada', 'LOST', null, now(), now())",
        "insert into cart_items values (gen_random_uuid(), 'mug', 0)",
        "insert into cart_items values (gen_random_uuid(), 'mug', 1001)",
        "insert into cart_items select '00000000-0000-0000-0000-000000000001', 'mug', 1 from generate_series(1, 2)",
    ],
)
def test_what_no_mistake_can_write(orders: OrderDatabase, forbidden: str) -> None:
    with pytest.raises(psycopg2.IntegrityError):
        orders.query(forbidden)
